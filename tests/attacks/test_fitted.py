"""What every fit and every fitted attack owes its caller: each test runs on each row of FITS."""

import dataclasses
import json
from typing import ClassVar

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from attacks import (
    ATN,
    FITTED,
    PGD,
    BlackBoxSubstitute,
    FittedATN,
    FlickerUniversal,
    RefusedInput,
    SparseUniversalPerturbation,
    Substitute,
    UniversalPerturbation,
    load_fitted,
)
from attacks.common.threat import column
from attacks.files import digest
from attacks.universal.fitting import Fittable
from attacks.universal.saved_attack import kind_of

FITS = {
    "universal": UniversalPerturbation(eps=0.2, passes=3, target_rate=1.0),
    "universal-deepfool": UniversalPerturbation(
        norm="l2", eps=2.0, solver="deepfool", passes=2, target_rate=1.0
    ),
    "universal-target": UniversalPerturbation(
        norm="l1", eps=9.0, passes=2, target=1, target_rate=1.0
    ),
    "sup": SparseUniversalPerturbation(passes=3, lr=0.03),
    "sup-target": SparseUniversalPerturbation(passes=2, lr=0.03, target=1, eps=0.05),
    "atn": ATN(passes=3, width=4, lr=0.01),
    "atn-target": ATN(form="autoencoder", passes=2, width=4, target=1),
    "substitute": BlackBoxSubstitute(rounds=3, samples=6, budget=20, epochs=2, width=4),
    "flicker-universal": FlickerUniversal(passes=3, lr=0.02),
    "flicker-universal-roll": FlickerUniversal(
        passes=2, lr=0.02, roll=True, target=1, space="prob", eps=0.1
    ),
}
VIDEO = (FlickerUniversal,)  # those that are fitted to videos alone
# Those that leave out what the model has wrong, as the papers on videos do.
SELECTIVE = (FlickerUniversal, SparseUniversalPerturbation)


@pytest.fixture(params=FITS, ids=str)
def options(request):
    return FITS[request.param]


@pytest.fixture
def sample_dims(request):
    """Return 3 where the test's row is fitted to videos alone, else 2; `net` and `batch` ask."""
    named = "options" in request.fixturenames
    return 3 if named and isinstance(request.getfixturevalue("options"), VIDEO) else 2


@pytest.fixture
def loader(batch):
    x, y = batch(13)
    return [(x[:8], y[:8]), (x[8:], y[8:])]


def parts(fitted):
    """All that a fitted attack is, ready to be compared."""
    tensors, config = fitted.state()
    return {name: t.tolist() for name, t in tensors.items()}, config


def test_every_fit_has_a_row():
    assert {type(options) for options in FITS.values()} == set(FITTED.values())


def test_a_fit_is_the_same_each_time_and_leaves_no_trace(options, net, loader):
    model = net().train()
    model.head.weight.requires_grad_(False)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    first = options.fit(model, loader, seed=3)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == flags
    assert not model.head.weight.requires_grad
    assert model.features[0].weight.requires_grad
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(p.grad is None for p in model.parameters())
    torch.rand(3)  # another global state must not matter
    with torch.no_grad():
        assert parts(options.fit(model, loader, seed=3)) == parts(first)
    with torch.inference_mode():
        assert parts(options.fit(model, loader, seed=3)) == parts(first)


def test_the_seed_matters_where_something_is_random(options, net, loader):
    one, other = (parts(options.fit(net(), loader, seed=seed)) for seed in (0, 1))
    certain = isinstance(options, (UniversalPerturbation, SparseUniversalPerturbation))
    assert (one != other) == getattr(options, "roll", not certain)


def answered(net, loader):
    """Batches with the model's own answers for labels."""
    return [(x, net().eval()(x).argmax(1)) for x, _ in loader]


def test_labels_of_samples_that_are_right_are_not_needed(options, net, loader):
    with_labels = parts(options.fit(net(), answered(net, loader)))
    assert (
        parts(options.fit(net(), [(x, torch.full_like(y, -1)) for x, y in loader])) == with_labels
    )
    assert parts(options.fit(net(), [(x,) for x, _ in loader])) == with_labels


