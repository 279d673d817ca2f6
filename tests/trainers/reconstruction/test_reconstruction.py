"""Training of R: its loss, its gate, its resuming, its file."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attacks import RefusedInput
from augment import load_dataset
from compress import BlendWeight, Codec, NetworkConfig, RestorationNet
from tests.slow_but import slow_but
from tests.trainers.watched_progress import moves, watched_progress
from trainers import (
    FitState,
    ReconstructionOptions,
    coded_steps,
    fit_network,
    load_network,
    network_bytes,
    save_network,
)
from trainers.evaluate.quality import psnr
from trainers.reconstruction.files import fit_or_load_network
from trainers.reconstruction.gate import SHARES, knots, measure_gate
from trainers.reconstruction.samples import number_groups, split_groups
from trainers.reconstruction.terms import Terms, flicker
from trainers.run.folder.folder import open_folder
from trainers.run.main import parse_command

SMALL = {"width": 4, "depth": 1, "epochs": 3, "batch_size": 16}
STEPS = (0.3, 0.8)


def samples(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def digits():
    """Return images of digits to train on, others, and a codec for them."""
    x = load_dataset("digits", "train").stack(range(600))[0]
    return x[:400], x[400:], Codec.fit(x[:200])


def classifier(channels=1, seed=3):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 5),
    )  # fmt: skip


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_flicker_is_what_a_loop_counts():
    a, x = samples(2, 3, 5, 2, 4), samples(2, 3, 5, 2, 4, seed=1)
    for form in ("matched", "raw"):
        for i in range(2):
            total = count = 0
            for c in range(3):
                for t in range(4):
                    for h in range(2):
                        for w in range(4):
                            mine = a[i, c, t + 1, h, w] - a[i, c, t, h, w]
                            own = x[i, c, t + 1, h, w] - x[i, c, t, h, w]
                            total += abs(mine - own) if form == "matched" else abs(mine)
                            count += 1
            assert flicker(a, x, form=form)[i].item() == pytest.approx(float(total / count))
    assert torch.equal(flicker(x, x), torch.zeros(2))
    assert torch.equal(flicker(x[:, :, :1], a[:, :, :1]), torch.zeros(2))


def test_the_loss_is_its_terms_written_out():
    x, plain = samples(4, 2, 3, 4, 4), samples(2, 4, 2, 3, 4, 4, seed=1)
    restored, rate = samples(4, 2, 3, 4, 4, seed=2), torch.tensor([0, 1, 1, 0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(96, 3))
    for normalise in (True, False):
        options = ReconstructionOptions(normalise=normalise, temporal=0.5, task=2.0)
        found = Terms.measured(options, plain, x, model)(restored, x, rate)
        units = [((p - x) ** 2).mean().item() for p in plain]
        units = units if normalise else [sum(units) / 2] * 2
        for i in range(4):
            r = int(rate[i])
            error = ((restored[i] - x[i]) ** 2).mean().item() / units[r]
            change = (restored[i] - x[i]).diff(dim=1).abs().mean().item()
            change /= (plain[r] - x).diff(dim=2).abs().mean().item()
            p, q = model(x[i : i + 1]).softmax(1), model(restored[i : i + 1]).softmax(1)
            kl = (p * (p / q).log()).sum().item()
            for name, wanted in (("error", error), ("temporal", change), ("task", kl)):
                assert found[name][i].item() == pytest.approx(wanted, rel=1e-4, abs=1e-6)
            assert found["loss"][i].item() == pytest.approx(error + 0.5 * change + 2 * kl, rel=1e-4)


def test_what_is_plain_counts_one_at_every_rate():
    x = samples(5, 1, 4, 4, 4)
    plain = torch.stack([x + 0.01 * samples(*x.shape, seed=1), samples(*x.shape, seed=2)])
    terms = Terms.measured(ReconstructionOptions(temporal=1.0), plain, x, None)
    for rate in range(2):
        found = terms(plain[rate], x, torch.full((5,), rate))
        assert found["error"].mean().item() == pytest.approx(1, rel=1e-5)
        assert found["temporal"].mean().item() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    "options",
    slow_but(
        [{"ema": 0.9}],
        [{"ema": 0.9}, {"task": 0.5}, {"form": "paper"}, {"bf16": True}, {"memorise": True}],
    ),
    ids=str,
)
def test_resuming_after_any_epoch_gives_the_same_bits(digits, options):
    x, _, codec = digits
    options = ReconstructionOptions(**SMALL, **options)
    given = {"steps": STEPS, "seed": 5, "classifier": classifier() if options.task else None}
    states: list[FitState] = []
    whole = fit_network(codec, x[:24], options, **given, on_epoch=states.append)
    assert [state.epoch for state in states] == [1, 2, 3]
    for state in states:
        torch.manual_seed(state.epoch)
        again = fit_network(codec, x[:24], options, **given, state=state)
        assert same(again.network.state_dict(), whole.network.state_dict())
        assert again.network.digest == whole.network.digest
        assert again.gate == whole.gate
        for key in ("epoch", "loss", "error", "lr"):
            assert [r[key] for r in again.history] == [r[key] for r in whole.history]


def test_the_seed_decides_and_nothing_else(digits):
    x, _, codec = digits
    options = ReconstructionOptions(**SMALL)
    made = []
    for seed, noise in ((1, 7), (1, 8), (2, 9)):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        made.append(fit_network(codec, x[:40], options, steps=STEPS, seed=seed).network.digest)
        assert torch.equal(torch.get_rng_state(), before)
    assert made[0] == made[1] != made[2]


def test_the_classifier_is_left_as_it_was(digits):
    x, _, codec = digits
    model = classifier().train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    options = ReconstructionOptions(**SMALL, task=1.0)
    fit_network(codec, x[:20], options, steps=STEPS, classifier=model)
    assert same(before, model.state_dict())
    assert all(module.training for module in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_on_unseen_samples_the_gate_never_costs_and_r_helps(digits):
    x, unseen, codec = digits
    options = ReconstructionOptions(width=8, depth=1, epochs=6)
    fit = fit_network(codec, x, options, steps=STEPS)
    assert [record["step"] for record in fit.gate] == list(knots(STEPS))
    for step in (0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 0.95, 0.1, 2.0):
        decoded = codec.decode(codec.encode(unseen, step=step))
        gain = psnr(fit.network.restore(decoded, step), unseen) - psnr(decoded, unseen)
        assert gain.mean() >= -0.05
        if step in STEPS:
            assert gain.mean() > 0.3


def test_a_harmful_network_is_shut_out_and_a_perfect_one_let_in():
    x = samples(20, 1, 8, 8)
    base = (x + 0.1 * (samples(20, 1, 8, 8, seed=1) - 0.5)).clamp(0, 1)

    class Oracle(RestorationNet):
        answer = None

        def forward(self, decoded, step):
            return self.answer

    options = ReconstructionOptions(batch_size=20)
    terms = Terms.measured(options, base[None], x, None)
    oracle = Oracle(NetworkConfig(channels=1, width=4))
    for answer, share in ((x, 1.0), (1 - x, 0.0), (2 * x - base, 0.5), (base, 0.0)):
        oracle.answer = answer
        gate, records = measure_gate(
            oracle, [base], x, steps=(0.5,), terms=terms, groups=torch.arange(20), certain=False
        )  # fmt: skip
        assert (gate.steps, gate.shares) == ((0.5,), (share,))
        (record,) = records
        assert record["plain_psnr"] == pytest.approx(psnr(base, x).mean().item())
        blend = base + share * (answer.clamp(0, 1) - base)
        assert record["psnr"] == pytest.approx(psnr(blend, x).mean().item(), rel=1e-5)


def test_a_gain_that_may_be_chance_does_not_open_the_gate():
    """One sample gains 12 dB, seven lose 1 each: 0.6 on average, and nothing that is sure."""
    x = torch.full((8, 1, 4, 4), 0.5)
    base, answer = x + 0.1, x + 0.1 * 10 ** (1 / 20)
    answer[0] = x[0] + 0.1 * 10 ** (-12 / 20)

    class Oracle(RestorationNet):
        def forward(self, decoded, step):
            return answer

    terms = Terms.measured(ReconstructionOptions(), base[None], x, None)
    oracle = Oracle(NetworkConfig(channels=1, width=4))
    doubtful = {"steps": (0.5,), "terms": terms, "groups": torch.arange(8)}
    gate, records = measure_gate(oracle, [base], x, **doubtful, certain=False)
    assert gate.shares[0] < 0.3
    gate, _ = measure_gate(oracle, [base], x, **doubtful, certain=True)
    assert gate.shares[0] in SHARES
    assert records[0]["psnr"] >= records[0]["plain_psnr"] - 0.05


def test_what_clips_of_one_video_share_counts_once():
    """Of five videos two gain 3 dB and three lose 0.5: ten clips each make that no surer."""
    x = torch.full((50, 1, 4, 4), 0.5)
    loss = torch.tensor([-3.0, -3.0, 0.5, 0.5, 0.5])[torch.arange(50) // 10]  # dB, (N,)
    answer = x + 0.1 * 10 ** (loss / 20).view(-1, 1, 1, 1)

    class Oracle(RestorationNet):
        def forward(self, decoded, step):
            return answer

    base = x + 0.1
    terms = Terms.measured(ReconstructionOptions(batch_size=50), base[None], x, None)
    given = {"steps": (0.5,), "terms": terms, "certain": False}
    oracle = Oracle(NetworkConfig(channels=1, width=4))
    shares = [
        measure_gate(oracle, [base], x, **given, groups=groups)[0].shares[0]
        for groups in (torch.arange(50), torch.arange(50) // 10)
    ]
    gain = -loss[::10]
    sure = gain.mean() - 2 * gain.std() / math.sqrt(5)
    assert sure < -0.03 < gain.mean() - 2 * gain.repeat(10).std() / math.sqrt(50)
    assert shares[0] == 1
    assert shares[1] < 0.3


def test_a_group_is_held_out_as_a_whole():
    options = ReconstructionOptions(held_out=0.25)
    names = [f"video {i % 12}" for i in range(40)]
    kept, out = split_groups(number_groups(names, 40), options, 3)
    assert sorted([*kept.tolist(), *out.tolist()]) == list(range(40))
    shared = {names[i] for i in kept} & {names[i] for i in out}
    assert not shared
    assert len({names[i] for i in out}) == 3
    others = split_groups(number_groups(names, 40), options, 4)[1]
    assert out.tolist() != others.tolist()
    assert (
        number_groups(torch.tensor([5, 2, 5]), 3).tolist()
        == number_groups("aba", 3).tolist()
        == [0, 1, 0]
    )
    assert split_groups(number_groups(None, 40), options, 3)[1].shape == (10,)


def test_groups_decide_what_r_is_trained_on(digits):
    x, _, codec = digits
    options = ReconstructionOptions(**SMALL)
    made = [
        fit_network(codec, x[:24], options, steps=STEPS, groups=groups).network.digest
        for groups in (None, list(range(24)), [i // 4 for i in range(24)])
    ]
    assert made[0] == made[1] != made[2]


@pytest.mark.slow
def test_the_task_term_keeps_what_a_classifier_sees(digits):
    x, _, codec = digits
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8, bias=False)).requires_grad_(False)
    model[1].weight.mul_(8)
    step = 1.5

    def divergence(options):
        given = model if options.task else None
        network = fit_network(codec, x, options, steps=[step], classifier=given).network
        got = network.restore(codec.decode(codec.encode(x, step=step)), step)
        p, q = F.log_softmax(model(x), 1), F.log_softmax(model(got), 1)
        return F.kl_div(q, p, log_target=True, reduction="batchmean").item()

    base = {"width": 8, "depth": 1, "epochs": 6, "memorise": True}
    plain, task = (divergence(ReconstructionOptions(**base, task=t)) for t in (0.0, 1.0))
    assert task < 0.9 * plain


@pytest.mark.slow
def test_the_temporal_term_calms_frame_changes():
    still = samples(8, 1, 1, 8, 8).expand(8, 1, 4, 8, 8)
    x = (still + 0.2 * (samples(8, 1, 4, 8, 8, seed=1) - 0.5)).clamp(0, 1)
    codec, step = Codec.fit(x, time_levels=0), 1.0  # frames are coded apart, and so they flicker
    decoded = codec.decode(codec.encode(x, step=step))

    def restored(**more):
        options = ReconstructionOptions(
            width=4, depth=1, epochs=25, batch_size=4, memorise=True, **more
        )
        network = fit_network(codec, x, options, steps=[step]).network
        network.blend_weight = BlendWeight((step,), (1.0,))
        return network.restore(decoded, step)

    without = restored()
    for form in ("matched", "raw"):
        calm = restored(temporal=4.0, temporal_form=form)
        assert flicker(calm, x, form=form).mean() < 0.95 * flicker(without, x, form=form).mean()


@pytest.mark.slow
def test_a_handful_of_samples_is_memorised(digits):
    x, _, codec = digits
    options = ReconstructionOptions(
        width=16, depth=1, epochs=300, batch_size=4, memorise=True, lr=4e-3
    )
    fit = fit_network(codec, x[:4], options, steps=[1.5])
    (record,) = fit.gate
    assert record["psnr"] > record["plain_psnr"] + 6
    got = fit.network.restore(codec.decode(codec.encode(x[:4], step=1.5)), 1.5)
    assert psnr(got, x[:4]).mean().item() == pytest.approx(record["psnr"], abs=0.01)


@pytest.mark.parametrize("kind", slow_but(["delta"], ["delta", "x-task"]))
def test_other_kinds_are_restored(digits, kind):
    x, _, _ = digits
    x_adv = (x + 0.1 * (x.roll(1, -1) - 0.5)).clamp(0, 1) if kind == "delta" else None
    given = {"kind": "delta", "x_adv": x_adv} if kind == "delta" else {}
    codec = Codec.fit(x, **given)
    model = None if kind == "delta" else classifier()
    options = ReconstructionOptions(width=4, depth=1, epochs=2)
    fit = fit_network(
        codec, x, options, steps=[0.1], kind=kind, x_adv=x_adv, classifier=model
    )  # fmt: skip
    assert fit.network.config.kind == kind
    file = codec.encode(
        x, step=0.1, kind=kind, x_adv=x_adv, model=model, network=fit.network
    )  # fmt: skip
    got = codec.decode(file, network=fit.network)
    plain = fit.network.base(codec.decode(file)).clamp(0, 1)
    assert psnr(got, x).mean() >= psnr(plain, x).mean() + (1 if kind == "delta" else -0.05)


def test_steps_have_the_bytes_that_were_asked_for(digits):
    x, _, codec = digits
    steps = coded_steps(codec, x, (8, 16))
    assert list(steps) == sorted(steps)
    for step, size in zip(steps, (16, 8), strict=True):
        assert len(codec.encode(x, step=step)) / len(x) == pytest.approx(size, rel=0.05)


def test_a_file_gives_the_same_network_back(tmp_path):
    network = RestorationNet(
        NetworkConfig(channels=3, width=4), BlendWeight((0.1, 0.3), (0.5, 1.0))
    )
    file = tmp_path / "deep" / "r.safetensors"
    save_network(file, network)
    again = load_network(file)
    assert again.digest == network.digest
    assert again.blend_weight == network.blend_weight
    assert network_bytes(network) == file.stat().st_size
    weights = sum(p.numel() for p in network.parameters())
    assert 2 * weights < network_bytes(network) < 2 * weights + 8192
    data = file.read_bytes()
    for place in range(0, len(data), 211):
        file.write_bytes(data[:place] + bytes([data[place] ^ 32]) + data[place + 1 :])
        with pytest.raises(RefusedInput):
            load_network(file)
    file.write_bytes(data[:-1])
    with pytest.raises(RefusedInput, match="train R again"):
        load_network(file)
    with pytest.raises(RefusedInput):
        load_network(tmp_path / "none")


def test_a_run_folder_is_resumed_and_measured(digits, tmp_path, monkeypatch):
    x, _, codec = digits
    options = ReconstructionOptions(**SMALL)
    given = {"steps": STEPS, "seed": 2}
    whole = fit_network(codec, x[:40], options, **given)

    folder = open_folder(tmp_path / "run", "rounds", parse_command([]).config, resume="auto")
    add, killed = folder.metrics.add, []

    def add_or_kill(name, **more):
        if name.endswith("epoch-002") and not killed:
            killed.append(name)
            raise KeyboardInterrupt
        add(name, **more)

    def measured():
        return list(folder.metrics.lines)

    monkeypatch.setattr(folder.metrics, "add", add_or_kill)
    fit = partial(fit_network, codec, x[:40], options, **given)
    with pytest.raises(KeyboardInterrupt):
        fit_or_load_network(folder, options.epochs, fit)
    kept = sorted(path.name for path in folder.checkpoints.iterdir())
    assert kept == ["reconstruction-running.safetensors"]
    kept_epochs = []

    def resumed(state, on_epoch, progress):
        kept_epochs.append(state.epoch)
        return fit(state=state, on_epoch=on_epoch, progress=progress)

    with watched_progress() as told:
        network = fit_or_load_network(folder, options.epochs, resumed)
    assert moves(told["train R"])
    assert network.digest == whole.network.digest
    assert kept_epochs == [1]  # it went on after it
    assert measured().count("reconstruction/epoch-001") == 1
    assert [path.name for path in folder.checkpoints.iterdir()] == ["reconstruction.safetensors"]
    for tag in ("reconstruction/loss", "reconstruction/gate/share"):
        assert sum(tag in line["values"] for line in folder.metrics.lines.values()) == 3
    names = measured()
    assert fit_or_load_network(folder, options.epochs, fit).digest == network.digest
    assert measured() == names
    folder.claim.lock.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": math.nan},
        {"warmup": 1.0},
        {"ema": -0.1},
        {"task": -1.0},
        {"temporal": math.inf},
        {"temporal_form": "none"},
        {"held_out": 0.0},
        {"held_out": 1.0},
    ],
    ids=str,
)
def test_impossible_options_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        ReconstructionOptions(**wrong)


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({}, {"steps": []}, "steps is empty"),
        ({"temporal": 1.0}, {}, "no frames"),
        ({"task": 1.0}, {}, "give a classifier"),
        ({}, {"kind": "x-task"}, "give a classifier"),
        ({}, {"classifier": nn.Identity()}, "set task"),
        ({}, {"x": torch.zeros(3, 1, 4, 4)}, "there are 3 samples"),
        ({}, {"groups": [1, 2, 3] * 6 + [3, 3]}, "there are 3 groups"),
        ({}, {"groups": [1, 2]}, "2 groups and 20 samples"),
        ({}, {"x": torch.zeros(8, 4, 4)}, "give .N, C, H, W"),
        ({}, {"kind": "delta"}, "x_adv"),
        ({"form": "deep"}, {}, "form is 'deep'"),
        ({"width": 0}, {}, "width is 0"),
        ({"lr": 1e30}, {}, "lower the learning rate"),
    ],
    ids=str,
)
def test_contradictions_are_refused(digits, options, given, message):
    x, _, codec = digits
    given = {"x": x[:20], "steps": STEPS} | given
    with pytest.raises((ValueError, RuntimeError), match=message):
        fit_network(codec, given.pop("x"), ReconstructionOptions(**options), **given)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_the_gpu_helps_alike(digits):
    x, unseen, codec = digits
    options = ReconstructionOptions(width=8, depth=1, epochs=6, bf16=True, task=0.1)
    model = classifier().to("cuda")
    fit = fit_network(codec, x, options, steps=STEPS, classifier=model, device="cuda")
    decoded = codec.decode(codec.encode(unseen, step=0.8))
    got = fit.network.restore(decoded, 0.8)
    assert not got.is_cuda
    assert psnr(got, unseen).mean() > psnr(decoded, unseen).mean() + 0.3
