"""Frame weights against finite differences, and windows against a loop."""

import itertools

import pytest
import torch
from torch import nn

from attacks import frame_weights
from attacks.video.frame_weights import receptive_fields

STEP = 1e-4


class Conv(nn.Module):
    """A convolution in time, with ReLUs that work in place before and after it."""

    def __init__(self, **options):
        super().__init__()
        self.first = nn.Conv3d(2, 3, (1, 3, 3), padding=(0, 1, 1))
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Conv3d(3, 4, (3, 2, 2), **options)
        self.third = nn.Conv3d(4, 4, (2, 1, 1))
        self.head = nn.LazyLinear(3)

    def forward(self, x):
        x = self.act(self.second(self.act(self.first(x))))
        return self.head(torch.tanh(self.third(x)).flatten(1))


class PerFrame(nn.Module):
    """A 2-D CNN on every frame and an LSTM over them."""

    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 4, 2), nn.ReLU(inplace=True)
        )
        self.lstm = nn.LSTM(4 * 9, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        frames = x.transpose(1, 2).flatten(0, 1)  # (B*T, C, H, W)
        seen = self.cnn(frames).unflatten(0, (len(x), -1)).flatten(2)  # (B, T, F)
        return self.head(self.lstm(seen)[0].mean(1))


def made(kind, **options):
    torch.manual_seed(0)
    model = kind(**options).double().eval()
    x = torch.rand(4, 2, 5, 6, 6, dtype=torch.float64)
    model(x)
    return model, x


def raised(model, module, x, y, change):
    """The logits of y when the output of a module is changed."""
    hook = module.register_forward_hook(lambda _, __, output: change(output.clone()))
    with torch.no_grad():
        logits = model(x).gather(1, y[:, None])[:, 0]
    hook.remove()
    return logits


def moments_by_differences(model, module, x, y, at):
    """d logit_y / d s for a shift s of all values of each moment, (B, T')."""
    size = []
    raised(model, module, x, y, lambda out: size.append(out) or out)
    columns = []
    for moment in range(len(at(size[0], None))):
        pair = []
        for step in (STEP, -STEP):

            def shifted(out, step=step, moment=moment):
                at(out, moment).add_(step)
                return out

            pair.append(raised(model, module, x, y, shifted))
        columns.append((pair[0] - pair[1]) / (2 * STEP))
    return torch.stack(columns, 1)


def over_time(out, moment):
    return out.transpose(0, 2) if moment is None else out[:, :, moment]


def per_frame(out, moment):
    return range(5) if moment is None else out.unflatten(0, (-1, 5))[:, moment]


def test_a_convolution_in_time_equals_finite_differences():
    model, x = made(Conv, padding=(1, 0, 0))
    y = torch.tensor([0, 1, 2, 1])
    each = moments_by_differences(model, model.second, x, y, over_time)
    assert each.shape == (4, 5)
    assert (each < 0).any()
    assert (each > 0).any()
    for weight, change in (
        ("abs", each.abs()),
        ("signed", each),
        ("relu", each.clamp_min(0)),
    ):
        expected = torch.zeros(4, 5, dtype=torch.float64)
        for frame in range(5):  # windows of three, stride 1: the neighbours
            near = [t for t in range(5) if abs(t - frame) <= 1]
            expected[:, frame] = change[:, near].sum(1) / 3  # at the ends, too
        got = frame_weights(model, x, y, weight=weight)
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_the_feature_map_of_each_frame_equals_finite_differences():
    model, x = made(PerFrame)
    y = torch.tensor([2, 0, 1, 1])
    each = moments_by_differences(model, model.cnn[2], x, y, per_frame)
    got = frame_weights(model, x, y, weight="abs")
    torch.testing.assert_close(got, each.abs(), atol=1e-6, rtol=1e-5)
    first = moments_by_differences(model, model.cnn[0], x, y, per_frame)
    got = frame_weights(model, x, y, layer="cnn.0", weight="signed")
    torch.testing.assert_close(got, first, atol=1e-6, rtol=1e-5)
    assert torch.equal(frame_weights(model, x, y, layer="cnn.2"), frame_weights(model, x, y))


def test_l1_sums_the_size_of_each_value_and_is_what_single_frames_get():
    model, x = made(PerFrame)
    y, module = torch.tensor([2, 0, 1, 1]), model.cnn[2]
    expected = torch.zeros(4, 5, dtype=torch.float64)
    for c, i, j in itertools.product(range(4), range(3), range(3)):

        def one(out, moment, c=c, i=i, j=j):
            return range(5) if moment is None else out.unflatten(0, (-1, 5))[:, moment, c, i, j]

        expected += moments_by_differences(model, module, x, y, one).abs()
    got = frame_weights(model, x, y, weight="l1")
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(frame_weights(model, x, y), got)


def test_behind_a_norm_of_each_frame_a_sum_of_slopes_tells_nothing_and_their_sizes_do():
    torch.manual_seed(0)

    class Normed(PerFrame):
        def __init__(self):
            super().__init__()
            self.cnn = nn.Sequential(nn.Conv2d(2, 4, 4), nn.GroupNorm(1, 4))  # of the whole map

    model, x = made(Normed)
    own = frame_weights(model, x)
    assert (frame_weights(model, x, weight="abs") < 1e-9 * own).all()


def test_without_a_layer_in_time_the_frames_themselves_are_taken():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 4, 3))
    x = torch.rand(2, 2, 5, 2, 2)
    slopes = model[1].weight.detach()[[1, 0]].reshape(2, 2, 5, 4).sum((1, 3)).abs()
    torch.testing.assert_close(frame_weights(model, x, torch.tensor([1, 0])), slopes)


