"""What the classifier looked at before the rounds, and what after them."""

import logging

from torch import Tensor

from attacks.common.randomness import derive_seed
from explain.gradient.saliency import Saliency
from explain.gradient.smooth_grad import SmoothGrad
from explain.method import ExplanationMethod
from trainers.evaluate.evaluation import predict
from trainers.evaluate.per_class import class_name
from trainers.evenly_spaced import evenly_spaced
from trainers.fit.fit_or_load import load_weights
from trainers.jobs.rounds.setup import Rounds
from trainers.run.folder.checkpoint import is_finished, save_item
from trainers.run.show.figures.explanation_change import LookedAt, change_figure
from trainers.run.show.images import write_png
from trainers.run.show.plots import to_picture

log = logging.getLogger(__name__)
SAMPLES = 4  # test samples that are explained
# Quick ones, that need no rectifier and no layer with positions; 25 copies are half of the usual.
METHODS: dict[str, ExplanationMethod] = {
    "saliency": Saliency(),
    "smooth-grad": SmoothGrad(samples=25),
}
FIGURE = "looked-at.png"


def explain_rounds(rounds: Rounds, number: int) -> None:
    """Draw what the classifier of round 0 and that of a later round look at in some test samples.

    Both are asked for the correct class. Nothing is drawn where round 0 is handed over, or where
    no gradient reaches the samples.

    Args:
        rounds: the run.
        number: the round whose classifier is handed over.
    """
    folder = rounds.context.folder
    item, figure = folder.checkpoints / "looked-at.safetensors", folder.figures / FIGURE
    if not number or is_finished(item):
        return
    some = rounds.test.subset(evenly_spaced(len(rounds.test), SAMPLES))
    x, y = (tensor.to(rounds.context.device) for tensor in some.stack(range(len(some))))
    try:
        before, after = (look(rounds, each, x, y, some.ids) for each in (0, number))
    except ValueError as error:
        log.warning("no figure of what the classifier looked at: %s", error)
        return
    folder.check_held()
    names = [class_name(some.classes, number) for number in y.tolist()]
    drawn = change_figure(x.cpu(), names, before, after, rounds=(0, number))
    write_png(figure, to_picture(drawn))
    maps = {
        f"{name} {when}": map_
        for when, looked in (("before", before), ("after", after))
        for name, map_ in looked.maps.items()
    }
    save_item(item, maps, beside=[figure])


def look(rounds: Rounds, number: int, x: Tensor, y: Tensor, ids: list[str]) -> LookedAt:
    """Return the maps of samples x (N, ...) for classes y by the classifier of a round."""
    model = rounds.context.model
    load_weights(model, rounds.file(number, ".safetensors"))
    seed, keys = derive_seed(rounds.context.seed, "explain"), [derive_seed(each) for each in ids]
    maps = {
        name: method(model, x, y, seed=seed, sample_ids=keys).cpu()
        for name, method in METHODS.items()
    }
    probability = predict(model, x).softmax(1).gather(1, y[:, None])[:, 0].cpu()
    return LookedAt(maps, probability)
