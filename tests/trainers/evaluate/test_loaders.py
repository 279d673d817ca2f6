"""What takes samples takes our Dataset, a DataLoader, or any iterable of batches (x, y)."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from attacks import PGD, Square
from augment import Dataset
from trainers import attack_batches, clean_accuracy, evaluate_attack


@pytest.fixture
def data():
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(23, 1, 6, 6, generator=g), torch.arange(23) % 3
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    return model.eval(), Dataset(x, y, [f"s{i}" for i in range(23)], name="toy", classes=[*"abc"])


def loaders(ds):
    x, y = ds.stack(range(len(ds)))
    return {
        "DataLoader of a Dataset": DataLoader(ds, batch_size=5),
        "DataLoader of tensors": DataLoader(TensorDataset(x, y.int()), batch_size=7),
        "list": [(x[:10], y[:10]), [x[10:], y[10:]]],
        "generator": ((x[i : i + 4], y[i : i + 4]) for i in range(0, 23, 4)),
    }


@pytest.mark.parametrize("kind", ["DataLoader of a Dataset", "DataLoader of tensors", "list",
                                  "generator"])  # fmt: skip
def test_a_loader_is_measured_as_a_dataset(kind, data):
    model, ds = data
    attack = PGD(eps=0.05, steps=4, random_start=False)
    whole, other = (evaluate_attack(attack, model, each) for each in (ds, loaders(ds)[kind]))
    assert other.survived.tolist() == whole.survived.tolist()
    assert 0 < whole.robust_accuracy < whole.clean_accuracy
    assert other.columns["index"].tolist() == list(range(23))
    torch.testing.assert_close(other.sizes["linf"], whole.sizes["linf"])
    assert clean_accuracy(model, loaders(ds)[kind]) == clean_accuracy(model, ds)


def test_random_numbers_follow_from_the_content_not_the_batch(data):
    model, ds = data
    x, y = ds.stack(range(23))
    attack = Square(eps=0.05, queries=20)
    one, two = (
        evaluate_attack(attack, model, DataLoader(TensorDataset(x, y), batch_size=size))
        for size in (23, 4)
    )
    assert torch.equal(one.columns["queries"], two.columns["queries"])


def test_batches_can_be_chosen_of_a_loader_too(data):
    model, ds = data
    batches = attack_batches(PGD(steps=1), model, DataLoader(ds, batch_size=5), numbers=[1, 4])
    assert [batch.index.tolist() for batch in batches] == [list(range(5, 10)), [20, 21, 22]]


def test_answers_and_confidences_are_those_of_the_model(data):
    model, ds = data
    (batch,) = attack_batches(PGD(eps=0.05, steps=4), model, ds)
    for x, answers, column in (
        (batch.result.x, batch.before, 0),
        (batch.result.x_adv, batch.after, 1),
    ):
        scores = model(x).softmax(1)
        assert answers.tolist() == scores.argmax(1).tolist()
        torch.testing.assert_close(batch.confidences[:, column], scores.amax(1))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([torch.rand(2, 1, 6, 6)], "batch 0 is a Tensor and no pair; give batches"),
        ([(torch.rand(2, 1, 6, 6),)], "batch 0 is a tuple and no pair"),
        ([(torch.rand(1, 6, 6), torch.tensor(0))], r"batch 0: x has shape \(1, 6, 6\)"),
        ([(255 * torch.rand(2, 1, 6, 6), torch.zeros(2).long())], "pixels lie in"),
        ([(torch.rand(2, 1, 6, 6), torch.zeros(2))], "the labels are torch.float32"),
        ([(torch.rand(2, 1, 6, 6), torch.zeros(3).long())], "one for each of its 2 samples"),
        ([(torch.rand(2, 1, 6, 6), [0, 1])], "the labels are list"),
        ([], "the list has no samples to evaluate"),
    ],
)
def test_what_is_no_batch_is_refused(batches, message, data):
    model, _ = data
    with pytest.raises(ValueError, match=message):
        evaluate_attack(PGD(steps=1), model, batches)
    with pytest.raises(ValueError, match=message):
        clean_accuracy(model, batches)
