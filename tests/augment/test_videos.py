"""Video folders: what is decoded, what is cached, and what is left out and why."""

import json
import logging
import os
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
import torch
from PIL import Image

from attacks.errors import RefusedInput
from augment import iterate, load_dataset
from augment.datasets.clips import clip_frames
from augment.datasets.images import reading
from augment.datasets.images.images import ImageForm
from augment.datasets.videos import video_files, video_index
from augment.datasets.videos.video_files import probe, read_clips
from augment.datasets.videos.video_index import cache_file, probe_all
from augment.datasets.videos.write import write_video


def clip(frames=20, height=6, width=8, channels=3, seed=0):
    """A video of noise, in whole bytes."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, (channels, frames, height, width), generator=rng) / 255


def save(path, **options):
    """Write a lossless video; return its bytes (C, T, H, W)."""
    x = clip(**options)
    write_video(path, x)
    return (x * 255).round().byte()


def encode(path, codec, *, frames=20, size=(32, 48), rate=25, audio=False, **container):
    """Write a video with a codec of other programs' choice."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p", "qtrle": "rgb24"}.get(
            codec, "yuv420p"
        )
        out.start_encoding()
        for t in range(frames):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            pixels[:, : t + 1] = 200
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    return path


def load(root, split="test", **options):
    return load_dataset(f"videofolder:{root}", split, **options)


def test_the_middle_of_each_video_in_class_and_split_folders(tmp_path):
    made = {
        name: save(tmp_path / name, seed=i)
        for i, name in enumerate(["train/b/0.mkv", "test/a/0.mkv", "test/b/1.mkv", "test/a/2.mkv"])
    }
    data = load(tmp_path)
    assert data.ids == ["a/0.mkv", "a/2.mkv", "b/1.mkv"]
    assert (data.classes, data.labels.tolist()) == (["a", "b"], [0, 0, 1])
    assert (data.shape, data.skipped, data.name) == ((3, 16, 6, 8), [], "videofolder")
    for row, name in enumerate(("test/a/0.mkv", "test/a/2.mkv", "test/b/1.mkv")):
        assert torch.equal(data.raw([row])[0], made[name][:, 2:18])
    assert load(tmp_path, "train").labels.tolist() == [1]
    x, y, index = next(iterate(data, batch_size=2))
    assert torch.equal(x, data.raw([0, 1]).float() / 255)
    assert (y.tolist(), index.tolist()) == ([0, 0], [0, 1])


def test_length_stride_several_clips_and_looping(tmp_path):
    long, short = save(tmp_path / "a/l.mkv"), save(tmp_path / "a/s.mkv", frames=5, seed=1)
    data = load(tmp_path, "train", frames=4, stride=3, clips=3)
    chosen = [text for text in data.ids]
    everything = {
        "l.mkv": [[0, 3, 6, 9], [5, 8, 11, 14], [10, 13, 16, 19]],
        "s.mkv": [[0, 3, 1, 4], [1, 4, 2, 0], [3, 1, 4, 2]],
    }
    assert chosen == [f"a/{n}#{i}" for n in everything for i in range(3)]
    for row, name in enumerate(chosen):
        source = long if "l.mkv" in name else short
        frames = everything[name[2:7]][int(name[-1])]
        assert torch.equal(data.raw([row])[0], source[:, frames])


@pytest.mark.parametrize(
    ("count", "frames", "stride"), [(1, 16, 1), (16, 16, 1), (40, 16, 2), (31, 16, 2), (30, 16, 2)]
)
def test_clips_keep_their_length_and_order(count, frames, stride):
    for clips in (1, 2, 5):
        found = clip_frames(count, frames=frames, stride=stride, clips=clips)
        assert [len(c) for c in found] == [frames] * clips
        for numbers in found:
            steps = {(b - a) % count for a, b in pairwise(numbers)}
            assert steps == {stride % count}
    if count > (frames - 1) * stride:
        first, *_, last = clip_frames(count, frames=frames, stride=stride, clips=5)
        assert (first[0], last[-1]) == (0, count - 1)


