"""The table of attacks under test, and the classifiers and samples they are tried on."""

from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
from torch import nn

from attacks import (
    ATN,
    ATTACKS,
    BIM,
    BlackBoxSubstitute,
    FlickerUniversal,
    SparseUniversalPerturbation,
    UniversalPerturbation,
)
from attacks.feature.guided_attack import GuidedAttack
from tests.slow_but import slow_but


@dataclass(frozen=True)
class Case:
    """One row of the table: an attack with cheap options.

    name: its key in ATTACKS; norm: of the eps ball it promises to stay in, or None; random:
    whether it draws numbers; strong: options that reach every goal on `linear_classifier`;
    leaves: whether samples leave the batch, each after its own number of passes; confirms:
    whether it strengthens the model's answer unless it is given a target; video: whether it
    takes videos alone, so that `net`, `batch` and `linear` make those for it.
    """

    name: str
    options: dict = field(default_factory=dict)
    norm: str | None = None
    random: bool = False
    strong: dict = field(default_factory=dict)
    leaves: bool = False
    confirms: bool = False
    video: bool = False

    def __str__(self):
        options = self.options.items()
        given = [k if v is True else v for k, v in options if isinstance(v, str) or v is True]
        return "-".join([self.name, *given])

    @property
    def needs_target(self):
        return getattr(ATTACKS[self.name], "needs_target", False)

    @property
    def needs_guide(self):
        return issubclass(ATTACKS[self.name], GuidedAttack)

    def attack(self, *, seeking=False, **changes):
        attack = ATTACKS[self.name](**{**self.options, **changes})
        if self.needs_guide:
            return Led(attack, seeking=seeking)
        return Aimed(attack) if self.needs_target else attack

    def strongest(self):
        return self.attack(seeking=True, **self.strong)

    def shaped(self, x):
        """Images (B, C, H, W) as samples it takes: for videos, stills of six frames."""
        return x[:, :, None].expand(-1, -1, 6, -1, -1) if self.video and x.ndim == 4 else x


@dataclass(frozen=True)
class Aimed:
    """An attack that needs a target, sent to another class than y where a test names none."""

    attack: object

    def __call__(self, model, x, y, *, target=None, **options):
        target = (y == 0).long() if target is None else target
        return self.attack(model, x, y, target=target, **options)


@dataclass(frozen=True)
class Led:
    """An attack that needs a guide, led to a sample's negative where a test names none.

    seeking: to a sample that meets the goal, found without a budget.
    """

    attack: object
    seeking: bool = False

    def __call__(self, model, x, y, *, guide=None, target=None, **options):
        if guide is None and isinstance(x, torch.Tensor) and x.layout is torch.strided:
            seek = BIM(eps=1.0, steps=30)
            guide = seek(model, x, y, target=target).x_adv if self.seeking else 1 - x.detach()
        return self.attack(model, x, y, guide=guide, target=target, **options)


