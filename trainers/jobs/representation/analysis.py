"""Look at the adversaries of each trial in its layer, beside samples that nobody attacked."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor, nn

from explain import analyse_representations, collect_guided, collect_references
from explain.network.vectors import collect_vectors
from explain.representation.samples import ReferenceSet
from trainers.evenly_spaced import evenly_spaced
from trainers.jobs.representation.adversaries import batches, make_adversaries
from trainers.jobs.representation.setup import RepresentationSetup, Trial
from trainers.run.folder.checkpoint import is_finished, load_item, save_item
from trainers.run.show.progress import Progress

NEIGHBOURS, HELD_OUT, COMPONENTS = 20, 5, 10  # of `analyse_representations`
VALUES = 2**26  # of all references in memory at once


@dataclass(frozen=True)
class TrialOutcome:
    """What became of a trial.

    Attributes:
        trial: the trial.
        columns: of each pair, (N,): "answer", "linf", and those of `analyse_representations`.
        seconds: that the attack took.
        references: how many samples the analysis knew.
        one_class: whether these counted as one class.
        warnings: of the attack.
    """

    trial: Trial
    columns: dict[str, Tensor]
    seconds: float
    references: int
    one_class: bool
    warnings: list[str]


def run_trials(setup: RepresentationSetup) -> tuple[list[TrialOutcome], list[str]]:
    """Make and analyse the adversaries of all trials, layer by layer.

    Returns:
        An outcome for each trial, in their order, and warnings.
    """
    found: dict[Trial, TrialOutcome] = {}
    models = {True: setup.context.model, False: setup.random}
    warnings: list[str] = []
    total = len(setup.trials) * (len(batches(setup)) + 1)
    with Progress(setup.context.folder, "representation", total=total) as bar:
        for trained, model in models.items():
            for layer in dict.fromkeys(trial.layer for trial in setup.trials):
                own = [t for t in setup.trials if (t.trained, t.layer) == (trained, layer)]
                if model is None or not own:
                    continue
                try:
                    found |= run_layer(setup, model, layer, own, bar)
                except ValueError as error:
                    if trained:
                        raise
                    warnings.append(f"without random weights in {layer}: {error}")
    return [found[trial] for trial in setup.trials if trial in found], warnings


def run_layer(
    setup: RepresentationSetup,
    model: nn.Module,
    layer: str,
    trials: Iterable[Trial],
    bar: Progress,
) -> dict[Trial, TrialOutcome]:
    """Run the trials of a layer, for which the references are collected once, if at all."""

    @cache
    def references() -> ReferenceSet:
        return collect_typical(setup, model, layer)

    found = {}
    for trial in trials:
        made = make_adversaries(setup, model, trial, bar=bar)
        file = setup.context.folder.checkpoints / trial.items / "analysis.safetensors"
        if not is_finished(file):
            setup.context.folder.check_held()
            columns, about = analyse(setup, model, trial, made.x, references())
            save_item(file, columns, about)
        columns, about = load_item(file)
        columns = made.columns | columns
        found[trial] = TrialOutcome(trial, columns, made.seconds, **about, warnings=made.warnings)
        bar.step()
    return found


def analyse(
    setup: RepresentationSetup,
    model: nn.Module,
    trial: Trial,
    adversaries: Tensor,
    references: ReferenceSet,
) -> tuple[dict[str, Tensor], dict[str, int | bool]]:
    """Analyse adversaries (N, ...); return columns (N,), and what the analysis knew."""
    pairs = setup.pairs
    (source, source_labels), (guide, guide_labels) = map(
        pairs.ds.stack, (pairs.sources, pairs.guides)
    )
    samples = collect_guided(
        model,
        trial.layer,
        source=source,
        guide=guide,
        adversary=adversaries,
        source_labels=source_labels,
        guide_labels=guide_labels,
        chunk=setup.context.batch_size,
    )
    one_class = are_few(references.labels, guide_labels)
    if one_class:
        references = replace(references, labels=torch.zeros_like(references.labels))
        none = torch.zeros_like(guide_labels)
        samples = replace(samples, source_labels=none, guide_labels=none)
    table = analyse_representations(
        samples,
        references,
        neighbours=NEIGHBOURS,
        held_out=HELD_OUT,
        components=max(1, min(COMPONENTS, samples.guide.shape[1] - 1)),
    ).table
    return table, {"references": len(references.labels), "one_class": one_class}


def are_few(labels: Tensor, wanted: Tensor) -> bool:
    """Tell whether most wanted classes (N,) have too few of the labels (M,) for the analyses.

    >>> are_few(torch.zeros(30), torch.tensor([0, 0, 1]))
    False
    """
    counts = (labels == wanted[:, None]).sum(1)  # (N,)
    return bool((counts < NEIGHBOURS + 2 * HELD_OUT).float().mean() > 0.5)


def collect_typical(setup: RepresentationSetup, model: nn.Module, layer: str) -> ReferenceSet:
    """Collect the representations of samples that nobody attacked, as many as memory is for."""
    ds, size = setup.references, setup.context.batch_size
    width = collect_vectors(model, layer, [[ds.stack([0])[0]]]).shape[1]
    rows = torch.tensor(evenly_spaced(len(ds), max(1, VALUES // width)))
    parts = (ds.stack(part) for part in torch.split(rows, size))
    return collect_references(model, layer, parts, chunk=size)