def test_samples_that_are_wrong_are_left_out_where_the_paper_does(options, net, loader):
    known = answered(net, loader)
    some_wrong = [(x, torch.cat([y[:2], (y[2:4] + 1) % 4, y[4:]])) for x, y in known]
    made = options.fit(net(), some_wrong)
    if not isinstance(options, SELECTIVE):
        assert parts(made) == parts(options.fit(net(), known))
        return
    assert [record["left_out"] for record in made.history] == [4] * options.passes
    assert not torch.equal(made.delta, options.fit(net(), known).delta)
    if not getattr(options, "roll", False):  # where a sample's place gives its shift
        kept = [[torch.cat([t[:2], t[4:]]) for t in pair] for pair in known]
        torch.testing.assert_close(made.delta, options.fit(net(), kept).delta)


def test_a_fit_goes_on_from_any_pass_to_the_same_end(options, net, loader):
    kept, seen = [], []
    whole = options.fit(
        net(), loader, on_epoch=kept.append, progress=lambda done, total: seen.append((done, total))
    )
    assert len(whole.history) == len(kept) == options.passes
    assert seen == [(i + 1, options.passes) for i in range(options.passes)]
    for state in kept:
        json.dumps(state.history)
        resumed = options.fit(net(), loader, checkpoint=state)
        assert parts(resumed) == parts(whole)
    assert [len(state.history) for state in kept] == [1 + i for i in range(options.passes)]


def test_what_is_kept_does_not_change_later(options, net, loader):
    copies = []

    def keep(state):
        copies.append((state, {name: t.clone() for name, t in state.tensors.items()}))

    options.fit(net(), loader, on_epoch=keep)
    for state, tensors in copies:
        assert all(torch.equal(state.tensors[name], t) for name, t in tensors.items())


def test_a_file_holds_all_of_it(options, net, loader, batch, tmp_path, same):
    model, (x, y) = net(), batch(4, seed=9)
    fitted = options.fit(model, loader)
    fitted.save(tmp_path / "one.safetensors")
    read = load_fitted(tmp_path / "one.safetensors")
    assert type(read) is type(fitted)
    assert parts(read) == parts(fitted)
    assert same(read(model, x, y), fitted(model, x, y))
    read.save(tmp_path / "two.safetensors")
    one, two = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    assert kind_of(tmp_path / "one.safetensors") in FITTED


def test_a_fitted_attack_is_an_attack(options, net, loader, batch):
    model, (x, y) = net(), batch(5, seed=9)
    x[0], x[1] = 0, 1
    fitted = options.fit(model, loader)
    random, flags = torch.get_rng_state(), [module.training for module in model.modules()]
    seen, given = [], x.clone()
    result = fitted(model, x, y, progress=lambda *now: seen.append(now))
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == flags
    assert torch.equal(x, given)
    assert seen == [(1, 1)]
    assert 0 <= result.x_adv.min() <= result.x_adv.max() <= 1
    assert torch.equal(result.success, model.eval()(result.x_adv).argmax(1) != y)
    assert result.queries.tolist() == [1] * 5
    assert "warnings" not in result.info
    with pytest.raises(dataclasses.FrozenInstanceError):
        fitted.history = ()


def test_a_sample_does_not_depend_on_its_batch(options, net, loader, batch):
    model, (x, y) = net(dtype=torch.float64), batch(5, seed=9, dtype=torch.float64)
    fitted = options.fit(net(), loader)
    whole = fitted(model, x, y)
    assert whole.x_adv.dtype == whole.loss.dtype == torch.float64
    rows = torch.tensor([3, 1])
    part = fitted(model, x[rows], y[rows])
    torch.testing.assert_close(part.x_adv, whole.x_adv[rows], atol=1e-9, rtol=0)


def test_videos(options, net, batch):
    model, (x, _) = net(dims=3, side=4), batch(5, dims=3, side=4)
    y = net(dims=3, side=4).eval()(x).argmax(1)  # right, so that none is left out
    result = options.fit(model, [(x, y)])(model, x, y)
    assert result.x_adv.shape == x.shape
    assert (result.linf > 0).all()


