"""What the classifier of a round makes of test samples, clean and perturbed, as vectors."""

import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from attacks.common.activations import last_hidden
from augment import Dataset
from explain.network.embedding import reduce_dimensions
from explain.network.projector import sprites
from explain.network.vectors import collect_vectors
from trainers.evaluate.evaluation import predict
from trainers.evaluate.per_class import class_name
from trainers.jobs.rounds.following import KeptSamples
from trainers.jobs.rounds.setup import Rounds, round_name
from trainers.run.folder.checkpoint import save_item

log = logging.getLogger(__name__)


def features_file(checkpoints: Path, number: int) -> Path:
    """Return where the features of a round's classifier are kept."""
    return checkpoints / f"{round_name(number)}-features.safetensors"


def save_features(rounds: Rounds, number: int, some: Dataset, kept: KeptSamples) -> None:
    """Keep the features of samples before and after the attack, for TensorBoard's projector.

    They are the outputs of the last layer but one, in up to 50 dimensions.

    Args:
        rounds: the run.
        number: the round.
        some: the samples that the main attack perturbed.
        kept: the pixels of some of them.
    """
    context, answers = rounds.context, []
    chosen = some.subset(kept.rows)
    x, labels = torch.cat([chosen.stack(range(len(chosen)))[0], kept.x_adv]), chosen.labels.tolist()

    def noting() -> Iterator[list[Tensor]]:
        for part in torch.split(x, context.batch_size):
            moved = part.to(context.device)
            answers.extend(predict(context.model, moved).argmax(1).tolist())
            yield [moved]

    try:
        layer = last_hidden(context.model, x[:1].to(context.device))
        vectors = collect_vectors(context.model, layer, noting(), chunk=context.batch_size)
    except ValueError as error:
        log.warning("no features for TensorBoard's projector: %s", error)
        return
    tensors = {
        "vectors": reduce_dimensions(vectors.nan_to_num(), seed=context.seed % 2**32),
        "sprites": (sprites(x) * 255).round().byte(),
    }
    told = [[class_name(some.classes, n) for n in numbers] for numbers in (labels * 2, answers)]
    state = ["clean"] * len(labels) + ["perturbed"] * len(labels)
    note = {"class": told[0], "answer": told[1], "sample": state}
    save_item(features_file(context.folder.checkpoints, number), tensors, note)