def test_size_and_a_common_form(tmp_path, caplog):
    save(tmp_path / "a/0.mkv")
    wide = save(tmp_path / "a/1.mkv", width=20)
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path, "train").shape == (3, 16, 112, 112)
    assert "video sizes differ" in caplog.text
    data = load(tmp_path, "train", size=6)
    assert torch.equal(data.raw([1])[0], wide[:, 2:18, :, 7:13])  # the centre, cut out
    save(tmp_path / "g/a/0.mkv", channels=1)
    assert load(tmp_path / "g", "train").shape == (1, 16, 6, 8)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("v.mp4", "mpeg4"), ("v.avi", "mpeg4"), ("v.webm", "libvpx-vp9"), ("v.mkv", "mjpeg"),
     ("v.gif", "gif")],
)  # fmt: skip
def test_known_formats_are_decoded_as_pyav_does(tmp_path, name, codec):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    path = encode(tmp_path / name, codec)
    with av.open(str(path)) as container:
        whole = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    head = probe(path)
    assert (head.frames, head.height, head.width, head.colour) == (20, 32, 48, True)
    read = read_clips(path, ImageForm(3, 32, 48), [range(3, 19)])[0]  # (3, 16, 32, 48)
    assert np.array_equal(read.permute(1, 2, 3, 0).numpy(), whole[3:19])


def test_a_phone_held_sideways_is_shown_upright(tmp_path):
    content = bytearray(encode(tmp_path / "v.mp4", "mpeg4").read_bytes())
    upright = read_clips(tmp_path / "v.mp4", ImageForm(3, 32, 48), [[4]])[0, :, 0]
    start = content.index(b"tkhd") + 4 + 40  # a matrix of nine numbers, after the version's fields
    one = 1 << 16
    quarter = (0, one, 0, -one, 0, 0, 0, 0, 1 << 30)  # clockwise, by the QuickTime specification
    content[start : start + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in quarter)
    (tmp_path / "turned.mp4").write_bytes(content)
    head = probe(tmp_path / "turned.mp4")
    assert (head.height, head.width) == (48, 32)
    turned = read_clips(tmp_path / "turned.mp4", ImageForm(3, 48, 32), [[4]])[0, :, 0]
    assert torch.equal(turned, upright.rot90(-1, (1, 2)))  # clockwise


