"""What the job `representation` works with: pairs, layers, and which attack is made where."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from attacks import Attack, RefusedInput
from attacks.common.activations import SEPARATOR, called_layers, find_layers, last_hidden
from attacks.common.frozen import frozen
from attacks.feature.feature import FeatureAdversary
from augment import Dataset
from explain import with_orthonormal_weights
from trainers.evaluate.budgets import budget_of
from trainers.evenly_spaced import evenly_spaced
from trainers.fit.fit_or_load import load_or_fit_classifier
from trainers.jobs.representation.pairs import Pairs, draw_pairs
from trainers.run.cli.jobs.representation import RepresentationConfig
from trainers.run.cli.presets import budget
from trainers.run.cli.specs.attacks import attack_defaults, build_attack, build_attacks, slug
from trainers.run.folder.folder import RunFolder
from trainers.run.folder.input_digests import ChangedInput
from trainers.run.job_context import (
    JobContext,
    check_alike,
    check_attacks,
    check_labelled,
    load_split,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """An attack on all pairs, and the layer in which its adversaries are looked at.

    Attributes:
        name: of the attack.
        attack: the attack.
        layer: whole name.
        compared: whether it stands for its attack where attacks are compared.
        trained: whether the classifier has its own weights, and not random ones.
    """

    name: str
    attack: Attack
    layer: str
    compared: bool
    trained: bool = True

    @property
    def budget(self) -> str:
        """What the attack is held to, in words."""
        found = budget_of(self.attack)
        return "none" if found is None else str(found)

    @property
    def items(self) -> str:
        """Name of the folder of its finished batches."""
        weights = "trained" if self.trained else "random"
        return slug(f"represent {self.name} {self.layer} {self.attack!r} {weights}")


@dataclass(frozen=True)
class RepresentationSetup:
    """What the job works with.

    Attributes:
        context: the classifier.
        pairs: sources and guides.
        references: samples that say what is typical of a class, as many as were asked for.
        reference_split: of which split they are.
        layers: whole names, by their place in a pass.
        trials: the attacks.
        random: the classifier with random orthonormal weights; None where it is not looked at.
    """

    context: JobContext
    pairs: Pairs
    references: Dataset
    reference_split: str
    layers: Sequence[str]
    trials: Sequence[Trial]
    random: nn.Module | None


def set_up_representation(config: RepresentationConfig, folder: RunFolder) -> RepresentationSetup:
    """Load samples and classifier, and build the attacks; all refusals come from here."""
    flags = config.representing
    eps = flags.eps or (budget(config.source.data, "linf"),)
    if len(set(eps)) < len(eps):
        raise ValueError(f"--eps names {max(eps, key=eps.count):g} twice; name each once")
    defaults = attack_defaults(config, eps=eps[0], norm="linf")
    attacks = build_attacks(flags.attacks, defaults=defaults)
    ds = load_split(config, flags.split, folder)
    check_labelled(ds)
    check_attacks(attacks, ds, target=0)
    split, references = load_references(config, folder, ds)

    def look(context: JobContext) -> list[str]:
        return choose_layers(context.model, flags.layers, ds.stack([0])[0].to(context.device))

    context = load_or_fit_classifier(config, folder, ds, check=look)
    layers = look(context)
    trials = []
    for (name, attack), text in zip(attacks.items(), flags.attacks, strict=True):
        swept = is_swept(attack)
        # The model itself has no name; it is looked at where it is the last but one that is called.
        made = [
            build_attack(text, defaults=defaults | {"eps": radius, "layer": layer or None})
            for layer in (layers if swept else layers[-1:])
            for radius in (eps if swept else eps[:1])
        ]
        trials += list_trials(context.model, name, made, deepest=layers[-1])
    random = None
    if flags.random_weights:
        random = with_orthonormal_weights(context.model, seed=context.seed)
        trials += [replace(t, trained=False) for t in trials if is_swept(t.attack)]
    pairs = draw_pairs(context, ds, count=flags.pairs)
    return RepresentationSetup(context, pairs, references, split, layers, trials, random)


def is_swept(attack: Attack) -> bool:
    """Tell whether an attack is made for each layer and budget."""
    return isinstance(attack, FeatureAdversary)


def shown_layer(layer: str) -> str:
    """Return a layer's name; the model itself has none."""
    return layer or "(the model)"


def list_trials(
    model: nn.Module, name: str, attacks: Sequence[Attack], *, deepest: str
) -> list[Trial]:
    """Return the trials of an attack, each once: its text may fix what it is made for.

    Args:
        model: the classifier.
        name: of the attack.
        attacks: for each layer, by depth, and in it for each budget.
        deepest: the layer in which adversaries of attacks without one are looked at.
    """
    found: list[Trial] = []
    for attack in attacks:
        own = getattr(attack, "layer", None)
        layer = deepest if own is None else find_layers(model, own)[-1]
        if attack not in [trial.attack for trial in found]:
            found.append(Trial(name, attack, layer, compared=False))
    shown = next(trial for trial in found if trial.layer == found[-1].layer)
    return [replace(t, compared=t is shown) for t in found]


def choose_layers(model: nn.Module, names: Sequence[str], x: Tensor) -> list[str]:
    """Return the whole names of layers by their place in a pass of x (1, ...), each once.

    Raises:
        ValueError: for a layer that the model does not have or call, or several in one name.
    """
    if not names:
        return [last_hidden(model, x)]
    for name in names:
        if SEPARATOR in name:
            raise ValueError(
                f"--layers has {name!r}; name one at a time, as each is looked at by itself: "
                f"{name.replace(SEPARATOR, ' ')}"
            )
    whole = [find_layers(model, name)[0] for name in names]
    with frozen(model):
        called = called_layers(model, x, lambda module, output: True)
    for name in whole:
        if name not in called:
            raise ValueError(f"--layers has {name!r}, which no pass of the model goes through")
    return sorted(set(whole), key=called.index)


def load_references(
    config: RepresentationConfig, folder: RunFolder, ds: Dataset
) -> tuple[str, Dataset]:
    """Load training samples, or take the others where there are none; return their split, too."""
    flags, split, found = config.representing, "train", ds
    if flags.split != split:
        try:
            found = load_split(config, "train", folder)
        except ChangedInput:
            raise
        except RefusedInput as error:
            log.info("what is typical is told from %s samples: %s", flags.split, error)
            split = flags.split
        check_labelled(found)
        check_alike(found, ds)
    return split, found.subset(evenly_spaced(len(found), flags.references))
