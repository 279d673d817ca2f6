"""Put a classifier that was fitted into the zoo, and note on its card what was measured of it.

    python train.py fit --method pgd-at --run-dir runs/fit
    python benchmarks/zoo.py NAME --weights runs/fit/checkpoints/round-000.safetensors [--half]
    python train.py evaluate --model zoo:NAME --attacks pgd:steps=50 autoattack --run-dir runs/test
    python benchmarks/zoo.py NAME --figures runs/test

The card names the network, the samples that it takes, the command that made it and the commit.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

# This file's folder comes first on the path, and has an attacks.py of its own.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from augment import load_dataset
from trainers import load_classifier
from trainers.models.sources.zoo import FOLDER
from trainers.run.cli.presets import budget

RATES = ("budget", "robust_accuracy", "robust_accuracy_interval")
PLACES = ("--run-dir", "--device", "--threads")  # options of where, which say nothing of what


def make_card(weights: Path, *, data: str | None) -> dict[str, Any]:
    """Describe the weights of a run, which are in its folder `checkpoints`.

    Args:
        weights: the file.
        data: how to call the samples; None takes the run's own word without its folder.
    """
    run = weights.resolve().parents[1]
    options = tomllib.loads((run / "config.toml").read_text())
    samples = load_dataset(options["data"], "test", channels=options.get("channels"))
    model = options.get("model", "smallcnn")
    channels, *size = samples.shape
    network = load_classifier(
        model, num_classes=samples.num_classes, weights=weights, in_channels=channels,
        image_size=size,
    )  # fmt: skip
    norm = options.get("train-norm", options["norm"])
    return {
        "model": model,
        "num_classes": samples.num_classes,
        "in_channels": channels,
        "image_size": size,
        "parameters": sum(p.numel() for p in network.parameters()),
        "data": data or options["data"].partition(":")[0],
        "norm": norm,
        "eps": options.get("train-eps", options.get("eps", budget(options["data"], norm))),
        "command": command_of(run),
        "seed": options["seed"],
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "torch": torch.__version__.partition("+")[0],
    }


def read_figures(run: Path) -> dict[str, Any]:
    """Return what an `evaluate` run measured."""
    summary = json.loads((run / "summary.json").read_text())
    attacks = {name: {key: each[key] for key in RATES} for name, each in summary["attacks"].items()}
    names = ("samples", "clean_accuracy", "clean_accuracy_interval", "worst_case")
    return {"command": command_of(run)} | {n: summary[n] for n in names} | {"attacks": attacks}


def command_of(run: Path) -> str:
    """Return the command of a run, without options of where it ran."""
    words = shlex.split((run / "command.txt").read_text())
    first = next(i for i, word in enumerate(words) if Path(word).name in ("train.py", "sparring"))
    words = ["python", "train.py", *words[first + 1 :]]
    drop = {i + k for i, word in enumerate(words) if word in PLACES for k in (0, 1)}
    return shlex.join(_placeless(word) for i, word in enumerate(words) if i not in drop)


def _placeless(word: str) -> str:
    """Leave out where a folder or file lay.

    >>> _placeless("cifar10:/data/cifar"), _placeless("/runs/1/weights.pt"), _placeless("8/255")
    ('cifar10:DIR', 'weights.pt', '8/255')
    """
    kind, mark, place = word.partition(":")
    if mark and place.startswith(("/", "~", ".")):
        return f"{kind}:DIR"
    return Path(word).name if word.startswith(("/", "~", ".")) else word


def write_weights(source: Path, file: Path, *, half: bool) -> None:
    """Copy weights, of convolutions and linear layers in half precision if asked."""
    tensors = load_file(source)
    if half:
        tensors = {key: v.half() if v.ndim > 1 else v for key, v in tensors.items()}
    save_file(tensors, file)


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main(words: Sequence[str] | None = None) -> None:
    """Add weights with a card, or figures to the card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--weights", type=Path, help="checkpoints/round-NNN.safetensors of a run")
    parser.add_argument("--half", action="store_true", help="keep 16 bits of each number")
    parser.add_argument("--data", help="how to call the samples")
    parser.add_argument("--figures", type=Path, help="folder of an evaluate run")
    args = parser.parse_args(words)
    file = FOLDER / f"{args.name}.json"
    card = json.loads(file.read_text()) if file.exists() else {}
    if args.weights:
        card = make_card(args.weights, data=args.data)
        write_weights(args.weights, file.with_suffix(".safetensors"), half=args.half)
    if args.figures:
        card |= {"figures": read_figures(args.figures)}
    file.write_text(json.dumps(card, indent=2) + "\n")
    print(file)


if __name__ == "__main__":
    main()
