"""The few numbers that a run comes to, by its summary.json: what reports and lists show first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainers.run.show.text_table import percent

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Headline:
    """A number that a run comes to.

    Attributes:
        name: what it is, such as "clean accuracy".
        value: the number; None where it is undefined.
        interval: the 95 % interval of a share; None for a number that has none.
        of: of what, such as "360 test samples".
        before: the same before the run changed anything, as text; "" where that is not so.
        form: how the number is written.
        unit: what follows it.
    """

    name: str
    value: float | None
    interval: Sequence[float] | None = None
    of: str = ""
    before: str = ""
    form: str = ".1%"
    unit: str = ""

    @property
    def number(self) -> str:
        """The number alone."""
        return "-" if self.value is None else f"{self.value:{self.form}}{self.unit}"

    @property
    def range(self) -> str:
        """The interval of a share in whole percent, rounded outwards; "" for none."""
        if self.value is None or self.interval is None:
            return ""
        low, high = percent(self.value, self.interval).split("(")[1].rstrip(")").split("-")
        return f"{low} to {high} %"

    @property
    def text(self) -> str:
        """The number with its interval, for a cell.

        >>> Headline("clean", 0.5, (0.301, 0.699)).text, Headline("PSNR", 30.0, form=".1f").text
        ('50.0% (30-70)', '30.0')
        """
        if self.interval is None:
            return self.number
        return percent(self.value, self.interval)


def headlines(summary: Row) -> list[Headline]:
    """Return the numbers that a run of any job comes to, the most telling first.

    Args:
        summary: its summary.json.
    """
    return HEADLINES[summary["job"]](summary)


def total_seconds(summary: Row) -> float | None:
    """Return the seconds that the work of a run took; None where its job does not note them."""
    if "seconds" in summary:
        return float(summary["seconds"])
    attacks = summary.get("attacks")
    if not isinstance(attacks, dict):
        return None
    noted = [*attacks.values(), summary.get("fitting", {})]
    known = [float(each["seconds"]) for each in noted if "seconds" in each]
    return sum(known) if known else None


def _rounds(summary: Row) -> list[Headline]:
    first, best = summary["rounds"][0], summary["rounds"][summary["best_round"]]
    test = f"{best['samples']} test samples" if best.get("samples") else "the test samples"
    names = {
        "worst case accuracy": ("worst_case", test),
        "clean accuracy": ("clean_accuracy", test),
        f"{best['attack']} succeeds": ("attack_success", _attackable(best)),
    }
    return [
        Headline(
            name,
            best[key],
            best.get(f"{key}_interval"),
            of,
            f"round 0: {percent(first[key], first.get(f'{key}_interval'))}",
        )
        for name, (key, of) in names.items()
    ]


def _measured(summary: Row) -> list[Headline]:
    """Return the numbers of attacks measured: `evaluate` and `fit`."""
    of = f"{summary['samples']} test samples"
    found = [
        Headline(f"worst case at {case['budget']}", case["accuracy"], case["interval"], of)
        for case in summary["worst_cases"][:1]
    ]
    if not found:
        name = min(
            summary["attacks"], key=lambda n: float(summary["attacks"][n]["robust_accuracy"])
        )
        m = summary["attacks"][name]
        interval = m.get("robust_accuracy_interval")
        found = [Headline(f"accuracy under {name}", m["robust_accuracy"], interval, of)]
    interval = summary.get("clean_accuracy_interval")
    return [*found, Headline("clean accuracy", summary["clean_accuracy"], interval, of)]


def _attack(summary: Row) -> list[Headline]:
    name = summary["attack"].partition(":")[0]
    clean, kept = summary["clean_accuracy"], summary["saved"]
    return [
        Headline(f"{name} succeeds", summary["success"], summary["success_interval"],
                 _attackable(summary)),
        Headline("right before", clean, summary["clean_accuracy_interval"],
                 f"{summary['samples']} samples"),
        Headline("still fool in bytes", kept["survive_share"], kept["survive_interval"],
                 f"{kept['found']} fooled"),
        Headline("median change (l2)", summary["median_l2"], None,
                 f"{summary['fooled']} fooled", form=".3f"),
    ]  # fmt: skip


def _detect(summary: Row) -> list[Headline]:
    known = next(each for each in summary["attacks"].values() if each["kind"] == "knows it")
    rates = {
        "gets through, knowing it": known["gets_through"],
        "clean samples refused": summary["clean_refused"],
        "clean accuracy": summary["clean_accuracy"],
    }
    return [
        Headline(name, one["rate"], one["interval"], f"{one['of']} samples")
        for name, one in rates.items()
    ]


def _explain(summary: Row) -> list[Headline]:
    if not summary["methods"]:
        return []
    name, best = max(summary["methods"].items(), key=lambda pair: pair[1]["insertion"] or 0)
    of = f"{summary['samples']} samples"
    return [
        Headline(f"insertion, best: {name}", best["insertion"], None, of, form=".3f"),
        Headline(f"deletion of {name}", best["deletion"], None, of, form=".3f"),
    ]


def _network(summary: Row) -> list[Headline]:
    parts = summary["parts"]
    found = [Headline("parts looked at", len(parts), None, "the network", form="d")]
    if near := parts.get("neighbours"):
        share = near["same_class"] / near["neighbours"] if near["neighbours"] else None
        found.append(Headline("neighbours of the same class", share, None, near["layer"]))
    return found


def _representation(summary: Row) -> list[Headline]:
    first = next(trial for trial in summary["trials"] if trial["compared"])
    label, ratio = first["guide_label"], first["columns"]["guide_ratio"]["median"]
    found = [
        Headline("distance left to the guide", ratio, None, f"{summary['pairs']} pairs", form=".2f")
    ]
    if label:
        of = f"{label['of']} adversaries"
        found.append(Headline("get the guide's label", label["rate"], label["interval"], of))
    return found


def _compress_fit(summary: Row) -> list[Headline]:
    of = f"{summary['samples']} {'samples' if summary['kind'] == 'x' else 'differences'}"
    return [Headline("codec", summary["bytes"], None, of, form=",", unit=" bytes")]


def _compress_encode(summary: Row) -> list[Headline]:
    of = f"{summary['samples']} samples"
    found = [
        Headline("a sample", summary["bytes_per_sample"], None, of, form=".1f", unit=" bytes"),
        Headline("PSNR", summary["psnr"], None, of, form=".2f", unit=" dB"),
    ]
    kept, interval = summary["top1_kept"], summary.get("top1_kept_interval")
    return found if kept is None else [*found, Headline("answers kept", kept, interval, of)]


def _compress_decode(summary: Row) -> list[Headline]:
    return [Headline("decoded", summary["samples"], None, f"{summary['bytes']:,} bytes", form="d")]


def _compress_evaluate(summary: Row) -> list[Headline]:
    codecs = {row["codec"] for row in summary["points"]}
    of = f"{summary['samples']} test samples" if summary.get("samples") else ""
    return [
        Headline("points measured", len(summary["points"]), None, of, form="d"),
        Headline("codecs compared", len(codecs), None, of, form="d"),
    ]


def _attackable(row: Row) -> str:
    """Say of how many samples a success is."""
    return f"{row['attackable']} that could be attacked"


HEADLINES: dict[str, Callable[[Row], list[Headline]]] = {
    "rounds": _rounds,
    "fit": _measured,
    "evaluate": _measured,
    "attack": _attack,
    "detect": _detect,
    "explain": _explain,
    "network": _network,
    "representation": _representation,
    "compress-fit": _compress_fit,
    "compress-encode": _compress_encode,
    "compress-decode": _compress_decode,
    "compress-evaluate": _compress_evaluate,
}