def bad_files(folder):
    """Files that are no whole videos, each with words of why."""
    encode(folder / "whole.mp4", "mpeg4", movflags="faststart")
    encode(folder / "whole.avi", "mpeg4")
    encode(folder / "whole.gif", "gif")
    encode(folder / "plain.mp4", "mpeg4")
    save(folder / "whole.mkv", frames=30)
    cut = "cut off|cannot be decoded to its end|no whole video"
    words = {}
    for name in ("whole.mp4", "whole.avi", "whole.gif", "whole.mkv", "plain.mp4"):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / f"cut-{name}").write_bytes(content[: len(content) * 6 // 10])
        words[f"cut-{name}"] = cut
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video\n" * 99)
    (folder / "playlist.mp4").write_text("#EXTM3U\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n")
    (folder / "concat.mp4").write_text("ffconcat version 1.0\nfile good.mkv\n")
    Image.new("RGB", (32, 32), "red").save(folder / "photo.mp4", "JPEG")
    Image.new("RGB", (32, 32), "red").save(folder / "photo.avi", "PNG")
    with av.open(str(folder / "sound.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        stream.layout = "mono"
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    encode(folder / "none.mp4", "mpeg4", frames=0)
    encode(folder / "rare.mov", "qtrle")
    unknown = encode(folder / "unknown.avi", "mpeg4")
    unknown.write_bytes(unknown.read_bytes().replace(b"FMP4", b"zzzz"))
    encode(folder / "huge.mp4", "mpeg4", frames=1, size=(4112, 4112))
    os.mkfifo(folder / "pipe.mp4")
    (folder / "folder.mp4").mkdir()
    known = "no whole video of a known format"
    return words | {
        "empty.mp4": "empty file",
        "text.mp4": known,
        "playlist.mp4": known,
        "concat.mp4": known,
        "photo.mp4": known,
        "photo.avi": known,
        "sound.mp4": "no video in it",
        "none.mp4": f"no video in it|not one frame|{known}",
        "rare.mov": r"its codec \(qtrle\) is not among",
        "unknown.avi": r"its codec \(unknown\) is not among",
        "huge.mp4": "more than 16777216 pixels",
        "pipe.mp4": "not a regular file",
    }


def test_bad_files_are_named_and_left_out_and_the_rest_works(tmp_path, caplog):
    folder = tmp_path / "test/a"
    good = save(folder / "good.mkv")
    words = bad_files(folder)
    with caplog.at_level(logging.WARNING):
        data = load(tmp_path)
    assert data.ids == ["a/good.mkv"]
    assert torch.equal(data.raw([0])[0], good[:, 2:18])
    lines = {line.partition(": ")[0].rpartition("/")[2]: line for line in data.skipped}
    assert lines.keys() == words.keys()
    for name in words:
        with pytest.raises((ValueError, OSError), match=words[name]):
            probe(folder / name)
    assert "left out" in caplog.text


def test_a_folder_without_one_whole_video_is_refused(tmp_path):
    (tmp_path / "train/a").mkdir(parents=True)
    with pytest.raises(RefusedInput, match="no videos for the train split"):
        load(tmp_path, "train")
    (tmp_path / "train/a/x.mp4").write_text("text")
    with pytest.raises(RefusedInput, match=r"none of the 1 videos can be read .*x\.mp4: no whole"):
        load(tmp_path, "train")
    with pytest.raises(RefusedInput, match="no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="write videofolder:DIR"):
        load_dataset("videofolder", "test")


def timed(path, times, *, codec="mpeg4"):
    """Write a frame for each of some times, in milliseconds."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time in times:
            pixels = np.full((32, 48, 3), time % 251, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(
    "times",
    [[0, 40, 80, *range(1000, 20000, 1000)], range(10000, 11000, 40)],
    ids=["the rate falls", "the first frame comes late"],
)
def test_a_whole_video_may_have_fewer_frames_than_its_length_at_its_rate(tmp_path, suffix, times):
    path = timed(tmp_path / f"v.{suffix}", times)
    assert probe(path).frames == len(times)
    if suffix == "mkv":  # a cut mp4 has lost its header
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
        with pytest.raises(ValueError, match="cut off"):
            probe(path)


def test_frames_that_an_edit_list_hides_are_not_missed(tmp_path):
    encode(tmp_path / "v.mp4", "mpeg4", frames=40)
    with av.open(str(tmp_path / "v.mp4")) as source, av.open(str(tmp_path / "e.mp4"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                early = 20 * packet.duration  # as where a program cuts without encoding anew
                packet.pts, packet.dts = packet.pts - early, packet.dts - early
                packet.stream = stream
                out.mux(packet)
    with av.open(str(tmp_path / "e.mp4")) as edited:
        assert edited.streams.video[0].frames == 40
    assert probe(tmp_path / "e.mp4").frames == 20


def test_a_gif_of_frames_without_delays_is_not_called_cut_off(tmp_path):  # FFmpeg skips some
    rng = np.random.default_rng(0)
    pages = [Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)) for _ in range(10)]
    pages[0].save(tmp_path / "v.gif", save_all=True, append_images=pages[1:], duration=0)
    with pytest.raises(ValueError, match=r"1 of its 10 frames .* no delay"):
        probe(tmp_path / "v.gif")


def test_each_codec_is_named_as_its_decoder_is():
    for name in sorted(video_files._CODECS):
        try:
            decoder = av.Codec(name, "r")
        except av.codec.codec.UnknownCodecError:
            continue  # this FFmpeg is without it
        assert decoder.name == name


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("MOST_PIXELS", 32 * 48 - 1, "no size, or more than 1535 pixels"),
        ("MOST_FRAMES", 19, "more than 19 frames"),
        ("MOST_SECONDS", 0.7, "at most 0.7 are read"),
        ("MOST_STREAMS", 0, "1 streams; at most 0"),
        ("MOST_BYTES", 99, "bytes; from 1 to 99 are read"),
        ("_CODECS", frozenset(("h264",)), r"its codec \(mpeg4\) is not among"),
    ],
)
def test_limits(tmp_path, monkeypatch, limit, value, words):
    path = encode(tmp_path / "v.mp4", "mpeg4")
    assert probe(path).frames == 20
    monkeypatch.setattr(video_files, limit, value)
    with pytest.raises(ValueError, match=words):
        probe(path)


def test_a_header_that_lies_about_frames_and_size_is_not_believed(tmp_path):
    path = encode(tmp_path / "v.avi", "mpeg4", size=(32, 48))
    content = bytearray(path.read_bytes())
    start = content.index(b"avih") + 8
    content[start + 16 : start + 20] = (5).to_bytes(4, "little")  # total frames
    content[start + 32 : start + 40] = (7).to_bytes(4, "little") * 2  # width and height
    path.write_bytes(content)
    assert (probe(path).frames, probe(path).height, probe(path).width) == (20, 32, 48)


def test_a_file_that_claims_huge_frames_is_left_out(tmp_path):
    path = encode(tmp_path / "v.mkv", "mjpeg")
    content = path.read_bytes()
    start = content.index(b"\xff\xc0")  # a JPEG's own word on its size comes in every frame
    real = content[start + 5 : start + 9]
    assert real == (32).to_bytes(2, "big") + (48).to_bytes(2, "big")
    huge = (65000).to_bytes(2, "big") * 2
    path.write_bytes(content.replace(content[start : start + 9], content[start : start + 5] + huge))
    with pytest.raises(ValueError, match=r"cannot be decoded|pixels|not one frame|no whole"):
        probe(path)


def test_the_index_decodes_once_notices_changes_and_survives_damage(tmp_path, monkeypatch):
    save(tmp_path / "a/0.mkv", frames=20)
    (tmp_path / "a/1.mkv").write_text("text")
    paths = [str(tmp_path / "a/0.mkv"), str(tmp_path / "a/1.mkv")]
    asked = []

    def counting(path):
        asked.append(path[-5:])
        return probe(path)

    def look():
        asked.clear()
        found = probe_all(tmp_path, paths, probe=counting)
        assert isinstance(found[paths[1]], ValueError)
        return found[paths[0]].frames

    assert (look(), sorted(asked)) == (20, ["0.mkv", "1.mkv"])
    assert (look(), asked) == (20, [])
    save(tmp_path / "a/0.mkv", frames=30)
    assert (look(), asked) == (30, ["0.mkv"])
    place = cache_file(tmp_path)
    whole = place.read_text()
    broken = json.loads(whole)
    broken["files"][paths[0]] = [1, 2, [0, 0, 0, 1]]
    lists = json.dumps({"format": video_index.FORMAT, "files": [1]})
    for damage in (
        whole[:-9],
        "",
        "[]",
        lists,
        json.dumps(broken),
        json.dumps(broken).replace("[0, 0", "[Infinity, 0"),
        '{"format": "other"}',
        "[" * 9**5,
    ):
        place.write_text(damage)
        assert (look(), sorted(asked)) == (30, ["0.mkv", "1.mkv"])
        assert json.loads(place.read_text()) == json.loads(whole)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")  # cannot be written
    assert (look(), sorted(asked)) == (30, ["0.mkv", "1.mkv"])


def test_a_killed_count_goes_on_where_it_was(tmp_path, monkeypatch):
    for i in range(5):
        save(tmp_path / f"{i}.mkv")
    paths = [str(tmp_path / f"{i}.mkv") for i in range(5)]
    monkeypatch.setattr(video_index, "_BATCH", 2)

    def killed(path):
        if path.endswith("4.mkv"):
            raise KeyboardInterrupt
        return probe(path)

    with pytest.raises(KeyboardInterrupt):
        probe_all(tmp_path, paths, probe=killed)
    asked = []
    probe_all(tmp_path, paths, probe=lambda path: asked.append(path[-5:]) or probe(path))
    assert asked == ["4.mkv"]


def test_what_does_not_fit_into_memory_is_decoded_on_demand(tmp_path, monkeypatch):
    made = [save(tmp_path / f"a/{i}.mkv", seed=i) for i in range(5)]
    in_memory = load(tmp_path, "train", frames=4, clips=2)
    monkeypatch.setattr(reading, "MOST_MEMORY", 100)
    data = load(tmp_path, "train", frames=4, clips=2)
    assert isinstance(data._pixels, reading.FileSource)
    assert data.ids == in_memory.ids
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    assert torch.equal(data.raw(rows), in_memory.raw(rows))
    assert data.raw([]).shape == (0, 3, 4, 6, 8)
    assert torch.equal(data.raw([1])[0], made[int(data.ids[1][2])][:, 16:])
    for path in tmp_path.rglob("*.mkv"):
        path.write_text("text")
    with pytest.raises(RefusedInput, match=r"no whole video .* remove or repair this file"):
        data.raw([0])


def test_samples_counts_clips_and_balances_classes(tmp_path):
    for i in range(12):
        save(tmp_path / f"test/{'ab'[i % 2]}/{i}.mkv", frames=3, height=2, width=2, seed=i)
    data = load(tmp_path, samples=8, clips=2)
    assert (len(data), data.labels.bincount().tolist()) == (8, [4, 4])
    assert data.ids == load(tmp_path, samples=8, clips=2).ids
    assert len(load(tmp_path, samples=5, clips=2)) == 5


def test_options_of_clips_are_refused_where_they_mean_nothing(tmp_path):
    for options in ({"frames": 0}, {"stride": 0}, {"clips": 0}, {"frames": 2**20}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}="):
            load(tmp_path, **options)


def test_real_clips(real_data):
    folder = real_data("weizmann")
    train, test = (load(folder, split) for split in ("train", "test"))
    assert train.classes == test.classes == ["bend", "jack", "wave1", "wave2"]
    assert (len(train) + len(load(folder, "val")), len(test)) == (24, 8)
    assert train.shape == (3, 16, 64, 64)
    assert not train.skipped
    assert torch.equal(train.raw(range(len(train))), load(folder, "train").raw(range(len(train))))
    path = next(folder.rglob("test/jack/s6.mp4"))
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    start = (len(frames) - 16) // 2
    row = test.ids.index("jack/s6.mp4")
    expected = torch.from_numpy(np.stack(frames[start : start + 16])).permute(3, 0, 1, 2)
    assert torch.equal(test.raw([row])[0], expected)


@pytest.mark.parametrize("codec", ["v.mp4 mpeg4", "v.avi mpeg4", "v.mkv ffv1", "v.gif gif"])
def test_random_damage_never_raises_anything_unforeseen(tmp_path, codec):
    name, _, codec = codec.partition(" ")
    whole = encode(tmp_path / name, codec, frames=4).read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 30)):
            content[place] = rng.integers(0, 256)
        (tmp_path / name).write_bytes(content[: rng.integers(1, len(whole) + 1)])
        try:
            head = probe(tmp_path / name)
            clip = read_clips(tmp_path / name, ImageForm(3, 8, 8), [range(head.frames)])
            assert clip.shape == (1, 3, head.frames, 8, 8)
            outcomes.add("read")
        except (ValueError, OSError):
            outcomes.add("refused")
    assert "refused" in outcomes
