"""Arguments of the wrong kind are refused by name at once; those of the right kinds work."""

import dataclasses
import math
import re
import typing

import numpy as np
import pytest
import torch

from attacks import ATTACKS, FGSM, FITTED, PGD, Square, UniversalPerturbation
from attacks.common.options import Count, Options, Share, above, at_least, between, inside


def test_one_target_serves_all_samples(any_case, net, batch, same):
    x, y = batch()
    each = any_case.attack()(net(), x, y, target=torch.full_like(y, 3))
    assert same(any_case.attack()(net(), x, y, target=3), each)


def test_without_labels_the_models_own_answers_are_attacked(any_case, net, batch, same):
    x, _ = batch()
    model = net().eval()
    with torch.no_grad():
        answers = model(x).argmax(1)
    result = any_case.attack()(model, x, answers)
    if any_case.needs_target:
        attack = any_case.attack().attack
        result = attack(model, x, answers, target=0)
        assert same(attack(model, x, None, target=0), result)
        return
    assert same(any_case.attack()(model, x, None), result)
    assert not result.already.any()


def test_fitted_attacks_take_both(fitted_case, net, batch, same):
    x, y = batch()
    fitted = fitted_case.fit(net(), [(x, y)])
    with torch.no_grad():
        answers = net().eval()(x).argmax(1)
    assert same(fitted(net(), x, None), fitted(net(), x, answers))
    with pytest.raises(ValueError, match="target is a str"):
        fitted(net(), x, y, target="1")


def test_an_attack_fitted_for_a_class_takes_it_as_a_number(net, batch):
    x, y = batch()
    fitted = UniversalPerturbation(passes=1, target=1).fit(net(), [(x, y)])
    assert fitted(net(), x, y, target=1).success.shape == y.shape
    with pytest.raises(ValueError, match=r"target is \[2\]"):
        fitted(net(), x, y, target=2)


