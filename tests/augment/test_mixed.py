import pytest
import torch

from augment import Dataset, MixedDataset, SampleBank, classic_for, iterate
from augment.bank.mixed import choose_of_each


@pytest.fixture
def originals():
    pixels = torch.arange(6 * 4, dtype=torch.uint8).view(6, 1, 2, 2)
    return Dataset(
        pixels, torch.arange(6) % 2, [f"s{i}" for i in range(6)], name="o", classes=["a", "b"]
    )


def entry(i, round_):
    return dict(source=f"s{i}", label=i % 2, round=round_, attack="pgd", seed=0, loss=0.0,
                linf=0.0, l2=0.0, l1=0.0)  # fmt: skip


@pytest.fixture
def bank(tmp_path):
    bank = SampleBank(tmp_path)
    for round_ in (1, 2):
        x = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 2, 2) / 255 + round_ / 10
        bank.append(f"round{round_}", x, [entry(i, round_) for i in range(6)])
    bank.set_status(bank.indices(), "accepted")
    bank.set_status([0], "rejected")
    bank.set_status([7], "pending")
    return bank


def test_without_limits_originals_and_every_accepted_sample_once(originals, bank):
    mixed = MixedDataset(originals, bank)
    assert len(mixed) == 6 + 10
    assert mixed.ids[:6] == originals.ids
    assert len(set(mixed.ids)) == 16
    accepted = [e for e in bank.entries() if e.status == "accepted"]
    assert mixed.labels[6:].tolist() == [e.label for e in accepted]
    rows = torch.tensor([15, 0, 6, 5])
    x, y = mixed.stack(rows)
    assert torch.equal(x[[1, 3]], originals.stack([0, 5])[0])
    assert torch.equal(x[0], bank[11][0])
    assert torch.equal(x[2], bank[1][0])
    assert torch.equal(y, mixed.labels[rows])


@pytest.mark.parametrize(("ratio", "count"), [(0, 0), (0.5, 3), (1, 6), (3, 18)])
def test_a_ratio_is_met_exactly_by_choice_or_repetition(originals, bank, ratio, count):
    mixed = MixedDataset(originals, bank, ratio=ratio, seed=1)
    again = MixedDataset(originals, bank, ratio=ratio, seed=1)
    assert len(mixed) == 6 + count
    assert mixed.ids == again.ids
    assert len(set(mixed.ids)) == len(mixed)
    times = [sum(e.split("#")[0] == i for e in mixed.ids[6:]) for i in set(mixed.ids[6:])]
    assert max(times, default=1) - min((t for t in times if t), default=1) <= 1
    if ratio == 0.5:
        assert mixed.ids != MixedDataset(originals, bank, ratio=ratio, seed=2).ids


def test_it_is_a_dataset_to_everything_else(originals, bank):
    mixed = MixedDataset(originals, bank, ratio=1)
    seen = torch.cat([y for _, y, _ in iterate(mixed, batch_size=5, seed=3)])
    assert seen.sum() == mixed.labels.sum()
    assert len(mixed.subset([0, 11])) == 2
    assert mixed.shape == originals.shape
    assert mixed.num_classes == 2
    assert classic_for(mixed.name, mixed.shape).flip is False


def test_what_is_appended_later_does_not_move_the_samples(originals, bank):
    mixed = MixedDataset(originals, bank)
    before, labels = mixed.stack(range(len(mixed)))
    bank.append("a-first", torch.ones(3, 1, 2, 2), [entry(i, 3) for i in range(3)])
    assert bank.entries()[0].round == 3
    after, still = mixed.stack(range(len(mixed)))
    assert torch.equal(before, after)
    assert torch.equal(labels, still)


def test_an_empty_bank_leaves_the_originals(originals, tmp_path):
    mixed = MixedDataset(originals, SampleBank(tmp_path), ratio=2)
    assert mixed.ids == originals.ids
    assert torch.equal(mixed.stack([2])[0], originals.stack([2])[0])


