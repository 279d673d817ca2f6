"""What every attack must refuse, and in which words."""

import pytest
import torch

LABELS = torch.tensor([0, 1])
WRONG = {
    "uint8": (torch.zeros(2, 3, 6, 6, dtype=torch.uint8), LABELS, ["uint8", "float()"]),
    "half": (torch.zeros(2, 3, 6, 6, dtype=torch.bfloat16), LABELS, ["bfloat16"]),
    "normalised": (torch.linspace(-2.5, 2, 216).reshape(2, 3, 6, 6), LABELS,
                   ["-2.5", "2]", "Normalize"]),
    "above": (torch.full((2, 3, 6, 6), 1.0003), LABELS, ["1.0003", "Normalize"]),
    "nan": (torch.full((2, 3, 6, 6), torch.nan), LABELS, ["nan"]),
    "infinite": (torch.full((2, 3, 6, 6), torch.inf), LABELS, ["inf"]),
    "three dimensions": (torch.zeros(3, 6, 6), LABELS, ["(3, 6, 6)", "(B, C, H, W)", "x[None]"]),
    "empty": (torch.zeros(0, 3, 6, 6), LABELS[:0], ["(0, 3, 6"]),
    "int32 labels": (torch.zeros(2, 3, 6, 6), LABELS.int(), ["y has", "int32", "int64"]),
    "label shape": (torch.zeros(2, 3, 6, 6), LABELS[:, None], ["y has", "(2, 1)"]),
    "label count": (torch.zeros(2, 3, 6, 6), torch.tensor([1]), ["y has", "(1,)", "2 samples"]),
    "another device": (torch.zeros(2, 3, 6, 6), LABELS.to("meta"), ["y is on meta", "cpu"]),
    "negative label": (torch.zeros(2, 3, 6, 6), LABELS - 1, ["-1", "start at 0"]),
    "unknown label": (torch.zeros(2, 3, 6, 6), LABELS + 3, ["class 4", "4 classes"]),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_batches_are_refused_by_name(case, net, wrong):
    x, y, words = WRONG[wrong]
    with pytest.raises(ValueError, match=r".") as error:
        case.attack()(net(), case.shaped(x), y)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (torch.tensor([0.0, 1.0]), ["target", "float32"]),
        (torch.tensor([0]), ["target", "(1,)"]),
        (torch.tensor([-1, 0]), ["target", "-1"]),
        (torch.tensor([0, 4]), ["class 4", "4 classes"]),
    ],
)
def test_wrong_targets_are_refused(case, net, target, words):
    with pytest.raises(ValueError, match=r".") as error:
        case.attack()(net(), case.shaped(torch.zeros(2, 3, 6, 6)), LABELS, target=target)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_images_are_refused_by_what_changes_frames(video_case):
    with pytest.raises(ValueError, match=r"\(2, 3, 6, 6\).*videos.*\(B, C, T, H, W\)"):
        video_case.attack()(torch.nn.Flatten(), torch.zeros(2, 3, 6, 6), LABELS)


@pytest.mark.parametrize(
    ("eps", "word"),
    [(-0.1, "-0.1"), (torch.nan, "nan"), (torch.inf, "inf"), (torch.ones(3), "(3,)")],
)
def test_wrong_eps_is_refused(ball_case, net, eps, word):
    with pytest.raises(ValueError, match="eps") as error:
        ball_case.attack(eps=eps)(net(), ball_case.shaped(torch.zeros(2, 3, 6, 6)), LABELS)
    assert word in str(error.value)


def test_the_number_of_sample_ids_is_checked(random_case, net, batch):
    x, y = batch(2)
    with pytest.raises(ValueError, match="sample_ids has 3 entries for 2"):
        random_case.attack()(net(), x, y, sample_ids=[1, 2, 3])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: (x, x.flatten(1)), ["tuple", "logits (2, K)"]),
        (lambda x: x, ["(2, 3, 6"]),
        (lambda x: x.flatten(1)[:1], ["(1, "]),
        (lambda x: x.flatten(1)[:, :1], ["one logit"]),
    ],
)
def test_a_model_without_logits_is_refused(case, answer, words):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return answer(x)

    with pytest.raises(ValueError, match=r".") as error:
        case.attack()(Odd(), case.shaped(torch.zeros(2, 3, 6, 6)), LABELS)
    assert all(word in str(error.value) for word in words), str(error.value)
