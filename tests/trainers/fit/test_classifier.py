import copy

import pytest
import torch
from torch import nn

from attacks.common.randomness import derive_seed
from augment import Dataset, load_dataset
from trainers import FitOptions, FitState, clean_accuracy, fit_classifier, load_classifier
from trainers.fit.ema import Ema


def noisy(x, *, generator):
    return (x + 0.05 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def dataset(samples=70, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.rand(samples, 1, 8, 8, generator=g), torch.arange(samples) % classes
    x[torch.arange(samples), 0, 0, y] = 1.0
    names = [str(i) for i in range(samples)]
    return Dataset(x, y, names, name="toy", classes=list("abc")[:classes])


def network(dropout=0.3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(144, 3),
    )


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


OPTIONS = {
    "sgd": FitOptions(epochs=4, batch_size=16, optimizer="sgd", lr=0.05, ema=0.9),
    "adamw": FitOptions(epochs=4, batch_size=16, clip_norm=0.5, label_smoothing=0.1),
    "bf16": FitOptions(epochs=4, batch_size=23, bf16=True),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_resuming_after_any_epoch_gives_the_same_bits(name):
    options, train = OPTIONS[name], dataset()
    states: list[FitState] = []
    whole = network()
    result = fit_classifier(whole, train, options, seed=5, augment=noisy, on_epoch=states.append)
    assert [s.epoch for s in states] == [1, 2, 3, 4]
    for state in states:
        resumed = network(seed=1)  # what it starts from must not matter
        torch.manual_seed(state.epoch)
        again = fit_classifier(resumed, train, options, seed=5, augment=noisy, state=state)
        assert same(resumed.state_dict(), whole.state_dict())
        for key in ("epoch", "loss", "accuracy", "lr"):
            assert [r[key] for r in again.history] == [r[key] for r in result.history]


def test_the_seed_decides_and_nothing_else():
    train, options = dataset(), OPTIONS["sgd"]
    models = [network() for _ in range(3)]
    for model, seed, noise in zip(models, (1, 1, 2), (7, 8, 9), strict=True):
        torch.manual_seed(noise)
        fit_classifier(model, train, options, seed=seed)
    first, again, other = (m.state_dict() for m in models)
    assert same(first, again)
    assert not same(first, other)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = network()
    torch.set_rng_state(before)
    fit_classifier(model, dataset(), OPTIONS["sgd"], seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_state_is_a_copy_and_fits_safetensors():
    states: list[FitState] = []
    model = network().to(memory_format=torch.channels_last)
    fit_classifier(model, dataset(), OPTIONS["sgd"], seed=0, on_epoch=states.append)
    assert not torch.equal(states[0].tensors["model.0.weight"], states[1].tensors["model.0.weight"])
    assert all(t.is_contiguous() for t in states[0].tensors.values())
    assert {name.split(".")[0] for name in states[0].tensors} == {"model", "ema", "optimizer"}


def test_one_sgd_step_equals_torchs_written_out():
    train = dataset(16)
    options = FitOptions(epochs=1, batch_size=16, optimizer="sgd", lr=0.1, warmup=0.0)
    ours, theirs = network(dropout=0.0), network(dropout=0.0)
    fit_classifier(ours, train, options, seed=0)
    g = torch.Generator().manual_seed(derive_seed(0, "order", 0))
    x, y = train.stack(torch.randperm(16, generator=g))
    optimizer = torch.optim.SGD(
        theirs.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    nn.functional.cross_entropy(theirs(x), y).backward()
    optimizer.step()
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value)


def test_the_history_reports_loss_and_accuracy_of_the_batches():
    train = dataset(32)
    model = network(dropout=0.0)
    options = FitOptions(epochs=1, batch_size=32, optimizer="sgd", lr=1e-9, weight_decay=0.0)
    (record,) = fit_classifier(copy.deepcopy(model), train, options, seed=0).history
    x, y = train.stack(range(32))
    logits = model.train()(x)
    assert record["loss"] == pytest.approx(nn.functional.cross_entropy(logits, y).item(), rel=1e-4)
    assert record["accuracy"] == pytest.approx(float((logits.argmax(1) == y).float().mean()))


def test_the_rate_equals_torchs_warm_up_and_cosine():
    options = FitOptions(lr=0.3, warmup=0.1)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 10, 1.0, total_iters=9)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 90)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[10])
    theirs = []
    for _ in range(100):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert [options.rate(step, 100) for step in range(100)] == pytest.approx(theirs)


def test_the_average_follows_its_recurrence_and_ends_up_in_the_model():
    model = nn.Linear(1, 1, bias=False)
    average = Ema(model, 0.5)
    expected = model.weight.item()
    for step in range(12):
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert float(average.average["weight"]) == pytest.approx(expected)
    states: list[FitState] = []
    fitted = network()
    fit_classifier(fitted, dataset(), OPTIONS["sgd"], seed=0, on_epoch=states.append)
    final = {k[4:]: v for k, v in states[-1].tensors.items() if k.startswith("ema.")}
    assert same(final, fitted.state_dict())


def test_clipping_bounds_the_step():
    train, model = dataset(16), network()
    before = [p.detach().clone() for p in model.parameters()]
    options = FitOptions(
        epochs=1, batch_size=16, optimizer="sgd", lr=1.0, momentum=0.0, weight_decay=0.0,
        warmup=0.0, clip_norm=1e-3,
    )  # fmt: skip
    fit_classifier(model, train, options, seed=0)
    moved = sum(
        float((p - q).pow(2).sum()) for p, q in zip(model.parameters(), before, strict=True)
    )
    assert moved**0.5 == pytest.approx(1e-3, rel=1e-3)


def test_parameters_a_user_froze_stay():
    model = network()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    fit_classifier(model, dataset(), OPTIONS["adamw"], seed=0)
    assert torch.equal(model[0].weight, before)
    assert not model.training


def test_a_last_batch_of_one_is_left_out():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.BatchNorm1d(3))
    result = fit_classifier(model, dataset(33), FitOptions(epochs=1, batch_size=16), seed=0)
    assert result.history[0]["epoch"] == 0
    assert int(model[2].num_batches_tracked) == 2


