"""Pairs of a source and a guide of another class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.common.randomness import derive_seed
from augment import Dataset
from trainers.evaluate.evaluation import predict, top_classes
from trainers.evaluate.guides import choose_guides
from trainers.evaluate.per_class import class_name
from trainers.evaluate.scores import doubts_of
from trainers.evenly_spaced import evenly_spaced
from trainers.run.folder.checkpoint import is_finished, load_item, save_item
from trainers.run.job_context import JobContext

LOOKED_AT = 10  # samples a pair among which those that the classifier has right are looked for


@dataclass(frozen=True)
class Pairs:
    """N sources with a guide of another class each.

    Attributes:
        ds: what both are drawn from.
        sources: their rows, int64 (N,).
        guides: rows of the guides; one may serve several sources.
        source_answers: what the classifier calls the sources, int64 (N,).
        guide_answers: the same of the guides.
        warnings: what is odd about them.
    """

    ds: Dataset
    sources: Tensor
    guides: Tensor
    source_answers: Tensor
    guide_answers: Tensor
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.sources)

    @property
    def ids(self) -> list[int]:
        """A number for each source, which keys its random numbers."""
        return [derive_seed(self.ds.ids[row]) for row in self.sources.tolist()]

    def name(self, number: int) -> str:
        """Return the name of a class, or its number where it has none."""
        return class_name(self.ds.classes, number)


def draw_pairs(context: JobContext, ds: Dataset, *, count: int) -> Pairs:
    """Draw pairs, or find them as they were drawn before.

    Sources lie at even distances among the samples that the classifier has right, and guides are
    drawn among these. Where they are too few, or of one class, all samples are taken.

    Args:
        context: the classifier.
        ds: labelled samples.
        count: how many pairs; fewer where there are fewer samples.

    Raises:
        ValueError: for samples of one class.
    """
    file = context.folder.checkpoints / "pairs.safetensors"
    if not is_finished(file):
        tensors, warnings = _draw(context, ds, count)
        context.folder.check_held()
        save_item(file, tensors, warnings)
    tensors, warnings = load_item(file)
    return Pairs(ds, **tensors, warnings=tuple(warnings))


def _draw(context: JobContext, ds: Dataset, count: int) -> tuple[dict[str, Tensor], list[str]]:
    """Choose rows and answers of sources and guides, with warnings."""
    looked_at = torch.tensor(evenly_spaced(len(ds), LOOKED_AT * count))
    answers, classes = [], 2
    for rows in torch.split(looked_at, context.batch_size):
        logits = predict(context.model, ds.stack(rows)[0].to(context.device))
        answers.append(top_classes(logits).cpu())
        classes = logits.shape[1]
    found, labels = torch.cat(answers), ds.labels[looked_at]
    warnings, places = doubts_of(found, labels, classes=classes), (found == labels).nonzero()[:, 0]
    few, alike = len(places) < min(count, len(ds)), len(set(labels[places].tolist())) < 2
    if few or alike:
        reason = f"too few for {count} pairs" if few else "all of one class"
        warnings.append(
            f"the classifier has {len(places)} of {len(looked_at)} samples right, {reason}: those "
            "that it has wrong are among sources and guides"
        )
        places = torch.arange(len(looked_at))
    chosen = places[evenly_spaced(len(places), count)]
    if len(chosen) < count:
        warnings.append(f"{ds.name} has {len(chosen)} samples, and as many pairs are drawn")
    rows = looked_at[places]
    sources = looked_at[chosen]
    ids = [derive_seed(ds.ids[row]) for row in sources.tolist()]
    seed = derive_seed(context.seed, "representation")
    guides = places[choose_guides(ds.subset(rows), ds.labels[sources], seed=seed, ids=ids)]
    return {
        "sources": sources,
        "guides": looked_at[guides],
        "source_answers": found[chosen],
        "guide_answers": found[guides],
    }, warnings
