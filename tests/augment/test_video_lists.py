"""UCF-101, HMDB-51 and Kinetics, as their publishers lay them out, in small."""

import logging

import pytest
import torch

from attacks.errors import RefusedInput
from augment import load_dataset
from augment.datasets.videos.write import write_video


def save(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = torch.Generator().manual_seed(seed)
    write_video(path.with_suffix(".mkv"), torch.randint(256, (3, 4, 2, 2), generator=rng) / 255)


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def ucf(tmp_path):
    """Two classes, 25 groups each of two takes; groups 1 to 7 test, as in the published lists."""
    lists = tmp_path / "ucfTrainTestlist"
    names = ("Archery", "YoYo")
    write(lists / "classInd.txt", "1 YoYo", "2 Archery")
    takes = {
        group: [f"{c}/v_{c}_g{group:02d}_c0{take}.avi" for c in names for take in (1, 2)]
        for group in range(1, 26)
    }
    number = {"YoYo": 1, "Archery": 2}
    for fold in ("1", "2"):
        test = range(1, 8) if fold == "1" else range(8, 15)
        write(lists / f"testlist0{fold}.txt", *(t for g in test for t in takes[g]))
        train = [t for g, each in takes.items() if g not in test for t in each]
        write(lists / f"trainlist0{fold}.txt", *(f"{t} {number[t.split('/')[0]]}" for t in train))
    for i, take in enumerate(t for each in takes.values() for t in each):
        save(tmp_path / "UCF-101" / take, i)
    return tmp_path


def group(text):
    return text.rpartition("_c")[0].rpartition("/")[2]


def load(name, folder, split, **options):
    return load_dataset(f"{name}:{folder}", split, frames=4, **options)


def test_ucf101_follows_its_lists(ucf):
    test = load("ucf101", ucf, "test")
    assert test.classes == ["YoYo", "Archery"]
    assert len(test) == 28
    assert {group(i)[-2:] for i in test.ids} == {f"{g:02d}" for g in range(1, 8)}
    assert [test.classes[y] for y in test.labels] == [i.partition("/")[0] for i in test.ids]
    assert (test.name, test.shape) == ("ucf101", (3, 4, 2, 2))
    second = load("ucf101", f"{ucf}:2", "test")
    assert {group(i)[-2:] for i in second.ids} == {f"{g:02d}" for g in range(8, 15)}


def test_ucf101_validates_on_whole_groups(ucf):
    train, val, test = (load("ucf101", ucf, split) for split in ("train", "val", "test"))
    groups = [{group(i) for i in part.ids} for part in (train, val, test)]
    assert len(train) + len(val) == 72
    assert all(groups)
    assert sum(len(each) for each in groups) == len(set.union(*groups)) == 50
    some = load("ucf101", ucf, "train", samples=10, clips=2)
    assert len(some) == 10


def test_ucf101_says_what_is_missing(ucf, tmp_path, caplog):
    (ucf / "UCF-101/YoYo/v_YoYo_g01_c01.mkv").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(load("ucf101", ucf, "test")) == 27
    assert "1 of the 28 videos listed for the test split are not there, such as YoYo" in caplog.text
    lists = ucf / "ucfTrainTestlist"
    write(lists / "testlist02.txt", "v_YoYo_g01_c01.avi")
    with pytest.raises(RefusedInput, match=r"a line is 'v_YoYo_g01_c01\.avi'; allowed: CLASS/"):
        load("ucf101", f"{ucf}:2", "test")
    with pytest.raises(RefusedInput, match=r"there is no trainlist03\.txt"):
        load("ucf101", f"{ucf}:3", "test")
    write(lists / "classInd.txt", "1 YoYo")
    with pytest.raises(RefusedInput, match=r"'Archery' is not among the 1 classes"):
        load("ucf101", ucf, "test")
    with pytest.raises(ValueError, match="write ucf101:DIR"):
        load_dataset("ucf101", "test")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["2 Archery", "1 YoYo"], None),
        (["1 YoYo", "2 Archery", "2 YoYo"], "a line is '2 YoYo'"),
        (["YoYo", "Archery"], "a line is 'YoYo'"),
        (["1 YoYo", "3 Archery"], "numbers its classes 1, 3"),
        (["1 YoYo", "1 Archery"], "a line is .1 Archery"),
    ],
)
def test_ucf101_takes_the_numbers_of_its_classes(ucf, lines, words):
    write(ucf / "ucfTrainTestlist/classInd.txt", *lines)
    if words is None:
        assert load("ucf101", ucf, "test").classes == ["YoYo", "Archery"]
        return
    with pytest.raises(RefusedInput, match=words):
        load("ucf101", ucf, "test")


