import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal, cast

import pytest
import torch

from attacks import ATTACKS, FAB, FGSM, PGD, AutoAttack, DeepFool
from augment import ClassicAugmentation, Dataset
from trainers.fit.augmentation import build_augmentation
from trainers.run.cli.config import SamplesConfig
from trainers.run.cli.specs.attacks import (
    attack_defaults,
    build_attack,
    build_attacks,
    build_fittable,
    convert,
    sample_counts,
    slug,
)


def test_a_text_is_the_attack_it_names() -> None:
    attack = build_attack("pgd:eps=8/255,steps=20,random_start=false,step_size=none,norm=l2")
    assert attack == PGD(eps=8 / 255, steps=20, random_start=False, step_size=None, norm="l2")


def test_text_wins_over_usual_options_and_flags_over_text() -> None:
    assert build_attack("pgd:eps=0.5", defaults={"eps": 0.1, "steps": 7}) == PGD(eps=0.5, steps=7)
    assert build_attack("pgd:eps=0.5", overrides={"eps": 0.2}) == PGD(eps=0.2)
    assert build_attack("fgsm", defaults={"eps": 0.1, "steps": 7}) == FGSM(eps=0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pdg", "did you mean pgd"),
        ("", "allowed: "),
        ("pgd:epss=1", "has no option 'epss'"),
        ("pgd:eps", "pgd:eps is ''; allowed: a value of type float"),
        ("pgd:steps=1.5", "type int"),
        ("pgd:norm=l7", "allowed: linf, l2"),
        ("pgd:random_start=maybe", "type bool"),
        ("pgd:steps=0", "steps"),
    ],
)
def test_a_wrong_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_attack(text)


def test_an_attack_may_do_without_a_ball() -> None:
    assert build_attack("fab:eps=none", defaults={"eps": 0.1, "norm": "l2"}) == FAB(norm="l2")
    assert build_attack("fab", defaults={"eps": 0.1}) == FAB(eps=0.1)


WEAK = {"eps": 0.1, "norm": "linf"}


@pytest.mark.parametrize("text", ["pgd:norm=l1", "fab:steps=3,norm=l1", "autoattack:norm=l1"])
def test_the_budget_of_one_norm_is_none_for_another(text: str) -> None:
    with pytest.raises(ValueError, match=f"{text} has no eps, and 0.1 .* eps=12 .* 4"):
        build_attack(text, defaults=WEAK)
    given = build_attack(f"{text},eps=3", defaults=WEAK)
    assert given == build_attack(text, defaults=WEAK, overrides={"eps": 3.0})
    assert given == build_attack(text, defaults={"eps": 3.0, "norm": "l1"})
    with pytest.raises(ValueError, match="give --norm l2 instead, or an eps beside"):
        build_fittable("universal:norm=l2", defaults=WEAK, overrides={})
    with pytest.raises(ValueError, match="pgd:norm=l2 has no eps"):
        build_fittable("substitute:attack=pgd:norm=l2", defaults=WEAK, overrides={})


def test_a_norm_without_a_ball_needs_no_budget() -> None:
    assert build_attack("deepfool:norm=linf", defaults=WEAK | {"norm": "l2"}) == DeepFool(
        norm="linf"
    )
    assert build_attack("fab:norm=l1,eps=none", defaults=WEAK) == FAB(norm="l1")
    assert build_attack("pgd:norm=l1") == PGD(norm="l1")  # nothing is meant for another norm


@pytest.mark.parametrize("smoke", [False, True])
def test_a_smoke_run_takes_no_standard(smoke: bool) -> None:
    config = SimpleNamespace(
        run=SimpleNamespace(smoke=smoke), classifier=SimpleNamespace(defence=())
    )
    defaults = attack_defaults(cast(SamplesConfig, config), eps=0.1, norm="linf")
    standard, quick = AutoAttack(eps=0.1), AutoAttack("linf", 0.1, "custom", 3, None, 30)
    assert build_attack("autoattack", defaults=defaults) == (quick if smoke else standard)
    for name, attack in ATTACKS.items():
        assert isinstance(build_attack(name, defaults=defaults), attack)