# A new attack adds a row here and is put through everything in test_table.py.
CASES = [
    Case("fgsm", dict(norm="linf", eps=0.1), norm="linf", strong=dict(eps=0.4)),
    Case("fgsm", dict(norm="l2", eps=0.9), norm="l2", strong=dict(eps=4.0)),
    Case("fgsm", dict(norm="l1", eps=6.0), norm="l1", strong=dict(eps=40.0)),
    Case("pgd", dict(norm="linf", eps=0.1, steps=4), "linf", random=True, strong=dict(eps=0.4)),
    Case("pgd", dict(norm="l2", eps=0.9, steps=4), "l2", random=True, strong=dict(eps=4.0)),
    Case("pgd", dict(norm="l1", eps=6.0, steps=4), "l1", random=True, strong=dict(eps=40.0)),
    Case(
        "pgd",
        dict(norm="linf", loss="margin", eps=0.1, steps=2, restarts=2),
        "linf",
        random=True,
        strong=dict(eps=0.4),
    ),
    Case("pgd", dict(loss="dlr", eps=0.1, steps=3), "linf", random=True, strong=dict(eps=0.4)),
    Case(
        "pgd",
        dict(early_stop=True, eps=0.1, steps=9, restarts=2),
        "linf",
        random=True,
        strong=dict(eps=0.4),
        leaves=True,
    ),
    Case("pgd", dict(bf16=True, eps=0.1, steps=3), "linf", random=True, strong=dict(eps=0.4)),
    Case("bim", dict(norm="linf", eps=0.1, steps=4), "linf", strong=dict(eps=0.4)),
    Case("bim", dict(norm="l2", eps=0.9, steps=4), "l2", strong=dict(eps=4.0)),
    Case("bim", dict(norm="l1", eps=6.0, steps=4), "l1", strong=dict(eps=40.0)),
    Case(
        "bim",
        dict(early_stop=True, bf16=True, eps=0.1, steps=9),
        "linf",
        strong=dict(eps=0.4),
        leaves=True,
    ),
    Case("mifgsm", dict(norm="linf", eps=0.1, steps=4), "linf", strong=dict(eps=0.4)),
    Case("mifgsm", dict(norm="l2", eps=0.9, steps=4), "l2", strong=dict(eps=4.0)),
    Case("mifgsm", dict(norm="l1", eps=6.0, steps=4), "l1", strong=dict(eps=40.0)),
    Case("least-likely", dict(norm="linf", eps=0.1, steps=1), "linf", strong=dict(eps=0.4)),
    Case("least-likely", dict(norm="l2", eps=0.9, steps=4), "l2", strong=dict(eps=4.0)),
    Case(
        "most-likely",
        dict(norm="linf", eps=0.1, steps=2),
        "linf",
        strong=dict(eps=0.4),
        confirms=True,
    ),
    Case("apgd", dict(norm="linf", eps=0.1, steps=6), "linf", random=True, strong=dict(eps=0.4)),
    Case(
        "apgd",
        dict(norm="l2", loss="dlr", targets=2, eps=0.9, steps=4, early_stop=True),
        "l2",
        random=True,
        leaves=True,
        strong=dict(eps=4.0),
    ),
    Case("apgd", dict(norm="l1", eps=6.0, steps=10), "l1", random=True, strong=dict(eps=40.0)),
    Case(
        "apgd-t",
        dict(norm="l2", eps=0.9, steps=4, loss="margin", targets=2),
        "l2",
        random=True,
        strong=dict(eps=4.0),
    ),
    Case(
        "square",
        dict(norm="linf", eps=0.2, queries=12, early_stop=False),
        "linf",
        random=True,
        strong=dict(eps=1.0, queries=80),
    ),
    Case(
        "square",
        dict(norm="l2", eps=0.39, queries=30),
        "l2",
        random=True,
        leaves=True,
        strong=dict(eps=8.0, queries=200),
    ),
    Case(
        "square",
        dict(norm="l1", eps=0.39, queries=30),
        "l1",
        random=True,
        leaves=True,
        strong=dict(eps=80.0, queries=200),
    ),
    Case("fab", dict(norm="linf", steps=1, targets=2), leaves=True, strong=dict(steps=20)),
    Case("fab", dict(norm="l2", steps=1, targets=1), leaves=True, strong=dict(steps=20)),
    Case(
        "fab",
        dict(norm="l1", eps=6.0, steps=5, targets=2),
        "l1",
        leaves=True,
        strong=dict(eps=80.0, steps=20),
    ),
    Case(
        "autoattack",
        dict(norm="linf", version="custom", eps=0.15, steps=3, targets=2, queries=4),
        "linf",
        random=True,
        leaves=True,
        strong=dict(eps=0.4, steps=10),
    ),
    Case(
        "autoattack",
        dict(norm="l1", version="custom", eps=6.0, steps=10, targets=1, queries=4),
        "l1",
        random=True,
        leaves=True,
        strong=dict(eps=40.0),
    ),
    Case("deepfool", dict(norm="l2", steps=2), leaves=True, strong=dict(steps=50)),
    Case("deepfool", dict(norm="linf", steps=1, classes=2), leaves=True, strong=dict(steps=50)),
    Case("deepfool", dict(norm="l1", steps=2), leaves=True, strong=dict(steps=50)),
    Case("fmn", dict(norm="l2", steps=2, step_size=0.8), leaves=True, strong=dict(steps=50)),
    Case("fmn", dict(norm="linf", steps=2), leaves=True, strong=dict(steps=50)),
    Case("fmn", dict(norm="l1", steps=4), leaves=True, strong=dict(steps=50)),
    Case("cw", dict(steps=5, search_steps=2), leaves=True, strong=dict(steps=40)),
    Case(
        "cw",
        dict(steps=4, search_steps=1, lr=0.6, c=50.0),
        leaves=True,
        strong=dict(steps=40, c=None),
    ),
    Case("lbfgs", dict(steps=2, search_steps=2), leaves=True, strong=dict(steps=40)),
    Case("wavelet-sparse", dict(steps=4, prune=3, lr=1.0), leaves=True, strong=dict(steps=60)),
    Case(
        "wavelet-sparse",
        dict(steps=4, prune=0, wavelet="db2", levels=1, lr=2.0),
        leaves=True,
        strong=dict(steps=60),
    ),
    Case("fooling", dict(steps=4), random=True, leaves=True, strong=dict(steps=100)),
    Case(
        "fooling",
        dict(method="evolution", steps=4, population=3, mutation=0.2),
        random=True,
        leaves=True,
        strong=dict(steps=60, population=16, confidence=0.5),
    ),
    Case("feature", dict(eps=0.1, steps=4), "linf", strong=dict(eps=1.0, steps=60)),
    Case(
        "feature",
        dict(solver="lbfgsb", eps=0.1, steps=4),
        "linf",
        leaves=True,
        strong=dict(eps=1.0, steps=60),
    ),
    Case("feature-fgsm", dict(eps=0.1), "linf", strong=dict(eps=0.6)),
    Case("feature-linear", dict(eps=0.1, steps=4), "linf", strong=dict(eps=1.0, steps=60)),
    Case("label-fgsm", dict(eps=0.1), "linf", strong=dict(eps=0.6)),
    Case(
        "label-lbfgs",
        dict(eps=0.1, steps=4),
        "linf",
        leaves=True,
        strong=dict(eps=1.0, steps=30),
    ),
    Case("generator", dict(steps=3), random=True, strong=dict(steps=40, lam=0.1)),
    Case(
        "generator",
        dict(optimizer="adam", steps=4, lr=0.02),
        random=True,
        strong=dict(steps=40, lam=0.1),
    ),
    Case(
        "generator",
        dict(space="paper", steps=4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)),
        random=True,
        strong=dict(steps=40, lam=0.1),
    ),
    Case(
        "flicker",
        dict(eps=0.1, steps=6, lr=0.02),
        "linf",
        leaves=True,
        video=True,
        strong=dict(eps=1.0, steps=60, lr=0.05),
    ),
    Case(
        "flicker",
        dict(space="prob", early_stop=True, lam=0.5, eps=0.1, steps=6, lr=0.02),
        "linf",
        leaves=True,
        video=True,
        strong=dict(eps=1.0, steps=60, lr=0.05, space="logit"),
    ),
    Case(
        "keyframe",
        dict(frames="all", steps=3, lr=0.02, early_stop=True),
        "linf",
        leaves=True,
        video=True,
        strong=dict(steps=60, lr=0.1),
    ),
    Case("keyframe", dict(steps=5), video=True, strong=dict(steps=60, b=1.0, lr=0.04)),
    Case(
        "keyframe",
        dict(frames="fixed", fixed="uniform", lam=1.0, steps=5),
        video=True,
        strong=dict(steps=60, count=4, lam=0.001, lr=0.1),
    ),
    Case(
        "keyframe-square",
        dict(eps=0.2, queries=12),
        "linf",
        random=True,
        leaves=True,
        video=True,
        strong=dict(eps=1.0, queries=80, b=1.0),
    ),
]


