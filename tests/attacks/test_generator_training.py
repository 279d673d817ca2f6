"""The batched training against one-sample loops written with torch's own layers and optimiser."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import fractional_matrix_power
from torch import nn

from attacks import LearnedGenerator, perturb

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
STEPS = 12


class Clamp(torch.autograd.Function):
    """Clamp to [0, 1] whose gradient is that of the identity."""

    @staticmethod
    def forward(ctx, x):
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Reference:
    """The published procedure for one sample x (1, C, ...), line by line."""

    def __init__(self, model, x, y, target, *, paper, top_k, lam, whiten, lr):
        self.model, self.x, self.y, self.target = model, x, y, target
        self.paper, self.lam, self.lr, self.whiten = paper, lam, lr, whiten
        tail = [1] * (x.ndim - 2)
        self.mean, self.std = (
            torch.tensor(v, dtype=x.dtype).reshape(1, 3, *tail) for v in (MEAN, STD)
        )
        self.seen = (x - self.mean) / self.std if paper else x
        self.top = model(x).softmax(1)[0].topk(top_k).indices
        convolution = nn.Conv2d if x.ndim == 4 else nn.Conv3d
        self.layers = [convolution(3, 3, 3, padding=1).to(x) for _ in range(9)]
        for layer in self.layers:
            nn.init.dirac_(layer.weight)
            nn.init.zeros_(layer.bias)

    def sample(self, hidden):
        """Bring P's output back to pixels."""
        if self.paper:
            low, high = self.seen.min(), self.seen.max()
            hidden = (hidden - hidden.min()) / (hidden.max() - hidden.min()) * (high - low) + low
            hidden = hidden * self.std + self.mean
        return Clamp.apply(hidden)

    def losses(self, x_adv):
        """The value of eq. (1) or (2), what is minimised, and whether the goal is met."""
        scores = self.model(x_adv).softmax(1)[0]
        away = self.lam * ((x_adv - self.x) / self.std).abs().mean()
        if self.target is None:
            miss, met = scores[self.top].sum(), scores.argmax() != self.y
            log = -torch.log(1 - miss)
        else:
            miss, met = 1 - scores[self.target], scores.argmax() == self.target
            log = -torch.log(scores[self.target])
        return miss + away, (miss if self.paper else log) + away, bool(met)

    def forward(self, change=None):
        hidden = self.seen
        for i, layer in enumerate(self.layers):
            weight, bias = layer.weight, layer.bias
            if change is not None:
                row = change[i] @ self.basis
                weight = weight.detach() + row[:, :-1].reshape(weight.shape)
                bias = bias.detach() + row[:, -1]
            convolve = F.conv2d if hidden.ndim == 4 else F.conv3d
            hidden = convolve(hidden, weight, bias, padding=1)
            if i % 3 == 2:
                hidden = hidden.relu()
        return self.sample(hidden)

    def whitening(self):
        """The inverse root of the patch moments, by scipy."""
        patches = F.unfold(self.seen, 3, padding=1)[0]
        patches = torch.cat([patches, torch.ones_like(patches[:1])]).numpy()
        moments = patches @ patches.T / patches.shape[1]
        ridge = 1e-3 * moments.trace() / len(moments) * torch.eye(len(moments)).numpy()
        root = torch.from_numpy(fractional_matrix_power(moments + ridge, -0.5).real).to(self.x)
        return root / root.diagonal().square().mean().sqrt()

    def run(self, steps):
        """Return the values (steps,) and the best sample."""
        if self.whiten:
            self.basis = self.whitening()
            change = torch.zeros(9, 3, 28).to(self.x).requires_grad_()
            optimizer = torch.optim.Adam([change], lr=self.lr, betas=(0.9, 0.99))
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda k: (1 + math.cos(math.pi * k / steps)) / 2
            )
        else:
            change = None
            parameters = [p for layer in self.layers for p in layer.parameters()]
            optimizer = torch.optim.Adam(parameters, lr=self.lr)
        seen = []
        for step in range(steps + 1):
            x_adv = self.forward(change)
            value, objective, met = self.losses(x_adv)
            seen.append((not met, value.item(), step, x_adv.detach()))
            if step < steps:
                optimizer.zero_grad()
                objective.backward()
                optimizer.step()
            if self.whiten and step < steps:
                schedule.step()
        return [s[1] for s in seen[:-1]], min(seen)[3]


SETTINGS = {
    "adam": dict(optimizer="adam", lr=0.01),
    "adam-paper": dict(optimizer="adam", lr=0.01, space="paper"),
    "whitened": dict(optimizer="whitened", lr=0.02),
    "whitened-paper": dict(optimizer="whitened", lr=0.02, space="paper"),
}


@pytest.fixture(params=SETTINGS)
def options(request):
    return dict(SETTINGS[request.param], mean=MEAN, std=STD, steps=STEPS, top_k=2, lam=0.7)