def test_a_validation_split_that_would_be_empty_is_said_to_be(ucf):
    lists = ucf / "ucfTrainTestlist"
    write(lists / "trainlist01.txt", "YoYo/v_YoYo_g25_c01.avi 1")
    with pytest.raises(RefusedInput, match="its lists have no video for the val split"):
        load("ucf101", ucf, "val")


def test_hmdb51_follows_its_lists(tmp_path, caplog):
    number = 0
    for folder in ("brush_hair", "wave"):
        lines = []
        for film in range(30):
            for take in (0, 1):
                name = f"Film_{film}_#x_{folder}_u_nm_np1_ba_goo_{take}.avi"
                part = 0 if film == 29 else 2 if film < 9 else 1
                lines.append(f"{name} {part} ")
                save(tmp_path / "videos" / folder / name, number)
                number += 1
        write(tmp_path / f"splits/{folder}_test_split1.txt", *lines)
    parts = {split: load("hmdb51", tmp_path, split) for split in ("train", "val", "test")}
    films = {
        split: {(i.split("/")[0], int(i.split("Film_")[1].split("_")[0])) for i in part.ids}
        for split, part in parts.items()
    }
    assert parts["test"].classes == ["brush_hair", "wave"]
    assert films["test"] == {(c, f) for c in ("brush_hair", "wave") for f in range(9)}
    assert films["train"] | films["val"] == {
        (c, f) for c in ("brush_hair", "wave") for f in range(9, 29)
    }
    assert films["val"]
    assert not {f for _, f in films["train"]} & {f for _, f in films["val"]}
    assert parts["test"].labels.bincount().tolist() == [18, 18]
    write(tmp_path / "splits/wave_test_split1.txt", "a.avi 3")
    with pytest.raises(RefusedInput, match=r"a line is 'a\.avi 3'"):
        load("hmdb51", tmp_path, "test")
    with pytest.raises(RefusedInput, match=r"there is no CLASS_test_split2\.txt"):
        load("hmdb51", f"{tmp_path}:2", "test")


HEADER = "label,youtube_id,time_start,time_end,split"


def test_kinetics_by_csv_lists_of_flat_folders(tmp_path, caplog):
    rows = {
        "train": ["air drumming,-abc,10,20", '"yoga, slow",b_d,0,10'],
        "val": ["air drumming,ccc,7,17", "yoga,gone,0,10"],
        "test": [",ddd,1,11"],
    }
    for part, lines in rows.items():
        split = "validate" if part == "val" else part
        write(tmp_path / f"annotations/{part}.csv", HEADER, *(f"{x},{split}" for x in lines))
    there = "train/-abc_000010_000020 train/b_d_000000_000010 val/ccc_000007_000017"
    for i, name in enumerate(f"{there} test/ddd_000001_000011".split()):
        save(tmp_path / f"{name}.mp4", i)
    train = load("kinetics", tmp_path, "train")
    assert train.classes == ["air drumming", "yoga", "yoga, slow"]
    assert train.ids == ["-abc_000010_000020", "b_d_000000_000010"]
    assert train.labels.tolist() == [0, 2]
    with caplog.at_level(logging.WARNING):
        assert load("kinetics", tmp_path, "val").ids == ["ccc_000007_000017"]
    assert "such as gone_000000_000010" in caplog.text
    assert load("kinetics", tmp_path, "test").labels.tolist() == [-1]
    write(tmp_path / "annotations/test.csv", HEADER, "x,y,one,2,test")
    with pytest.raises(RefusedInput, match="allowed: seconds, and a split"):
        load("kinetics", tmp_path, "test")
    write(tmp_path / "annotations/test.csv", "a,b")
    with pytest.raises(RefusedInput, match="allowed: the header label,youtube_id"):
        load("kinetics", tmp_path, "test")


def test_a_csv_list_that_is_none_is_refused(tmp_path):
    save(tmp_path / "train/a_000001_000002", 0)
    header = "label,youtube_id,time_start,time_end,split"
    write(tmp_path / "train.csv", header, f"{'x' * 2**18},a,1,2,train")
    with pytest.raises(RefusedInput, match=r"train\.csv: field larger than field limit"):
        load("kinetics", tmp_path, "train")


def test_kinetics_in_class_folders_needs_no_list(tmp_path):
    for i, split in enumerate(("train", "val")):
        save(tmp_path / split / "yoga/abc_000010_000020.mp4", i)
        save(tmp_path / split / "archery/abd_000010_000020.mp4", i)
    data = load("kinetics", tmp_path, "test")  # its validation split stands in
    assert (data.classes, data.name, len(data)) == (["archery", "yoga"], "kinetics", 2)


def test_lists_that_are_there_without_videos_are_refused(tmp_path):
    write(tmp_path / "train.csv", HEADER, "a,b,0,10,train")
    with pytest.raises(RefusedInput, match="none of the 1 videos listed for the train split"):
        load("kinetics", tmp_path, "train")