# One fit of each kind, cheap; `fitted_case` goes through them.
FITTED_CASES = {
    "universal": UniversalPerturbation(eps=0.2, passes=2, target_rate=1.0),
    "universal-deepfool": UniversalPerturbation(
        norm="l2", eps=2.0, solver="deepfool", passes=1, target_rate=1.0
    ),
    "sup": SparseUniversalPerturbation(passes=2, lr=0.03),
    "atn": ATN(passes=2, width=4, lr=0.01),
    "substitute": BlackBoxSubstitute(rounds=2, samples=6, budget=20, epochs=1, width=4),
    "flicker-universal": FlickerUniversal(passes=2, lr=0.02),
}


# Rows that take long, of attacks that have another.
LONG = (
    "square-l1", "square-l2", "autoattack-l1-custom", "generator-adam", "generator-paper",
    "feature-lbfgsb",
)  # fmt: skip


def rows(cases):
    """The rows as parameters, the long ones for the slow suite."""
    cases = list(cases)
    assert set(LONG) <= {str(case) for case in CASES}
    return slow_but([case for case in cases if str(case) not in LONG], cases)


@pytest.fixture(params=FITTED_CASES, ids=str)
def fitted_case(request):
    return FITTED_CASES[request.param]


@pytest.fixture(params=rows(CASES), ids=str)
def case(request):
    return request.param