def test_nan_counts_as_not_fooled_and_breaks_no_fit(options, net, loader, batch, nan_below):
    dark = [(x * column(torch.tensor([0.1, 1.0]).repeat(4)[: len(x)], x), y) for x, y in loader]
    model, (x, y) = nan_below(net().eval(), level=0.6), batch(5, seed=9)
    fitted = options.fit(model, dark)
    assert all(torch.isfinite(t).all() for t in fitted.state()[0].values())
    result = fitted(nan_below(net(), level=2.0), x, y)
    assert not result.success.any()
    assert result.loss.isnan().all()
    assert "5 of 5 samples gave non-finite" in result.info["warnings"][0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda good: iter(good), "iterator"),
        (lambda good: [], "no batches"),
        (lambda good: [(x * 255, y) for x, y in good], "Normalize"),
        (lambda good: [(x[0], y) for x, y in good], r"\(B, C, .*H, W\)"),
    ],
)
def test_samples_that_nothing_can_be_fitted_to_are_refused(options, net, loader, wrong, words):
    with pytest.raises(ValueError, match=words):
        options.fit(net(), wrong(loader))


def test_a_target_that_was_not_fitted_is_refused(options, net, loader, batch):
    if not hasattr(options, "target"):
        return
    (x, y), model = batch(3), net()
    fitted = options.fit(model, loader)
    if options.target is None and isinstance(options, ATN):
        with pytest.raises(ValueError, match="class 4 of a model with 4 classes"):
            fitted(model, x, y, target=torch.full_like(y, 4))
        return
    with pytest.raises(ValueError, match=r"target is \[2\], and the attack was fitted with"):
        fitted(model, x, y, target=torch.full_like(y, 2))
    if options.target is not None:
        assert fitted(model, x, y, target=torch.full_like(y, 1)).success.shape == y.shape


@pytest.mark.parametrize("name", ["universal", "sup", "atn"])
def test_a_target_that_is_no_class_is_refused(name, net, loader):
    with pytest.raises(ValueError, match="target is -1"):
        FITTED[name](target=-1)
    with pytest.raises(ValueError, match="class 4 of a model with 4 classes"):
        FITTED[name](target=4).fit(net(), loader)


def test_damaged_and_strange_files_are_refused(options, net, loader, tmp_path):
    fitted, file = options.fit(net(), loader), tmp_path / "a.safetensors"
    fitted.save(file)
    others = {FITTED[name] for name in FITTED} - {type(options)}
    assert others
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(file.read_bytes()[:-9])
    plain = tmp_path / "plain.safetensors"
    save_file(load_file(file), plain)
    strange = tmp_path / "strange.safetensors"
    save_file({"x": torch.zeros(2)}, strange, {"fitted": json.dumps({"kind": "none"})})
    empty = tmp_path / "empty.safetensors"
    save_file({"x": torch.zeros(2)}, empty, {"fitted": json.dumps({"kind": type(fitted).kind})})
    broken, changed = tmp_path / "broken.safetensors", tmp_path / "changed.safetensors"
    with safe_open(file, "pt") as opened:
        head = opened.metadata()
    name, tensor = next((n, t) for n, t in load_file(file).items() if t.is_floating_point())
    bad = load_file(file) | {name: torch.full_like(tensor, torch.nan)}
    save_file(bad, broken, head | {"digest": digest(bad, head["fitted"])})
    with pytest.raises(RefusedInput, match=r"holds NaN or infinity"):
        load_fitted(broken)
    save_file(load_file(file) | {name: tensor + 1}, changed, head)
    with pytest.raises(RefusedInput, match=r"it was changed after it was written"):
        load_fitted(changed)
    for path in (torn, plain, strange, empty, tmp_path / "missing"):
        with pytest.raises(RefusedInput, match=path.name):
            load_fitted(path)


def test_a_file_of_another_kind_is_refused(net, loader, tmp_path):
    file = tmp_path / "a.safetensors"
    FITS["universal"].fit(net(), loader).save(file)
    other = type(FITS["atn"].fit(net(), loader))
    with pytest.raises(RefusedInput, match="it holds 'universal', not 'atn'"):
        other.load(file)


def test_what_can_be_fitted_is_known_by_its_shape():
    class Own:
        __dataclass_fields__: ClassVar[dict] = {}
        passes = 1

        def fit(self, model, loader, **options):
            return self

    assert isinstance(Own(), Fittable)
    assert isinstance(UniversalPerturbation(), Fittable)
    assert not isinstance(PGD(), Fittable)


def test_a_fitted_attack_may_draw():
    assert FittedATN.draws  # a class at random where it was fitted for all
    assert Substitute.draws  # as the attack on it
