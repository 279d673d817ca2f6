"""What became of samples that were led to the representations of others, as text and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainers.run.show.text_table import IN_BRACKETS, format_table, percent

Row = Mapping[str, Any]
Rows = Sequence[Mapping[str, str]]
REPRESENTATION_TERMS = {
    "s, g, x": "a source, its guide, and the adversary that was made of the source; d is the "
    "Euclidean distance of their representations in the layer",
    "guide's label": "share of the adversaries that the classifier calls what it calls the guide; "
    f"{IN_BRACKETS}",
    "d(x,g)/d(s,g)": "what is left of the way to the guide: 0 at the guide, 1 as far as the "
    "source; this and all below: the median, in brackets the quartiles",
    "random weights": "the same in a copy of the classifier with random orthonormal weights",
    "d(x,s)/class": "how far an adversary was moved, by the mean distance of two samples of the "
    "source's class",
    "d(x,g)/nearest": "how near it came, by the mean distance of a sample of the guide's class "
    "to its nearest one: up to 1 is as near as natural samples come",
    "rank": "share of the guide's class that is nearer to its 3 nearest neighbours in it: 0 "
    "in the middle of the class, 1 outside; change: the adversary's less the guide's",
    "shared of 3": "how many of the 3 nearest neighbours of the adversary are the guide's, and the "
    "source's",
    "log-likelihood": "in nats, less the guide's own, in a Gaussian (probabilistic PCA) of the "
    "guide's neighbours: of the adversary, of its source, of near members of the class that the "
    "model does not know, and of its farthest",
    "angle": "mean cosine between the directions from the guide to a point and to the guide's "
    "neighbours",
    "active units": "share of the layer's values above 0: the adversary's less the source's and "
    "the guide's; IoU: the intersection over union of its active units with theirs",
}
TO_GUIDE, RANDOM, MOVED, NEAREST = list(REPRESENTATION_TERMS)[2:6]


def representation_table(summary: Row) -> str:
    """Return distances and labels, then neighbourhoods, of each attack, layer and budget."""
    return "\n".join(
        [
            format_table(distance_rows(summary, brief=True)),
            "",
            format_table(inside_rows(summary)),
            f"{summary['pairs']} pairs; {known_line(summary)}",
        ]
    )


def known_line(summary: Row) -> str:
    """Say which samples are the measure of what is typical."""
    counts = sorted({trial["references"] for trial in summary["trials"]})
    many = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    line = f"compared with {many} {summary['reference_split']} samples"
    layers = {trial["layer"]: trial["one_class"] for trial in summary["trials"]}
    few = [layer for layer, one in layers.items() if one]
    if not few:
        return f"{line} by their classes"
    where = "" if len(few) == len(layers) else f" in {', '.join(few)}"
    return (
        f"{line}{where}, all as one class: most guides' classes have fewer than "
        f"{summary['least_of_class']} of them"
    )


def distance_rows(summary: Row, *, brief: bool = False) -> Rows:
    """Return the table of labels and distances; a brief one has quartiles of those alone left."""
    show = (lambda columns, name: middle(columns, name, ".2f")) if brief else spread
    random = {key_of(t): t["columns"] for t in summary["trials"] if not t["trained"]}
    rows = []
    for trial in trained(summary):
        label, columns = trial["guide_label"], trial["columns"]
        beside = {RANDOM: spread(random.get(key_of(trial)), "guide_ratio")} if random else {}
        rows.append(
            named(trial)
            | {
                "guide's label": percent(label["rate"], label["interval"]) if label else "-",
                TO_GUIDE: spread(columns, "guide_ratio"),
                **beside,
                MOVED: show(columns, "source_ratio"),
                NEAREST: show(columns, "nearest_ratio"),
                "seconds": f"{trial['seconds']:.1f}",
            }
        )
    return rows


def inside_rows(summary: Row) -> Rows:
    """Return the short table of what surrounds the adversaries, medians alone."""
    return [
        named(trial)
        | {
            "rank change": middle(columns, "rank_change", "+.2f"),
            "shared of 3": mean(columns, "shared_with_guide"),
            "log-likelihood": middle(columns, "likelihood", ",.0f"),
            "near": middle(columns, "likelihood_near", ",.0f"),
            "far": middle(columns, "likelihood_far", ",.0f"),
            "angle": middle(columns, "angle", "+.2f"),
            "IoU guide": middle(columns, "iou_guide", ".2f"),
            "IoU source": middle(columns, "iou_source", ".2f"),
        }
        for trial in trained(summary)
        for columns in [trial["columns"]]
    ]


def neighbour_rows(summary: Row) -> Rows:
    """Return the table of ranks, neighbours and angles."""
    return [
        named(trial)
        | {
            "rank of the guide": spread(columns, "rank_guide"),
            "rank of the adversary": spread(columns, "rank_adversary"),
            "change": spread(columns, "rank_change"),
            "shared of 3 with the guide (mean)": mean(columns, "shared_with_guide"),
            "with the source (mean)": mean(columns, "shared_with_source"),
            "all 3 the guide's": share(columns, "same_neighbours"),
            "angle": spread(columns, "angle"),
            "near": spread(columns, "angle_near"),
            "far": spread(columns, "angle_far"),
        }
        for trial in trained(summary)
        for columns in [trial["columns"]]
    ]


def likelihood_rows(summary: Row) -> Rows:
    """Return the table of log-likelihoods."""
    names = {"adversary": "", "source": "_source", "near": "_near", "far": "_far"}
    return [
        named(trial)
        | {
            name: spread(trial["columns"], f"likelihood{end}", ",.0f")
            for name, end in names.items()
        }
        for trial in trained(summary)
    ]


def active_rows(summary: Row) -> Rows:
    """Return the table of active units."""
    names = {
        "active in the source": "active_source",
        "in the guide": "active_guide",
        "in the adversary": "active_adversary",
        "IoU with the source": "iou_source",
        "IoU with the guide": "iou_guide",
    }
    return [
        named(trial) | {name: spread(trial["columns"], key) for name, key in names.items()}
        for trial in trained(summary)
    ]


def inversion_rows(summary: Row) -> Rows:
    """Return the table of how well samples were rebuilt."""
    return [
        {"layer": layer} | {f"relative error, {kind}": f"{e:.3f}" for kind, e in errors.items()}
        for layer, errors in summary["inversions"].items()
    ]


def trained(summary: Row) -> list[Row]:
    """Return the trials on the classifier itself."""
    return [trial for trial in summary["trials"] if trial["trained"]]


def key_of(trial: Row) -> tuple[str, str, str]:
    """Return what a trial shares with the same one on random weights."""
    return trial["attack"], trial["layer"], trial["budget"]


def named(trial: Row) -> dict[str, str]:
    """Return the first cells of a trial's row."""
    return dict(zip(("attack", "layer", "budget"), key_of(trial), strict=True))


def spread(columns: Row | None, name: str, form: str = ".2f") -> str:
    """Return a median and its quartiles.

    >>> spread({"a": {"median": 0.5, "low": 0.25, "high": 1.0}}, "a"), spread(None, "a")
    ('0.50 (0.25 to 1.00)', '-')
    """
    one = columns and columns[name]
    if not one or one["median"] is None:
        return "-"
    return f"{one['median']:{form}} ({one['low']:{form}} to {one['high']:{form}})"


def middle(columns: Row, name: str, form: str) -> str:
    """Return a median."""
    value = columns[name]["median"]
    return "-" if value is None else f"{value:{form}}"


def mean(columns: Row, name: str) -> str:
    """Return a mean."""
    value = columns[name]["mean"]
    return "-" if value is None else f"{value:.1f}"


def share(columns: Row, name: str) -> str:
    """Return the share of ones."""
    return percent(columns[name]["mean"])