@pytest.fixture(params={c.name: c for c in reversed(CASES)}.values(), ids=lambda c: c.name)
def any_case(request):
    """One row of each attack, for what is slow or does not hang on its options."""
    return request.param


@pytest.fixture(params=rows(c for c in CASES if c.norm), ids=str)
def ball_case(request):
    return request.param


@pytest.fixture(params=rows(c for c in CASES if c.random), ids=str)
def random_case(request):
    return request.param


@pytest.fixture(params=[c for c in CASES if c.video], ids=str)
def video_case(request):
    return request.param


@pytest.fixture(scope="session")
def cases():
    return CASES


@pytest.fixture
def sample_dims(request):
    """Return 3 where the test's row of the table takes videos alone, else 2."""
    if "fitted_case" in request.fixturenames:
        return 3 if isinstance(request.getfixturevalue("fitted_case"), FlickerUniversal) else 2
    rows = {"case", "any_case", "ball_case", "random_case", "video_case"}
    names = rows.intersection(request.fixturenames)
    return 3 if any(request.getfixturevalue(name).video for name in names) else 2


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Net(nn.Module):
    """A classifier with all that an attack might disturb.

    It normalises, drops out, keeps batch statistics and counts its forward passes in a buffer.
    """

    def __init__(self, classes, dims, channels, side):
        super().__init__()
        conv, norm, drop = {
            2: (nn.Conv2d, nn.BatchNorm2d, nn.Dropout2d),
            3: (nn.Conv3d, nn.BatchNorm3d, nn.Dropout3d),
        }[dims]
        self.features = nn.Sequential(
            conv(channels, 6, 3, padding=1), norm(6), nn.Tanh(), drop(0.4)
        )
        self.head = nn.Linear(6 * side**dims, classes)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last", None)
        self.shift, self.fail_at = 0.0, None

    def forward(self, x):
        self.passes += 1
        self.last = x.detach().mean()
        if self.fail_at == int(self.passes):
            raise RuntimeError("out of order")
        return self.head(self.features(x).flatten(1)) + self.shift


def make_net(classes=4, *, dims=2, channels=3, side=6, seed=0, dtype=torch.float32):
    """Return a Net in training mode with random weights and statistics."""
    net = Net(classes, dims, channels, side)
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        net.features[1].running_mean.uniform_(-0.2, 0.2, generator=generator)
        net.features[1].running_var.uniform_(0.2, 0.5, generator=generator)
    return net.to(dtype).train()


@pytest.fixture
def net(sample_dims):
    return partial(make_net, dims=sample_dims)


def make_batch(batch=6, classes=4, *, dims=2, channels=3, side=6, seed=1, dtype=torch.float32):
    """Return samples in [0, 1] and labels."""
    shape = (batch, channels, *[side] * dims)
    x = torch.rand(shape, generator=seeded(seed)).to(dtype)
    return x, torch.randint(classes, (batch,), generator=seeded(seed + 1))


@pytest.fixture
def batch(sample_dims):
    return partial(make_batch, dims=sample_dims)


def make_linear(classes=2, *, dims=2, channels=3, side=6, gain=1.0, seed=2, dtype=torch.float32):
    """Return a linear classifier that is undecided about the grey sample."""
    layer = nn.Linear(channels * side**dims, classes)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=seeded(seed)) * gain)
        layer.bias.copy_(-0.5 * layer.weight.sum(1))
    return nn.Sequential(nn.Flatten(), layer).to(dtype)


@pytest.fixture
def linear(sample_dims):
    return partial(make_linear, dims=sample_dims)


class NaNBelow(nn.Module):
    """Give NaN for every sample whose brightest value falls below a level."""

    def __init__(self, model, level=0.5):
        super().__init__()
        self.model, self.level = model, level

    def forward(self, x):
        broken = ~(x.flatten(1).amax(1) >= self.level)  # (B,)
        return self.model(x).masked_fill(broken[:, None], torch.nan)


@pytest.fixture(scope="session")
def nan_below():
    return NaNBelow


def agree(ours, theirs):
    """Whether two results agree bit for bit."""
    pairs = [(getattr(ours, n), getattr(theirs, n)) for n in ("x_adv", "success", "loss")]
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="session")
def same():
    return agree