def test_what_only_measures_lets_fooled_samples_go() -> None:
    shown = {"run": SimpleNamespace(smoke=False), "classifier": SimpleNamespace(defence=())}
    config = cast(SamplesConfig, SimpleNamespace(**shown))
    defaults = attack_defaults(config, eps=0.1, norm="linf", measuring=True)
    assert build_attack("pgd", defaults=defaults) == PGD(eps=0.1, early_stop=True)
    assert build_attack("pgd:early_stop=false", defaults=defaults) == PGD(eps=0.1)
    assert build_attack("pgd", defaults=attack_defaults(config, eps=0.1, norm="linf")) == PGD(
        eps=0.1
    )


def test_the_standard_by_another_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="steps=10 with version='standard'"):
        build_attack("autoattack:steps=10")


def test_a_flag_the_attack_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="fgsm has no option 'steps'"):
        build_attack("fgsm", overrides={"steps": 3})


def test_options_that_are_no_scalars_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Odd:
        sizes: frozenset[int] = frozenset()
        _kind: Literal["a"] = "a"

    monkeypatch.setitem(ATTACKS, "odd", Odd)
    with pytest.raises(ValueError, match="odd:sizes"):
        build_attack("odd:sizes=1")


def test_names_repeat_only_with_their_options() -> None:
    assert list(build_attacks(["fgsm", "pgd"], defaults={})) == ["fgsm", "pgd"]
    assert list(build_attacks(["pgd", "pgd:steps=2"], defaults={})) == ["pgd", "pgd:steps=2"]
    with pytest.raises(ValueError, match="named twice"):
        build_attacks(["pgd", "pgd"], defaults={})


def test_sample_counts() -> None:
    assert sample_counts(["pgd=5", "fgsm=all"], ["pgd"]) == {"pgd": 5}
    named = sample_counts(["fgsm=3"], ["generator", "generator:lam=1", "pgd"])
    assert named == {"generator": 64, "generator:lam=1": 64, "pgd": None}
    assert sample_counts(["pgd:steps=2=5"], ["pgd:steps=2"]) == {"pgd:steps=2": 5}
    for text in ("pgd", "pgd=", "pgd=0", "pgd=-1", "=4", "pgdd=4"):
        with pytest.raises(ValueError, match="--attack-samples"):
            sample_counts([text], ["pgd"])


def test_small_things() -> None:
    assert convert("none", float | None, what="x") is None
    assert slug("pgd:eps=8/255,steps=2") == "pgd-eps-8-255-steps-2"


def test_fitted_files_have_slugs_of_their_own() -> None:
    files = ["p/a.safetensors", "p-a.safetensors", "p/./a.safetensors", "p:a.safetensors"]
    assert len({slug(name) for name in files}) == len(files)
    for name in (f"{'deep/' * 60}a.safetensors", f"pgd:{'猫' * 99}"):
        assert len(slug(name).encode()) < 200


def samples(channels: int) -> Dataset:
    return Dataset(torch.zeros(2, channels, 8, 8), torch.zeros(2), "ab", name="d", classes=["c"])


def test_an_augmentation_is_the_one_for_the_data_with_what_its_text_changes() -> None:
    assert build_augmentation("none", samples(3)) is None
    assert build_augmentation("classic", samples(3)) == ClassicAugmentation(shift=1, flip=True)
    got = build_augmentation("classic:rotation=10,hue=1/20,flip=false", samples(3))
    assert got == ClassicAugmentation(shift=1, rotation=10.0, hue=0.05)
    lens = "classic:zoom=0.1,colour_cast=0.1,vignette=0.3,distortion=0.1"
    assert build_augmentation(lens, samples(3)) == ClassicAugmentation(
        shift=1, flip=True, zoom=0.1, colour_cast=0.1, vignette=0.3, distortion=0.1
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classik", "--augmentation is 'classik'; allowed: none, classic, or classic:OPTION=VALUE"),
        ("none:shift=1", "allowed: none, classic"),
        ("classic:turn=1", "has no option 'turn'; it has: shift, flip, rotation, zoom"),
        ("classic:zoom=2", "zoom is 2.0; give a number from 0 to 0.99"),
        ("classic:vignette=1.5", "vignette is 1.5; give a number from 0 to 1"),
        ("classic:hue=0.1", "saturation, hue and colour_cast need RGB samples"),
    ],
)
def test_impossible_augmentations_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build_augmentation(text, samples(1))