@pytest.mark.parametrize("targeted", [False, True])
def test_trajectory_is_that_of_torch_layers_and_adam(options, net, batch, targeted):
    x, y = batch(3, classes=5, dtype=torch.float64)
    model = net(5, dtype=torch.float64).eval().requires_grad_(False)
    target = (y + 1) % 5 if targeted else None
    result = LearnedGenerator(**options)(model, x, y, target=target)
    for i in range(len(x)):
        values, x_adv = Reference(
            model, x[i : i + 1], y[i], None if target is None else target[i],
            paper=options.get("space") == "paper", top_k=2, lam=0.7, lr=options["lr"],
            whiten=options["optimizer"] == "whitened",
        ).run(STEPS)  # fmt: skip
        expected = torch.tensor(values, dtype=torch.float64)
        torch.testing.assert_close(result.history[:, i], expected, atol=1e-9, rtol=0)
        torch.testing.assert_close(result.x_adv[i], x_adv[0], atol=1e-8, rtol=0)
    assert (result.history[0] - result.history[-1]).abs().min() > 1e-3  # it did move


def test_video_trajectory_is_that_of_torch_layers_and_adam(net, batch):
    x, y = batch(2, dims=3, side=4, dtype=torch.float64)
    model = net(dims=3, side=4, dtype=torch.float64).eval().requires_grad_(False)
    attack = LearnedGenerator(optimizer="adam", lr=0.01, steps=8, top_k=1, mean=MEAN, std=STD)
    result = attack(model, x, y)
    for i in range(2):
        values, _ = Reference(
            model, x[i : i + 1], y[i], None, paper=False, top_k=1, lam=1, lr=0.01, whiten=False
        ).run(8)
        expected = torch.tensor(values, dtype=torch.float64)
        torch.testing.assert_close(result.history[:, i], expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_batched_equals_one_at_a_time(options, net, batch, dims):
    side = 6 if dims == 2 else 4
    x, y = batch(4, dims=dims, side=side, dtype=torch.float64)
    model = net(dims=dims, side=side, dtype=torch.float64)
    attack = LearnedGenerator(**{**options, "steps": 30})
    together = attack(model, x, y)
    for i in range(4):
        alone = attack(model, x[i : i + 1], y[i : i + 1])
        torch.testing.assert_close(together.history[:, i], alone.history[:, 0], atol=1e-8, rtol=0)
        torch.testing.assert_close(together.x_adv[i], alone.x_adv[0], atol=1e-8, rtol=0)


def test_leaving_early_does_not_change_those_that_go_on(options, net, batch):
    x, _ = batch(6, dtype=torch.float64)
    model, y = net(dtype=torch.float64), torch.full((6,), 3)
    model.head.bias.data[3] = -30  # never y: fooled at each step, so the lowest value is the best
    full = LearnedGenerator(**options)(model, x, y)
    reached = full.history.cummin(0).values  # (steps, B)
    stop = float(reached[-2].sort().values[2:4].mean())  # half of them get there
    early = LearnedGenerator(**options, stop_below=stop)(model, x, y)
    left = (full.history < stop).any(0)
    assert 0 < left.sum() < 6
    stayed = ~left
    for name in ("x_adv", "loss", "success", "queries"):
        ours, theirs = getattr(early, name)[stayed], getattr(full, name)[stayed]
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)
    torch.testing.assert_close(
        early.history[:, stayed], full.history[:, stayed], atol=1e-10, rtol=0
    )
    for i in left.nonzero().flatten().tolist():
        last = int((full.history[:, i] < stop).nonzero()[0])
        expected = full.history[: last + 1, i]
        torch.testing.assert_close(early.history[: last + 1, i], expected, atol=1e-10, rtol=0)
        assert (early.history[last:, i] == early.history[last, i]).all()
        assert early.queries[i] == last + 1 + 2
        assert early.queries[i] < full.queries[i]


def test_the_best_iterate_meets_the_goal_and_is_lowest_among_those(net, batch):
    """A rate so high that the last iterate is a bad one."""
    x, y = batch(6, dtype=torch.float64)
    model = net(dtype=torch.float64).eval()
    y = model(x).argmax(1)
    result = LearnedGenerator(optimizer="adam", lr=0.3, steps=25)(model, x, y)
    assert result.success.any()
    lowest = result.history.amin(0)
    assert (result.loss >= lowest - 1e-9).all()
    assert (result.loss < result.history[-1] - 1e-3).any()
    fooled = result.history[:, result.success]
    assert ((fooled - result.loss[result.success]).abs().amin(0) < 1e-9).sum() >= 1


def test_samples_stay_in_range_where_the_output_of_p_is_huge(net, batch):
    x, y = batch()
    result = LearnedGenerator(optimizer="adam", lr=30.0, steps=4, lam=0.0)(net(), x, y)
    weights, architecture = result.info["weights"], result.info["architecture"]
    output = perturb(weights, x, architecture=architecture)
    assert output.max() > 2**25  # above which float32 knows no odd numbers, and not 1 less
    assert torch.equal(result.x_adv, output.clamp(0, 1))
