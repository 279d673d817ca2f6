"""Every job of the command line, so small that it can be killed hundreds of times."""

from pathlib import Path

SMALL = ["--smoke", "--threads", "1", "--batch-size", "8"]
FEW = [*SMALL, "--test-samples", "24"]
CLIPS = [*SMALL, "--data", "moving-digits", "--frames", "4", "--test-samples", "8"]
TRAIN = ["--train-samples", "64"]


def jobs(given: Path) -> dict[str, list[str]]:
    """Return command lines by name.

    Args:
        given: a folder in which `prepare` has made weights and code files.
    """
    weights = ["--weights", str(given / "weights/checkpoints/round-000.safetensors")]
    clips = ["--weights", str(given / "clip-weights/checkpoints/round-000.safetensors")]
    attack, on_clips = ["attack", *FEW, *weights], ["attack", *CLIPS, *clips]
    encode, evaluate = ["compress", "encode", *FEW], ["compress", "evaluate", *FEW]
    return {
        "rounds": [
            "rounds", *FEW, *TRAIN, "--rounds", "2", "--patience", "0", "--epochs", "3",
            "--retrain-epochs", "2", "--attacks", "pgd", "generator:steps=3",
            "--attack-samples", "pgd=32", "generator=16", "--augmentation", "none",
            "--test-attacks", "pgd:steps=5", "fgsm", "--instances", "2",
        ],
        "rounds of clips": [
            "rounds", *CLIPS, "--train-samples", "16", "--rounds", "1", "--epochs", "1",
            "--attacks", "flicker:steps=3", "--attack-samples", "flicker=16",
            "--test-attacks", "fgsm", "--augmentation", "none",
        ],
        "fit": [
            "fit", *FEW, *TRAIN, "--epochs", "4", "--method", "trades", "--train-steps", "3",
            "--ema", "0.9", "--test-attacks", "pgd:steps=5", "fgsm",
        ],
        "attack": [*attack, "--attack", "pgd"],
        "attack generator": [*attack, "--attack", "generator"],
        "attack clips": [*on_clips, "--attack", "keyframe:steps=5"],
        "attack universal": [*attack, *TRAIN, "--attack", "universal:passes=4"],
        "attack sup": [*on_clips, "--train-samples", "16", "--attack", "sup:passes=3"],
        "attack atn": [*attack, *TRAIN, "--attack", "atn:passes=4"],
        "attack substitute": [*attack, *TRAIN, "--attack", "substitute:rounds=2"],
        "attack flicker-universal": [
            *on_clips, "--train-samples", "16", "--attack", "flicker-universal:passes=4",
        ],
        "evaluate": [
            "evaluate", *FEW, *TRAIN, "--attacks", "pgd:steps=10",
            "autoattack:version=custom,steps=5,targets=2,queries=60",
            "--corruptions", "glass_blur", "shot_noise",
            "--transfer", f"other={weights[1]}",
        ],
        "evaluate a defence": [
            "evaluate", *FEW, *weights, "--attacks", "pgd:steps=5",
            "--defence", "jpeg", "resize-pad:largest=1.3",
        ],
        "detect": ["detect", *FEW, *TRAIN, *weights, "--unseen-attacks", "fgsm"],
        "network": ["network", *FEW, *weights],
        "representation": [
            "representation", *FEW, *TRAIN, *weights, "--pairs", "6", "--batch-size", "4",
            "--attacks", "feature", "feature-fgsm", "--layers", "stage2.2", "stage3.2",
        ],
        "compress fit": ["compress", "fit", *SMALL, *TRAIN, "--network", "unet:width=4,epochs=3"],
        "compress fit delta": ["compress", "fit", *SMALL, *TRAIN, *weights, "--kind", "delta"],
        "compress encode": [*encode, *TRAIN],
        "compress encode delta": [*encode, *TRAIN, *weights, "--kind", "delta"],
        "compress encode x-task": [*encode, *TRAIN, *weights, "--kind", "x-task"],
        "compress decode": [
            "compress", "decode", "--threads", "1", "--code", str(given / "codes/codes"),
            "--codec", str(given / "codes/codec.sprt"),
        ],
        "compress evaluate": [
            *evaluate, "--train-samples", "300", "--rates", "10", "--peers", "jpeg",
            "--kinds", "x", "delta", "--attack", "fgsm:eps=0.1",
        ],
    }  # fmt: skip


def preparations(given: Path) -> list[list[str]]:
    """Return the command lines that make what some jobs are given."""
    first = ["--rounds", "0", "--epochs", "6", "--attacks", "pgd", "--test-attacks", "fgsm"]
    return [
        ["rounds", *SMALL, *TRAIN, *first, "--run-dir", str(given / "weights")],
        [
            "rounds", *CLIPS, "--train-samples", "32", *first, "--epochs", "2",
            "--run-dir", str(given / "clip-weights"),
        ],
        ["compress", "encode", *FEW, *TRAIN, "--run-dir", str(given / "codes")],
    ]  # fmt: skip
