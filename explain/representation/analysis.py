"""All analyses of adversaries' representations at once: a table by sample, and its summary."""

from dataclasses import dataclass

import torch
from torch import Tensor

from explain.representation.angles import angular_consistency
from explain.representation.distance_ratios import distance_ratios
from explain.representation.manifold import manifold_likelihood
from explain.representation.ranks import rank_changes, shared_neighbours
from explain.representation.samples import GuidedSamples, ReferenceSet
from explain.representation.sparsity_change import sparsity_change


@dataclass(frozen=True)
class ColumnSummary:
    """A column of a table in few numbers; NaN of none.

    Attributes:
        count: values that are known, that is not NaN.
        mean: of these; of 0 and 1 the share of 1.
        low: the lower quartile.
        median: the second one.
        high: the upper one.
    """

    count: int
    mean: float
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, column: Tensor) -> "ColumnSummary":
        """Summarise a column (N,)."""
        known = column[~column.isnan()].double()
        if not len(known):
            return cls(0, *[torch.nan] * 4)
        quartiles = known.quantile(known.new_tensor([0.25, 0.5, 0.75])).tolist()
        return cls(len(known), float(known.mean()), *quartiles)


@dataclass(frozen=True)
class RepresentationAnalysis:
    """What the analyses found.

    Attributes:
        table: columns (N,) by name, a value for each sample; NaN where the reference set is too
            small to tell.
    """

    table: dict[str, Tensor]

    def summary(self) -> dict[str, ColumnSummary]:
        """Return quartiles and mean of each column."""
        return {name: ColumnSummary.of(column) for name, column in self.table.items()}


def analyse_representations(
    samples: GuidedSamples,
    references: ReferenceSet,
    *,
    k: int = 3,
    neighbours: int = 20,
    components: int = 10,
    held_out: int = 5,
) -> RepresentationAnalysis:
    """Tell how like its guide an adversary is to a layer, and whether its class has it inside.

    See the functions of this folder for the columns. The adversaries may come from any attack: a
    feature adversary looks like the guide's class, one that only has its label does not.

    Args:
        samples: representations of N adversaries, their sources and guides.
        references: representations of samples with labels, of the same layer.
        k: neighbours for the ranks, and of the sets that are intersected.
        neighbours: for manifold and angles.
        components: dimensions of the manifold.
        held_out: members of the guide's class for comparison with manifold and angles.

    Raises:
        ValueError: for references of another layer, or impossible numbers.

    Source: Sabour et al. 2016.
    """
    if references.vectors.shape[1] != samples.guide.shape[1]:
        raise ValueError(
            f"references have {references.vectors.shape[1]} values each and the samples "
            f"{samples.guide.shape[1]}; give both of the same layer"
        )
    hood = {"neighbours": neighbours, "held_out": held_out}
    return RepresentationAnalysis(
        distance_ratios(samples, references)
        | rank_changes(samples, references, k=k)
        | shared_neighbours(samples, references, k=k)
        | manifold_likelihood(samples, references, components=components, **hood)
        | angular_consistency(samples, references, **hood)
        | sparsity_change(samples)
    )