WRONG = {
    "y list": (dict(y=[0, 1]), ["y is a list", "torch.tensor"]),
    "y array": (dict(y=np.array([0, 1])), ["y is a ndarray", "int64"]),
    "y int": (dict(y=3), ["y is an int"]),
    "y bool": (dict(y=torch.tensor([True, False])), ["y has", "torch.bool", "int64"]),
    "y float": (dict(y=torch.tensor([0.0, 1.0])), ["y has", "float32"]),
    "x array": (dict(x=np.zeros((2, 3, 6, 6), np.float32)), ["x is a ndarray", "from_numpy"]),
    "x list": (dict(x=[[0.0]]), ["x is a list"]),
    "x meta": (dict(x=torch.zeros(2, 3, 6, 6, device="meta")), ["meta"]),
    "x sparse": (dict(x=torch.zeros(2, 3, 6, 6).to_sparse()), ["layout", "plain tensor"]),
    "target list": (dict(target=[0, 1]), ["target is a list", "(B,)"]),
    "target float": (dict(target=1.0), ["target is a float"]),
    "target bool": (dict(target=True), ["target is a bool"]),
    "target str": (dict(target="cat"), ["target is a str"]),
    "target negative": (dict(target=-1), ["-1", "start at 0"]),
    "target unknown": (dict(target=9), ["class 9", "4 classes"]),
    "seed float": (dict(seed=1.5), ["seed is 1.5", "integer"]),
    "seed None": (dict(seed=None), ["seed is None"]),
    "ids short": (dict(sample_ids=[1]), ["sample_ids has 1 entries for 2"]),
    "ids long": (dict(sample_ids=torch.arange(3)), ["sample_ids has 3 entries for 2"]),
    "ids float": (dict(sample_ids=[0.5, 1.5]), ["sample_ids", "whole numbers", "float"]),
    "ids tensor": (dict(sample_ids=torch.tensor([0.5, 1.5])), ["sample_ids", "float32"]),
    "ids str": (dict(sample_ids="ab"), ["sample_ids", "str"]),
    "ids iterator": (dict(sample_ids=iter([1, 2])), ["sample_ids is a list_iterator", "a list"]),
    "ids bool": (dict(sample_ids=torch.tensor([True, False])), ["sample_ids", "True and False"]),
    "progress int": (dict(progress=3), ["progress is 3, an int", "steps done"]),
    "ids int": (dict(sample_ids=4), ["sample_ids", "int"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arguments_are_refused_by_name(any_case, wrong, net):
    changes, words = WRONG[wrong]
    x = any_case.shaped(torch.zeros(2, 3, 6, 6))
    given = dict(x=x, y=torch.tensor([0, 1]), target=1 if any_case.needs_target else None) | changes
    attack = any_case.attack()
    attack = attack.attack if any_case.needs_target else attack
    with pytest.raises(ValueError, match=r".") as error:
        attack(net(), given.pop("x"), given.pop("y"), **given)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_another_device_than_the_models_is_refused(any_case, net, batch):
    x, y = batch(2)
    with pytest.raises(ValueError, match=r"x is on cpu and the model on meta; move"):
        any_case.attack()(net().to("meta"), x, y)


def test_samples_that_require_a_gradient_get_none(any_case, net, batch):
    x, y = batch(2)
    result = any_case.attack()(net(), x.requires_grad_(), y)
    assert x.grad is None
    assert not any(t.requires_grad for t in (result.x, result.x_adv, result.loss))


KINDS = [*ATTACKS.values(), *FITTED.values()]


@pytest.mark.parametrize("attack", KINDS, ids=lambda kind: kind.__name__)
def test_options_of_another_kind_are_refused_by_name(attack):
    hints = typing.get_type_hints(attack)
    tried = 0
    for field in dataclasses.fields(attack):
        kinds = set(typing.get_args(hints[field.name]) or [hints[field.name]])
        for kind, values in {
            int: [2.5, "3", torch.tensor(3), [3]],
            float: ["8/255", "0.1", [0.1], True],
            bool: ["yes", 1],
            str: [3],
        }.items():
            for value in values if kinds - {type(None), torch.Tensor} == {kind} else []:
                with pytest.raises(ValueError, match=f"{field.name} is ") as error:
                    attack(**{field.name: value})
                assert type(value).__name__ in str(error.value)
                tried += 1
    assert tried


def test_numpys_numbers_serve(net, batch, same):
    x, y = batch()
    plain = PGD(eps=0.5, steps=2)(net(), x, y)
    assert torch.equal(PGD(eps=np.float32(0.5), steps=np.int64(2))(net(), x, y).x_adv, plain.x_adv)
    for attack in (PGD(), FGSM(), Square(queries=3)):
        one, other = (attack(net(), x, y, target=t) for t in (3, np.int64(3)))
        assert same(one, other)


@pytest.mark.parametrize("name", sorted({**ATTACKS, **FITTED}))
def test_a_radius_in_gray_levels_is_refused(name):
    attack = {**ATTACKS, **FITTED}[name]
    options = {field.name: field.default for field in dataclasses.fields(attack)}
    if "eps" not in options:
        pytest.skip("has no radius")
    for eps in (8, 8.0, 255, torch.full((2,), 8.0)):
        with pytest.raises(ValueError, match="eps is"):
            attack(eps=eps)
    with pytest.raises(ValueError, match=r"8/255"):
        attack(eps=8)
    if options.get("norm"):
        attack(norm="l2", eps=8.0)
    attack(eps=1.0)


def test_a_batch_may_hold_radii_beyond_the_range():
    PGD(eps=torch.tensor([0.1, 2.0]))


def test_a_refused_option_is_told_what_is_allowed():
    @dataclasses.dataclass
    class Some(Options):
        steps: Count | None = None
        mean: tuple[float, ...] = ()
        share: Share = 1.0
        classes: typing.Annotated[int, at_least(2)] = 2
        rate: typing.Annotated[float, inside(0, 1)] = 0.5
        form: typing.Literal["a", "b"] = "a"

    Some(3, (0.5, 1))
    for options, words in (
        ({"steps": "a"}, "steps is 'a', of the kind str; give a whole number >= 1 or None"),
        ({"steps": 0}, "steps is 0; give a whole number >= 1 or None"),
        ({"mean": ("a",)}, "mean is ('a',), of the kind tuple; give a tuple, a number each"),
        ({"share": float("nan")}, "share is nan; give a number in (0, 1]"),
        ({"share": 0}, "share is 0; give a number in (0, 1]"),
        ({"classes": 1}, "classes is 1; give a whole number >= 2"),
        ({"rate": 1.0}, "rate is 1.0; give a number in (0, 1)"),
        ({"form": "c"}, "form is 'c'; give one of 'a', 'b'"),
        ({"form": 1}, "form is 1, of the kind int; give one of 'a', 'b'"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            Some(**options)


@pytest.mark.parametrize("bound", [at_least(0), above(0), between(0, 1), inside(0, 1)])
def test_no_bound_allows_nan_or_infinity(bound):
    assert bound.allowed(0.5)
    assert not any(bound.allowed(value) for value in (math.nan, math.inf, -math.inf, -1))
