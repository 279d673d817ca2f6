"""TensorBoard: a view of metrics.jsonl and of the pictures, and no state of its own."""

import struct
from contextlib import suppress
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from trainers.run.folder.atomic import damaged_file
from trainers.run.folder.claim import EVENTS, events
from trainers.run.folder.metrics import Line, Metrics

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
        self.folder = folder
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
        value = Summary.Value(tag=tag, image=encoded)
        assert self.writer.file_writer is not None  # it is open until `close`
        self.writer.file_writer.add_summary(Summary(value=[value]), step)

    def forget_embeddings(self) -> None:
        """Take away what an earlier start of the run wrote for the projector."""
        for name in ("tensors.tsv", "metadata.tsv", "sprite.png"):
            for file in self.folder.glob(f"00000/*/{name}"):
                file.unlink()
        for place in self.folder.glob("00000/*"):
            with suppress(OSError):  # it holds something else
                place.rmdir()

    def close(self) -> None:
        """Write out what is buffered."""
        self.writer.close()
