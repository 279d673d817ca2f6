"""Time the transform and the codec against PyWavelets, ptwt, general compressors and JPEG.

    python benchmarks/compress.py [--data imagefolder:DIR] [--output FILE]

Everything runs on one thread, ours and the peer's in turn; ratios are medians over rounds. Who
is not there is left out. Sizes are of whole files; JPEG's are of its scan data, with optimised
Huffman tables, which are not counted.
"""

import argparse
import io
import json
import lzma
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pywt
import torch
from PIL import Image
from torch import Tensor

from augment import load_dataset
from benchmarks.measure import machine
from compress import Codec, dwt, idwt
from compress.file_format import parse
from compress.quantise.quantise import to_array
from compress.quantise.signals import to_signal

Job = Callable[[], Any]
WAVELET, LEVELS = "bior4.4", 3


def main() -> None:
    """Measure everything, print it and write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10:data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/compress.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    train = load_dataset(options.data, "train", samples=2000).stack(range(2000))[0]
    test = load_dataset(options.data, "test", samples=2000).stack(range(2000))[0]
    codec = Codec.fit(train)
    report = {
        "machine": machine("cpu"),
        "transform": transforms(test, options.rounds),
        "codec": speeds(codec, test, options.rounds),
        "sizes": sizes(codec, test),
        "jpeg": against_jpeg(codec, test),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2))
    for name, part in report.items():
        print(f"\n{name}")
        for key, value in part.items():
            print(f"  {key:34} {value}")


def ratio(ours: Job, theirs: Job, rounds: int) -> dict[str, float]:
    """Return the median times of both, in milliseconds, and of their ratios."""
    times = []
    for _ in range(rounds + 1):
        pair = []
        for job in (ours, theirs):
            start = time.perf_counter()
            job()
            pair.append(1000 * (time.perf_counter() - start))
        times.append(pair)
    times = times[1:]  # the first warms up
    mine, other = (median(t[i] for t in times) for i in (0, 1))
    return {"ms": round(mine, 2), "peer ms": round(other, 1),
            "peer / ours": round(median(b / a for a, b in times), 1)}  # fmt: skip


def transforms(x: Tensor, rounds: int) -> dict[str, Any]:
    """Time forward and inverse transforms of 256 images, and of 16 clips."""
    warnings.simplefilter("ignore")  # PyWavelets' about levels
    x = x[:256]
    clips = x[:240].reshape(16, 15, 3, 32, 32).transpose(1, 2).contiguous()

    def ours(x: Tensor, **options: Any) -> Job:
        return lambda: idwt(dwt(x, wavelet=WAVELET, levels=LEVELS, **options))

    def loop() -> None:
        for plane in x.flatten(0, 1).numpy():
            c = pywt.wavedec2(plane, WAVELET, "periodization", LEVELS)
            pywt.waverec2(c, WAVELET, "periodization")

    out = {"256 images, loop over PyWavelets": ratio(ours(x), loop, rounds)}
    if not find_spec("ptwt"):
        return out | {"ptwt": "not installed"}
    import ptwt

    out["256 images, ptwt"] = ratio(
        ours(x), lambda: ptwt.waverec2(ptwt.wavedec2(x, WAVELET, level=LEVELS), WAVELET), rounds
    )
    video = clips.flatten(0, 1)
    out["16 clips of 15 frames, ptwt"] = ratio(
        ours(clips),
        lambda: ptwt.waverec3(ptwt.wavedec3(video, WAVELET, level=LEVELS), WAVELET),
        rounds,
    )
    return out


def speeds(codec: Codec, x: Tensor, rounds: int) -> dict[str, Any]:
    """Return images a second at 50 bytes."""
    file = codec.encode(x, bytes_per_sample=50)
    step = parse(file).head.step
    pair = ratio(lambda: codec.encode(x, step=step), lambda: codec.decode(file), rounds)
    return {
        "bytes a sample": round(len(file) / len(x), 1),
        "encoded a second": round(1000 * len(x) / pair["ms"]),
        "decoded a second": round(1000 * len(x) / pair["peer ms"]),
    }


def sizes(codec: Codec, x: Tensor) -> dict[str, Any]:
    """Compare whole files with general compressors on the same whole numbers, band by band."""
    out = {}
    for step in (0.1, 0.3, 0.5, 0.8):
        q = codec.quantise_signal(to_signal(x, "x", None), step)
        whole = to_array(q).clip(-128, 127).astype(np.int8)
        data = b"".join(np.ascontiguousarray(whole[(..., *b.where)]).tobytes() for b in q.bands)
        general = {"xz": len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))}
        if find_spec("zstandard"):
            import zstandard

            general["zstd"] = len(zstandard.ZstdCompressor(level=19).compress(data))
        if find_spec("brotli"):
            import brotli

            general["brotli"] = len(brotli.compress(data))
        best = min(general, key=general.__getitem__)
        size = len(codec.encode(x, step=step))
        out[f"{size / len(x):.1f} bytes"] = f"{size / general[best]:.3f} of {best}"
    return out


def against_jpeg(codec: Codec, x: Tensor) -> dict[str, Any]:
    """Return by how many dB ours leads at the bytes of JPEG's scan data."""
    pixels = (x * 255).round().byte().permute(0, 2, 3, 1).numpy()
    out = {}
    for quality in (4, 6, 8, 10):
        found = [jpeg(image, quality) for image in pixels]
        size, theirs = (float(np.mean([f[i] for f in found])) for i in (0, 1))
        file = codec.encode(x, bytes_per_sample=size)
        error = ((codec.decode(file) - x) ** 2).flatten(1).mean(1)
        ours = -10 * torch.log10(error).mean().item()
        out[f"{size:.1f} bytes (ours {len(file) / len(x):.1f})"] = (
            f"JPEG {theirs:.2f} dB, ours {ours:.2f} dB: {ours - theirs:+.2f}"
        )
    return out


def jpeg(image: Any, quality: int) -> tuple[int, float]:
    """Return the bytes of the scan data and the PSNR, with halved chroma, the better here."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=2, optimize=True)
    data = file.getvalue()
    scan = data.index(b"\xff\xda")
    size = len(data) - 2 - scan - 2 - int.from_bytes(data[scan + 2 : scan + 4], "big")
    back = np.asarray(Image.open(io.BytesIO(data))).astype(float)
    return size, float(-10 * np.log10(((back - image) ** 2).mean() / 255**2))


if __name__ == "__main__":
    main()
