"""Train R on exactly the samples to be transmitted, and count its own bytes in the rate.

    python examples/memorise.py --output OUT
    python examples/memorise.py --output OUT --data imagefolder:DIR --known 64 1024 --bytes 40
    python examples/memorise.py --output OUT --data videofolder:DIR --known 1 --bytes 400 --delta

The memorise mode of Rey-de-Castro & Rabitz 2018, section 5.4. For each size of the known set and
each width of R: the PSNR of plain files, of the same files with R, and of plain files that are as
large as those and R together. With --delta, as published, the files hold the difference to
samples that a generator perturbed. Prints a table and writes memorise.json.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from attacks import LearnedGenerator
from augment import Dataset, load_dataset
from compress import Codec
from compress.file_format import Kind, parse
from trainers import (
    FitOptions,
    ReconstructionOptions,
    fit_classifier,
    fit_network,
    load_classifier,
    network_bytes,
)
from trainers.evaluate.evaluation import predict
from trainers.evaluate.quality import psnr
from trainers.run.folder.atomic import write_json

Row = dict[str, float]
FINE = 0.002  # a step at which nothing is seen of the coding


def main() -> None:
    """Memorise sets and measure them."""
    args = parsed()
    args.output.mkdir(parents=True, exist_ok=True)
    ds = load_dataset(args.data, "train", size=args.size, stride=args.stride)
    order = torch.randperm(len(ds), generator=torch.Generator().manual_seed(0))
    x = ds.stack(order[: max(args.known)])[0]
    codec = Codec.fit(ds.stack(order[-args.fitted :])[0])
    found = []
    x_adv = perturbed(args, ds, x) if args.delta else None
    for row in rows(args, codec, x, x_adv):
        print("  ".join(f"{name} {value:.6g}" for name, value in row.items()), flush=True)
        found.append(row)
    facts = {"data": args.data, "batches": args.batches, "torch": torch.__version__}
    write_json(args.output / "memorise.json", facts | {"rows": found})


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", required=True, type=Path, help="folder for what is made")
    parser.add_argument("--data", default="digits", help="or imagefolder:DIR, videofolder:DIR")
    parser.add_argument("--size", type=int, help="side of the samples")
    parser.add_argument("--stride", type=int, default=1, help="of the frames of a clip")
    parser.add_argument("--fitted", type=int, default=500, help="samples the codec is fitted to")
    parser.add_argument("--known", type=int, nargs="+", default=[16, 256], help="sizes of sets")
    parser.add_argument("--bytes", type=float, nargs="+", default=[12.0], help="of a sample's code")
    parser.add_argument("--delta", action="store_true", help="code the difference alone")
    parser.add_argument("--generator-steps", type=int, default=30, help="of what perturbs")
    parser.add_argument("--widths", type=int, nargs="+", default=[2, 4, 8], help="of R")
    parser.add_argument("--depth", type=int, default=1, help="of R")
    parser.add_argument("--batch-size", type=int, default=32, help="of its training")
    parser.add_argument("--batches", type=int, default=1500, help="that R is trained on")
    parser.add_argument("--bf16", action="store_true", help="train R in bfloat16")
    return parser.parse_args()


def perturbed(args: argparse.Namespace, ds: Dataset, x: Tensor) -> Tensor:
    """Train a small classifier, and perturb samples until it errs."""
    torch.manual_seed(0)
    name = "c3d-small" if ds.is_video else "smallcnn"
    model = load_classifier(name, num_classes=ds.num_classes, in_channels=ds.shape[0])
    fit_classifier(model, ds.subset(range(min(len(ds), 2000))), FitOptions(epochs=4), seed=0)
    attack = LearnedGenerator(steps=args.generator_steps)
    parts = [attack(model, part, predict(model, part).argmax(1)) for part in x.split(64)]
    flipped = torch.cat([part.success for part in parts]).float().mean()
    print(f"{flipped:.2f} of the samples are seen as something else", flush=True)
    return torch.cat([part.x_adv for part in parts])


def rows(args: argparse.Namespace, codec: Codec, x: Tensor, x_adv: Tensor | None) -> Iterator[Row]:
    """Memorise the first samples of x with each width of R, at each rate."""
    for count, size in ((n, b) for n in args.known for b in args.bytes):
        some, coder = x[:count], codec
        kind: Kind = "x" if x_adv is None else "delta"
        given = {} if x_adv is None else {"x_adv": x_adv[:count]}
        if given:
            coder = Codec.fit(some, step=0.01, kind=kind, **given)
        file = coder.encode(some, kind=kind, bytes_per_sample=size, **given)
        for width in args.widths:
            batches = -(-count // args.batch_size)
            options = ReconstructionOptions(
                width=width, depth=args.depth, batch_size=args.batch_size, memorise=True,
                bf16=args.bf16, epochs=-(-args.batches // batches),
            )  # fmt: skip
            steps = [parse(file).head.step]
            fit = fit_network(coder, some, options, steps=steps, kind=kind, **given)
            total = len(file) + network_bytes(fit.network)
            restored = coder.decode(file, network=fit.network)
            yield {
                "samples": count,
                "width": width,
                "code": len(file) / count,
                "network": network_bytes(fit.network),
                "total": total / count,
                "plain": fit.gate[0]["plain_psnr"],
                "restored": psnr(restored, some).mean().item(),
                "plain_as_large": quality(codec, as_large(codec, some, total), some),
            }


def as_large(codec: Codec, x: Tensor, size: int) -> bytes:
    """Return a plain file of so many bytes, or fewer where nothing finer can be seen."""
    finest = codec.encode(x, step=FINE)
    if len(finest) <= size:
        return finest
    plain = codec.encode(x)
    head = len(plain) - round(parse(plain).payload * len(x))
    return codec.encode(x, bytes_per_sample=(size - head) / len(x))


def quality(codec: Codec, file: bytes, x: Tensor) -> float:
    """Return the mean PSNR of a file of samples x."""
    return psnr(codec.decode(file), x).mean().item()


if __name__ == "__main__":
    main()
