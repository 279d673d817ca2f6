"""AutoAttack: the standard's parameters, the worst case of its members, and going on."""

import pytest
import torch

from attacks import APGD, FAB, AutoAttack, RefusedInput, Square
from attacks.common.randomness import derive_seed

QUICK = dict(version="custom", eps=0.06, steps=4, targets=2, queries=8)


@pytest.fixture
def resisting(net, batch):
    """A model and samples of which some are wrong, some fall to a member, and some to none."""
    x, y = batch(24, dtype=torch.float64)
    model = net(dtype=torch.float64)
    right = model.eval()(x).argmax(1)
    return model, x, torch.where(torch.arange(24) < 20, right, y)


def test_the_standard_has_the_published_parameters():
    for norm in ("linf", "l2"):
        assert AutoAttack(norm=norm, eps=0.5).members() == {
            "apgd-ce": APGD(norm, 0.5, 100, 1, "ce", 0, True),
            "apgd-t": APGD(norm, 0.5, 100, 1, "dlr", 9, True),
            "fab-t": FAB(norm, 0.5, 100, 9, 0.1, 1.05, 0.9),
            "square": Square(norm, 0.5, 5000, 0.8, 10_000, "margin", True),
        }
    assert AutoAttack(norm="l1", eps=12.0).members() == {
        "apgd-ce": APGD("l1", 12.0, 100, 5, "ce", 0, True),
        "apgd-t": APGD("l1", 12.0, 100, 1, "dlr", 5, True),
        "fab-t": FAB("l1", 12.0, 100, 9, 0.1, 1.05, 0.9),
        "square": Square("l1", 12.0, 5000, 0.8, 10_000, "margin", True),
    }


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_plus_and_rand_have_the_published_parameters(norm):
    """Those that the published code sets for its versions of these names, in its order."""
    assert list(AutoAttack(norm=norm, eps=0.5, version="plus").members().items()) == [
        ("apgd-ce", APGD(norm, 0.5, 100, 5, "ce", 0, True)),
        ("apgd-dlr", APGD(norm, 0.5, 100, 5, "dlr", 0, True)),
        ("fab", FAB(norm, 0.5, 100, 0, 0.1, 1.05, 0.9, 5)),
        ("square", Square(norm, 0.5, 5000, 0.8, 10_000, "margin", True)),
        ("apgd-t", APGD(norm, 0.5, 100, 1, "dlr", 9, True)),
        ("fab-t", FAB(norm, 0.5, 100, 9, 0.1, 1.05, 0.9)),
    ]
    assert list(AutoAttack(norm=norm, eps=0.5, version="rand").members().items()) == [
        ("apgd-ce", APGD(norm, 0.5, 100, 1, "ce", 0, True, eot=20)),
        ("apgd-dlr", APGD(norm, 0.5, 100, 1, "dlr", 0, True, eot=20)),
    ]


@pytest.mark.parametrize("version", ["standard", "plus", "rand"])
@pytest.mark.parametrize("name", ["steps", "targets", "queries", "eot"])
def test_published_versions_with_other_parameters_are_an_error(version, name):
    value = {"steps": 100, "targets": 9, "queries": 5000, "eot": 20}[name]  # even the published one
    with pytest.raises(ValueError, match=rf"{name}={value} with version='{version}'.*custom"):
        AutoAttack(version=version, **{name: value})


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (
            dict(version="best"),
            "version is 'best'; give one of 'standard', 'plus', 'rand', 'custom'",
        ),
        (dict(norm="L2"), "L2"),
        (dict(version="custom", steps=0), "steps is 0"),
        (dict(version="custom", targets=0), "targets is 0"),
        (dict(version="custom", queries=0), "queries is 0"),
    ],
)
def test_impossible_options_are_refused_at_once(options, word):
    with pytest.raises(ValueError, match=word):
        AutoAttack(**options)


@pytest.mark.parametrize("version", ["standard", "plus", "rand"])
def test_the_published_versions_take_no_target(net, batch, version):
    x, y = batch()
    with pytest.raises(ValueError, match=rf"target is given; {version} .*custom"):
        AutoAttack(version=version)(net(), x, y, target=y)


