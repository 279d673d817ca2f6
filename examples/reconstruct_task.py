"""Train R for files whose bits a classifier M chose (x-task), and ask another what it sees.

    python examples/reconstruct_task.py --output OUT
    python examples/reconstruct_task.py --output OUT --data imagefolder:DIR --step 0.8

Plain files of as many bytes are beside them, R is trained for both, with and without a task term
for M. The judge knows nothing of M. Prints a table and writes reconstruct-task.json.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augment import Dataset, load_dataset
from compress import BlendWeight, Codec
from compress.file_format import parse
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

Row = dict[str, Any]


def main() -> None:
    """Measure both kinds of files."""
    args = parsed()
    args.output.mkdir(parents=True, exist_ok=True)
    whole = load_dataset(args.data, "train")
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    model, judge = classifiers(args, whole, order)
    train, _ = whole.stack(order[: args.samples])
    tests = load_dataset(args.data, "test", samples=args.test_samples)
    test, y = tests.stack(range(len(tests)))
    codec = Codec.fit(train[:1000])
    task = codec.encode(test, kind="x-task", model=model, step=args.step)
    plain = codec.encode(test, bytes_per_sample=parse(task).payload)
    rows = [seen("the images", test, test, y, (model, judge))]
    for file in (plain, task):
        for row in measured(args, codec, file, train, test, y, (model, judge)):
            print(
                "  ".join(f"{k} {v:.4g}" if k != "name" else v for k, v in row.items()), flush=True
            )
            rows.append(row)
    write_json(args.output / "reconstruct-task.json", {"rows": rows, "torch": torch.__version__})


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", required=True, type=Path, help="folder for what is made")
    parser.add_argument("--data", default="digits", help="or imagefolder:DIR")
    parser.add_argument("--model", default="smallcnn", help="M, for which bits are chosen")
    parser.add_argument("--weights", type=Path, help="of M; otherwise it is trained")
    parser.add_argument("--judge", default="smallcnn", help="a classifier of other images")
    parser.add_argument("--judge-weights", type=Path, help="of it; otherwise it is trained")
    parser.add_argument("--model-samples", type=int, default=500, help="to train each on")
    parser.add_argument("--samples", type=int, default=800, help="train R on so many images")
    parser.add_argument("--test-samples", type=int, default=200, help="measure on so many others")
    parser.add_argument("--step", type=float, default=1.0, help="of the quantiser of x-task files")
    parser.add_argument("--width", type=int, default=16, help="of R")
    parser.add_argument("--epochs", type=int, default=8, help="of R")
    parser.add_argument("--task", type=float, default=1.0, help="weight of R's task term")
    parser.add_argument("--bf16", action="store_true", help="train R in bfloat16")
    return parser.parse_args()


def classifiers(
    args: argparse.Namespace, whole: Dataset, order: Tensor
) -> tuple[nn.Module, nn.Module]:
    """Return M and the judge, read from files or each trained on images of its own."""
    models = []
    for name, weights, rows in zip(
        (args.model, args.judge),
        (args.weights, args.judge_weights),
        torch.split(order, args.model_samples),
        strict=False,
    ):
        torch.manual_seed(0)
        given = {"weights": weights, "in_channels": whole.shape[0]}
        model = load_classifier(name, num_classes=whole.num_classes, **given)
        if weights is None:
            fit_classifier(model, whole.subset(rows), FitOptions(epochs=8), seed=0)
        models.append(model)
    return models[0], models[1]


def measured(
    args: argparse.Namespace,
    codec: Codec,
    file: bytes,
    train: Tensor,
    test: Tensor,
    y: Tensor,
    models: tuple[nn.Module, nn.Module],
) -> list[Row]:
    """Decode a file of test images plainly, and by R with and without a task term and a gate."""
    head = parse(file).head
    decoded = codec.decode(file)
    size = {"bytes": len(file) / len(test)}
    rows = [seen(head.kind, decoded, test, y, models) | size]
    base = ReconstructionOptions(width=args.width, epochs=args.epochs, bf16=args.bf16)
    for options in (base, replace(base, task=args.task)):
        model = models[0] if options.task or head.kind == "x-task" else None
        fit = fit_network(
            codec, train, options, steps=[head.step], kind=head.kind, classifier=model
        )  # fmt: skip
        name = f"{head.kind} + R" + (", task" if options.task else "")
        more = size | {"network": network_bytes(fit.network)}
        for ending, gate in (
            ("", fit.network.blend_weight),
            (", no gate", BlendWeight((head.step,), (1.0,))),
        ):
            fit.network.blend_weight = gate
            got = fit.network.restore(decoded, head.step)
            share = {"share": gate.at(head.step)}
            rows.append(seen(name + ending, got, test, y, models) | more | share)
    return rows


def seen(name: str, got: Tensor, x: Tensor, y: Tensor, models: tuple[nn.Module, nn.Module]) -> Row:
    """Say how near images are to x (PSNR), and how often M and the judge are right on them."""
    model, judge = (
        (torch.cat([predict(m, part) for part in got.split(128)]).argmax(1) == y).float().mean()
        for m in models
    )
    return {
        "name": name,
        "psnr": psnr(got, x).mean().item(),
        "model": model.item(),
        "judge": judge.item(),
    }


if __name__ == "__main__":
    main()
