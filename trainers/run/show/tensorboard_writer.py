"""TensorBoard: a view of metrics.jsonl and of the pictures, and no state of its own."""

import re
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from trainers.run.folder.atomic import damaged_file
from trainers.run.folder.claim import EVENTS, events
from trainers.run.folder.metrics import Line, Metrics
from trainers.run.show.hparams import compared_options, comparison_summaries, final_values

MARKS = re.compile(r"[|<>&*_`\[\]\\]")  # of Markdown and HTML
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


class TensorBoardWriter:
    """Writes what is measured to a `tensorboard` folder as it comes in."""

    def __init__(self, folder: Path, metrics: Metrics, config: str) -> None:
        """Show the config, then the lines that are there already, then each new one.

        A resumed run replays all its lines; purge_step makes TensorBoard drop what it has read
        from the event files before, so no point shows twice and none is lost.
        """
        for old in events(folder):
            old.unlink()
        self.folder, self.metrics, self.config = folder, metrics, config
        self.writer = SummaryWriter(str(folder), purge_step=0, filename_suffix=EVENTS)
        self.writer.add_text("config", "```toml\n" + config + "```", 0)
        for line in metrics.lines.values():
            self.scalars(line)
        metrics.listeners.append(self.scalars)

    def scalars(self, line: Line) -> None:
        """Show the numbers of one line."""
        for tag, value in line["values"].items():
            self.writer.add_scalar(tag, value, line["step"], walltime=line["time"])

    def text(self, tag: str, text: str) -> None:
        """Show a table or lines as they are on a terminal."""
        self.writer.add_text(tag, "\n".join(f"    {line}" for line in text.splitlines()), 0)

    def markdown(self, tag: str, text: str, *, step: int) -> None:
        """Show Markdown, such as tables."""
        self.writer.add_text(tag, text, step)

    def picture(self, tag: str, path: Path, *, step: int) -> None:
        """Show a PNG file, or an animated GIF, which TensorBoard plays.

        Raises:
            RefusedInput: when the file is damaged.
        """
        try:
            with Image.open(path) as image:
                image.load()
                width, height = image.size
        except _DAMAGE as error:
            raise damaged_file(path, error) from error
        # torch's own add_video needs an old moviepy, and add_image would decode the GIF.
        encoded = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes()
        )
        self._add(Summary(value=[Summary.Value(tag=tag, image=encoded)]), step)

    def _add(self, summary: Summary, step: int) -> None:
        """Write what torch has no call for."""
        assert self.writer.file_writer is not None  # it is open until `close`
        self.writer.file_writer.add_summary(summary, step)

    def precision_recall(self, tag: str, negative: Tensor, positive: Tensor) -> None:
        """Show the precision and recall of scores, at every share of all of them.

        TensorBoard takes thresholds between 0 and 1: a score stands there as the share of all
        scores that are at most as high.

        Args:
            tag: the name of the curve.
            negative: scores (N,) of what should score low.
            positive: scores (M,) of the others; without any there is no curve.
        """
        if not len(positive):
            return
        scores = torch.cat([negative, positive])
        shares = torch.searchsorted(scores.sort().values, scores, right=True) / len(scores)
        labels = torch.arange(len(scores)) >= len(negative)
        self.writer.add_pr_curve(tag, labels, shares, 0)

    def forget_embeddings(self) -> None:
        """Take away what an earlier start of the run wrote for the projector."""
        for name in ("tensors.tsv", "metadata.tsv", "sprite.png"):
            for file in self.folder.glob(f"00000/*/{name}"):
                file.unlink()
        for place in self.folder.glob("00000/*"):
            with suppress(OSError):  # it holds something else
                place.rmdir()

    def close(self, summary: Mapping[str, Any]) -> None:
        """Put the run into the table of runs, with what came of it, and write out all."""
        self.metrics.add("summary", step=0, values=final_values(summary))
        for each in comparison_summaries(compared_options(self.config)):
            self._add(each, 0)
        self.writer.close()


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Lay out rows with the same keys as a table of Markdown.

    >>> print(markdown_table([{"class": "a|b", "samples": "3"}]))
    | class | samples |
    |---|---|
    | a&#124;b | 3 |
    """
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    texts = ["| " + " | ".join(escape_markdown(each) for each in line) + " |" for line in lines]
    return "\n".join([texts[0], "|" + "---|" * len(rows[0]), *texts[1:]])


def escape_markdown(text: str) -> str:
    """Return a text, such as a class name, in a line that is not taken for Markdown."""
    return MARKS.sub(lambda mark: f"&#{ord(mark[0])};", " ".join(text.split()))