def test_a_bank_of_other_data_is_refused(originals, bank, tmp_path):
    other = Dataset(
        torch.zeros(6, 1, 2, 2), 1 - originals.labels, originals.ids, name="x", classes=["a", "b"]
    )
    with pytest.raises(ValueError, match="made from other data"):
        MixedDataset(other, bank)
    large = Dataset(
        torch.zeros(6, 1, 3, 3), originals.labels, originals.ids, name="x", classes=["a", "b"]
    )
    with pytest.raises(ValueError, match="made from other data"):
        MixedDataset(large, bank)
    with pytest.raises(ValueError, match="ratio=nan"):
        MixedDataset(originals, bank, ratio=float("nan"))


def test_videos_pass_through_the_bank_and_the_mixture(tmp_path):
    shape = (2, 5, 4, 3)  # (C, T, H, W)
    pixels = torch.randint(256, (4, *shape), generator=torch.Generator().manual_seed(0)).byte()
    clips = Dataset(
        pixels, torch.arange(4) % 2, [f"s{i}" for i in range(4)], name="v", classes=["a", "b"]
    )
    bank = SampleBank(tmp_path, shard_bytes=4 * 200)
    assert len(MixedDataset(clips, bank)) == 4
    x_adv = (clips.stack(range(4))[0] + 0.01).clamp(0, 1)
    half = x_adv.half().float()
    bank.append("round1", x_adv, [entry(i, 1) for i in range(4)])
    bank.append("round2", x_adv, [entry(i, 2) for i in range(4)], encodings=["uint8"] * 4)
    bank.set_status(bank.indices(), "accepted")
    again = SampleBank(tmp_path)
    assert (again.shape, len(again)) == (shape, 8)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2  # each key in several shards
    assert torch.equal(again.stack(range(4))[0], half)
    mixed = MixedDataset(clips, again)
    assert (mixed.shape, mixed.is_video, len(mixed)) == (shape, True, 12)
    x, y, rows = next(iterate(mixed, batch_size=12, seed=3))
    whole = torch.cat([pixels / 255, again.stack(range(8))[0]])
    assert torch.allclose(x, whole[rows])
    assert torch.equal(y, rows % 4 % 2)
    assert mixed.subset([5, 1]).stack([0, 1])[0].shape == (2, *shape)
    with pytest.raises(ValueError, match="use a new bank"):
        again.append("round3", torch.zeros(1, 2, 4, 3), [entry(0, 3)])


def test_each_original_gives_the_samples_of_the_highest_values(originals, bank):
    candidates = bank.indices(status="accepted")
    newest = choose_of_each(
        bank, candidates, 1, value=[bank.entries()[i].round for i in candidates]
    )
    # Sample 1 was left pending in round 2, and sample 0 rejected in round 1.
    assert [(bank.entries()[i].source, bank.entries()[i].round) for i in newest] == [
        ("s1", 1), ("s0", 2), ("s2", 2), ("s3", 2), ("s4", 2), ("s5", 2),
    ]  # fmt: skip
    oldest = choose_of_each(
        bank, candidates, 1, value=[-bank.entries()[i].round for i in candidates]
    )
    assert sorted(bank.entries()[i].source for i in oldest) == originals.ids
    assert {bank.entries()[i].round for i in oldest} == {1, 2}
    assert choose_of_each(bank, candidates, 2, value=[0.0] * len(candidates)) == candidates
    mixed = MixedDataset(originals, bank, chosen=newest)
    assert mixed.ids[6:] == [f"bank:{bank.entries()[i].id}" for i in newest]
    assert mixed.perturbed.tolist() == [False] * 6 + [True] * 6
    assert not originals.perturbed.any()


def test_each_attack_has_its_own_share_of_an_original(tmp_path):
    bank = SampleBank(tmp_path)
    for round_ in (1, 2):
        for attack in ("zoo", "pgd", "generator"):
            x = torch.full((2, 1, 2, 2), round_ / 255)
            entries = [entry(i, round_) | {"attack": attack} for i in range(2)]
            bank.append(f"round{round_}-{attack}", x, entries)
    rows = bank.indices()
    chosen = choose_of_each(bank, rows, 1, value=[bank.entries()[i].round for i in rows])
    made = {(bank.entries()[i].source, bank.entries()[i].attack) for i in chosen}
    assert len(chosen) == len(made) == 6
    assert {bank.entries()[i].round for i in chosen} == {2}