@pytest.mark.slow
def test_plus_finds_at_least_as_much_as_its_members_say(resisting):
    model, x, y = resisting
    result = AutoAttack(version="plus", eps=0.005)(model, x[:6], y[:6])
    names = ["clean", "apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]
    assert list(result.info["members"]) == names
    assert sum(result.info["members"].values()) == int(result.success.sum())
    assert int(result.info["fooled_by"].max()) <= 6


def test_rand_asks_a_single_pass_whether_a_sample_is_fooled(batch, monkeypatch):
    """Of a coin that no change of x can turn, half the samples are lost at each look."""

    class Coin(torch.nn.Module):
        def forward(self, x):
            lead = 1 + x.flatten(1).sum(1) * 1e-3
            side = torch.rand(len(x)).sub(0.5).sign().to(x)
            return torch.stack([lead * side, -lead * side, lead - 9, lead - 9], 1)

    monkeypatch.setattr("attacks.autoattack.autoattack.PASSES", 2)
    x, _ = batch(400)
    y = torch.zeros(len(x), dtype=torch.int64)
    result = AutoAttack(version="rand", eps=1e-3)(Coin(), x, y)
    counts = result.info["members"]
    left = 400
    for name in ("clean", "apgd-ce", "apgd-dlr"):
        assert abs(counts[name] - left / 2) <= 3 * (left / 4) ** 0.5, (name, counts)
        left -= counts[name]
    assert "random" not in " ".join(result.info.get("warnings", []))
    again = AutoAttack(version="rand", eps=1e-3)(Coin(), x, y)
    assert torch.equal(again.info["fooled_by"], result.info["fooled_by"])


def test_members_run_on_what_those_before_left(resisting):
    """The same by hand: each member alone, on the samples that still stand."""
    model, x, y = resisting
    attack, ids = AutoAttack(**QUICK), list(range(100, 124))
    result = attack(model, x, y, seed=7, sample_ids=ids)
    fooled_by = torch.where(model.eval()(x).argmax(1) != y, 0, -1)
    x_adv, queries = x.clone(), torch.full_like(y, 2)
    for number, (name, member) in enumerate(attack.members().items(), 1):
        rows = (fooled_by < 0).nonzero().flatten()
        part = member(
            model, x[rows], y[rows], seed=derive_seed(7, name), sample_ids=[ids[r] for r in rows]
        )
        queries[rows] += part.queries
        won = rows[part.success]
        fooled_by[won], x_adv[won] = number, part.x_adv[part.success]
    assert torch.equal(result.info["fooled_by"], fooled_by)
    assert torch.equal(result.success, fooled_by >= 0)
    assert torch.equal(result.queries, queries)
    torch.testing.assert_close(result.x_adv, x_adv, atol=1e-12, rtol=0)
    names = ["clean", *attack.members()]
    counts = {name: int((fooled_by == i).sum()) for i, name in enumerate(names)}
    assert result.info["members"] == counts
    assert counts["clean"] >= 1
    assert counts["apgd-ce"] >= 1
    assert (fooled_by < 0).any()  # else this would not have seen all members


def test_samples_wrong_by_themselves_or_with_broken_scores_are_not_attacked(resisting, nan_below):
    model, x, y = resisting
    x = x.clone()
    x[0] *= 0.1
    result = AutoAttack(**QUICK)(nan_below(model), x, y)
    assert result.info["fooled_by"][0] == -1
    assert result.queries[0] == 2
    clean = result.info["fooled_by"] == 0
    assert (result.queries[clean] == 2).all()
    assert torch.equal(result.x_adv[clean], x[clean])
    assert "1 of 24 samples gave non-finite" in result.info["warnings"][0]


class Killed(Exception):
    """What stands for a kill."""


def passes_of(model, *, kill_at=None):
    """Count the forward passes of a model, and raise at one of them."""
    seen = []

    def count(_, given, __):
        seen.append(len(given[0]))
        if len(seen) == kill_at:
            raise Killed

    return seen, model.register_forward_hook(count)


def test_a_killed_run_goes_on_to_the_same_result(resisting, tmp_path, same):
    model, x, y = resisting
    attack = AutoAttack(**QUICK)
    seen, hook = passes_of(model)
    plain = attack(model, x, y, seed=3)
    hook.remove()
    kept = AutoAttack(**QUICK, folder=str(tmp_path))
    for kill_at in (2, len(seen) // 3, len(seen) // 3):  # the second goes on from the first
        _, hook = passes_of(model, kill_at=kill_at)
        with pytest.raises(Killed):
            kept(model, x, y, seed=3)
        hook.remove()
    assert len(list(tmp_path.iterdir())) == 1
    again, hook = passes_of(model)
    result = kept(model, x, y, seed=3)
    hook.remove()
    assert same(result, plain)
    assert torch.equal(result.queries, plain.queries)
    assert result.info.keys() == plain.info.keys()
    assert result.info["members"] == plain.info["members"]
    assert torch.equal(result.info["fooled_by"], plain.info["fooled_by"])
    assert len(again) < len(seen) - 5  # the passes of the members that were done


def test_the_state_of_another_call_is_not_taken(resisting, net, tmp_path, same):
    model, x, y = resisting
    kept = AutoAttack(**QUICK, folder=str(tmp_path))
    kept(model, x, y, seed=3)
    other = net(dtype=torch.float64, seed=5)
    calls = [
        (dict(QUICK, eps=0.07), model, x, y, 3),
        (dict(QUICK, steps=5), model, x, y, 3),
        (QUICK, model, x, y, 4),
        (QUICK, model, x.flip(0), y.flip(0), 3),
        (QUICK, model, x, (y + 1) % 4, 3),
        (QUICK, other, x, y, 3),
    ]
    for number, (options, classifier, samples, labels, seed) in enumerate(calls, 2):
        fresh = AutoAttack(**options)(classifier, samples, labels, seed=seed)
        stored = AutoAttack(**options, folder=str(tmp_path))
        assert same(stored(classifier, samples, labels, seed=seed), fresh)
        assert len(list(tmp_path.iterdir())) == number


def test_a_damaged_state_is_refused(resisting, tmp_path):
    model, x, y = resisting
    kept = AutoAttack(**QUICK, folder=str(tmp_path))
    kept(model, x, y)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RefusedInput, match=r"autoattack-.*remove it"):
        kept(model, x, y)


def test_a_model_that_only_square_fools_is_reported(batch):
    """Steps in place of a slope: the gradient is zero everywhere."""

    class Stairs(torch.nn.Module):
        def forward(self, x):
            height = (x * 8).round().flatten(1)[:, :50].sum(1) / 8 + 0 * x.sum()
            return torch.stack([height * 0 + 25, height + x.sum() * 0], 1)

    x, _ = batch(8)
    y = Stairs()(x).argmax(1)
    result = AutoAttack(version="custom", eps=0.3, steps=3, targets=1, queries=200)(Stairs(), x, y)
    fooled = result.info["members"]["square"]
    assert fooled >= 1
    texts = result.info["warnings"]
    assert any(f"square, which takes no gradient, fooled {fooled} of 8" in t for t in texts)
    assert any(t.startswith("apgd-ce: ") and "zero or non-finite gradient" in t for t in texts)


def test_a_random_model_is_reported_once(net, batch):
    class Noisy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net()

        def forward(self, x):
            return self.inner(x) + torch.randn(len(x), 4)

    result = AutoAttack(**QUICK)(Noisy(), *batch())
    assert sum("the model is random" in text for text in result.info["warnings"]) == 1


def test_progress_moves_within_members(resisting, tmp_path):
    model, x, y = resisting
    attack, seen = AutoAttack(**QUICK, folder=str(tmp_path)), []
    attack(model, x, y, progress=lambda *step: seen.append(step))
    members = attack.members()
    passes = [3 * m.steps * max(1, m.targets) for m in list(members.values())[:3]]
    passes.append(members["square"].queries)
    done = [at for at, _ in seen]
    assert {of for _, of in seen} == {sum(passes)}
    assert done == sorted(set(done))
    ends = [sum(passes[: n + 1]) for n in range(4)]
    assert set(ends) <= set(done)
    for begin, end in zip([0, *ends], ends, strict=False):
        assert any(begin < at < end for at in done), "a member is silent"
    again = []
    attack(model, x, y, progress=lambda *step: again.append(step))
    assert [at for at, _ in again] == ends  # of a run that goes on, what is done is passed by


@pytest.mark.slow
def test_the_standard_leaves_nothing_of_an_undefended_classifier(linear, batch):
    model = linear(10, gain=0.3)
    x, _ = batch(16)
    y = model(x).argmax(1)
    result = AutoAttack(eps=0.4)(model, x, y)
    assert result.success.all()
    assert result.info["members"]["clean"] == 0
