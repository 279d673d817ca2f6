"""The samples that a layer holds to be most like some others."""

from collections import Counter

import torch

from explain.network.neighbours import nearest_neighbours
from trainers.jobs.network.activations import middle_frame
from trainers.jobs.network.setup import NetworkSetup, Row, Shown
from trainers.run.folder.checkpoint import Saved
from trainers.run.show.figures.cells import CellRow, SheetCell, draw_cells


def find_neighbours(setup: NetworkSetup) -> Saved:
    """Return the neighbours of each sample that is shown among all others."""
    flags, queries = setup.flags, setup.chosen
    x, _ = queries.stack(range(len(queries)))
    found = nearest_neighbours(
        setup.context.model,
        setup.vectors.name,
        x.to(setup.context.device),
        setup.batches(setup.ds, "neighbours"),
        k=flags.top + 1,  # of which one is the sample itself
        metric=flags.metric,
        chunk=setup.context.batch_size,
    )
    places = torch.tensor(setup.chosen_rows)
    itself = found.numbers.cpu() == places[:, None]
    # Where as many others are at no distance at all, the farthest of them is left out.
    itself[~itself.any(1), -1] = True
    kept = [each.cpu()[~itself].view(len(x), -1) for each in (found.numbers, found.distances)]
    answers, probabilities = setup.answers(x)
    return {
        "numbers": kept[0],
        "distances": kept[1],
        "answers": answers,
        "probabilities": probabilities,
    }, None


def show_neighbours(setup: NetworkSetup, found: Saved) -> Shown:
    """Draw each sample with its neighbours, and list them."""
    rows = table(setup, found)
    sheet = []
    chosen, across = setup.chosen, found[0]["numbers"].shape[1]
    for i in range(len(chosen)):
        own = rows[i * across : (i + 1) * across]
        label, answer = int(chosen.labels[i]), int(found[0]["answers"][i])
        said = setup.caption(label, answer, float(found[0]["probabilities"][i]))
        wrong = label >= 0 and answer != label
        first = SheetCell(middle_frame(chosen.stack([i])[0][0]), said, wrong)
        numbers = found[0]["numbers"][i].tolist()
        cells = [
            SheetCell(
                middle_frame(setup.ds.stack([number])[0][0]),
                f"{row['neighbour_class']}\n{row['distance']:.3f}".strip(),
                row["same_class"] is False,
            )
            for number, row in zip(numbers, own, strict=True)
        ]
        sheet.append(CellRow("", [first, *cells]))
    metric = "1 - cosine" if setup.flags.metric == "cosine" else "Euclidean distance"
    title = (
        f"left a sample, its class and what it is taken for; right those nearest to it in "
        f"{setup.vectors.shown}, their class and {metric}\nred: of another class than the sample, "
        "or a sample that is taken for another"
    )
    same = [row["same_class"] for row in rows if row["same_class"] is not None]
    facts = {
        "layer": setup.vectors.shown,
        "metric": setup.flags.metric,
        "samples": len(setup.ds),
        "neighbours": len(same),
        "same_class": sum(same),
    }
    figure = draw_cells(sheet, title=title, apart=True)
    return Shown(facts, {"neighbours": figure}, {"neighbours": rows})


def table(setup: NetworkSetup, found: Saved) -> list[Row]:
    """Return a row for each neighbour; None says that no neighbour can have the class."""
    ds, queries = setup.ds, setup.chosen
    counts = Counter(ds.labels.tolist())
    rows = []
    for i, name in enumerate(queries.ids):
        own = int(queries.labels[i])
        for rank, number in enumerate(found[0]["numbers"][i].tolist()):
            other = int(ds.labels[number])
            rows.append(
                {
                    "id": name,
                    "class": setup.class_name(own),
                    "rank": rank + 1,
                    "neighbour": ds.ids[number],
                    "neighbour_class": setup.class_name(other),
                    "distance": float(found[0]["distances"][i, rank]),
                    "same_class": own == other if own >= 0 and counts[own] > 1 else None,
                }
            )
    return rows