def test_auxiliary_heads_do_not_stop_the_fit():
    class Output(tuple):
        logits = property(lambda self: self[0])

    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return Output((self.net(x), None)) if self.training else self.net(x)

    fit_classifier(Auxiliary(), dataset(), FitOptions(epochs=1), seed=0)


def test_a_diverging_fit_says_what_to_do():
    options = FitOptions(epochs=2, batch_size=16, optimizer="sgd", lr=1e30)
    model = network()
    with pytest.raises(RuntimeError, match="lower the learning rate"):
        fit_classifier(model, dataset(), options, seed=0)
    assert not model.training


def test_unlabelled_or_no_samples_are_refused():
    train = dataset()
    bare = Dataset(torch.zeros(2, 1, 8, 8), torch.tensor([-1, 0]), ["a", "b"], name="u", classes=[])
    with pytest.raises(ValueError, match="unlabelled"):
        fit_classifier(network(), bare, FitOptions(), seed=0)
    with pytest.raises(ValueError, match="no samples"):
        fit_classifier(network(), train.subset([]), FitOptions(), seed=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizer": "lion"},
        {"epochs": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"momentum": 1.0},
        {"warmup": -0.1},
        {"ema": 1.0},
        {"label_smoothing": 1.5},
        {"weight_decay": -1.0},
        {"clip_norm": 0.0},
    ],
)
def test_impossible_options_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        FitOptions(**wrong)


def test_the_default_learns_the_digits():
    torch.manual_seed(0)
    model = load_classifier("smallcnn", in_channels=1)
    fit_classifier(model, load_dataset("digits", "train"), FitOptions(epochs=6), seed=0)
    assert clean_accuracy(model, load_dataset("digits", "test")) >= 0.97


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fitting_on_the_gpu_learns_alike():
    model = network(dropout=0.0)
    options = FitOptions(epochs=20, batch_size=16, bf16=True, ema=0.9)
    result = fit_classifier(model, dataset(), options, seed=0, device="cuda")
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert clean_accuracy(model, dataset(), device="cuda") > 0.9