def test_no_y_means_the_models_own_answer():
    model, x = made(Conv)
    assert torch.equal(frame_weights(model, x), frame_weights(model, x, model(x).argmax(1)))


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2, "same", "valid"])
@pytest.mark.parametrize("dilation", [1, 2])
def test_windows_equal_what_a_changed_frame_reaches(kernel, stride, padding, dilation):
    if padding == "same" and stride > 1:
        pytest.skip("torch has no such convolution")
    around = padding if isinstance(padding, str) else (padding, 0, 0)
    convolution = nn.Conv3d(
        1, 1, (kernel, 1, 1), (stride, 1, 1), around, (dilation, 1, 1), bias=False
    )
    nn.init.ones_(convolution.weight)
    clip = torch.eye(10)[:, None, :, None, None]  # a clip for each frame: 1 there, 0 elsewhere
    with torch.no_grad():
        reached = convolution(clip)
    expected = reached[:, 0, :].amax((2, 3)).T > 0  # (T', T)
    assert torch.equal(receptive_fields(convolution, 10, 10), expected)


def test_frames_that_a_model_pads_by_itself_are_left_out():
    convolution = nn.Conv3d(1, 1, (7, 1, 1), stride=(2, 1, 1))
    got = receptive_fields(convolution, 8 + 5, 8)  # TensorFlow's SAME: 2 in front, 3 behind
    expected = [[0 <= t - (2 * m - 2) < 7 for t in range(8)] for m in range(4)]
    assert got.tolist() == expected


def test_a_stride_that_leaves_a_frame_out_gives_it_no_weight():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv3d(1, 2, (2, 1, 1), stride=(3, 1, 1)), nn.Flatten(), nn.Linear(4, 2)
    )
    got = frame_weights(model, torch.rand(3, 1, 6, 1, 1))
    assert ((got > 0) == torch.tensor([1, 1, 0, 1, 1, 0]).bool()).all()


def test_hooks_go_also_when_the_model_raises():
    model, x = made(Conv)

    def hooks():
        return [len(m._forward_hooks) for m in model.modules()]

    before = hooks()
    for at in (1, 2):  # the pass that finds the layer, and the one that is weighed
        calls = []

        def broken(*_, at=at, calls=calls):
            calls.append(0)
            if len(calls) == at:
                raise RuntimeError("out of order")

        handle = model.head.register_forward_pre_hook(broken)
        with pytest.raises(RuntimeError, match="out of order"):
            frame_weights(model, x)
        handle.remove()
        assert hooks() == before
    frame_weights(model, x)
    assert hooks() == before


def test_a_gradient_that_is_not_finite_gives_no_weight():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = made(Conv)[0]

        def forward(self, x):
            logits = self.inner(x)
            return logits.masked_fill(x.flatten(1)[:, :1] < 0.5, torch.nan)

    x = torch.rand(3, 2, 5, 6, 6, dtype=torch.float64)
    x[:, 0, 0, 0, 0] = torch.tensor([0.9, 0.1, 0.9])
    weights = frame_weights(Broken(), x)
    assert not weights[1].any()
    assert weights[[0, 2]].all()
    whole = frame_weights(Broken(), x[[0, 2]])
    torch.testing.assert_close(weights[[0, 2]], whole, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": "nowhere"}, ["'nowhere'", "first, second, third"]),
        ({"layer": "head"}, ["'head'", "5 frames", "None"]),
        ({"layer": "third"}, ["'third'", "5 frames"]),
        ({"weight": "mean"}, ["'mean'", "abs, l1, relu, signed"]),
    ],
)
def test_what_cannot_be_weighed_is_refused(options, words):
    model, x = made(Conv)
    with pytest.raises(ValueError, match=r".") as error:
        frame_weights(model, x, **options)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_images_and_unknown_classes_are_refused():
    model, x = made(Conv)
    with pytest.raises(ValueError, match=r"\(4, 2, 6, 6\).*videos"):
        frame_weights(model, x[:, :, 0])
    with pytest.raises(ValueError, match="class 3 of a model with 3 classes"):
        frame_weights(model, x, torch.tensor([0, 1, 2, 3]))
