"""R in a file, and its training in a run folder, from which a killed run goes on."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from attacks.errors import RefusedInput
from compress import RestorationNet
from trainers.fit.state import FitState, Record
from trainers.reconstruction.fit import NetworkFit
from trainers.run.folder.atomic import is_present
from trainers.run.folder.checkpoint import load_item, load_tensors, save_item, save_tensors
from trainers.run.folder.folder import RunFolder
from trainers.run.show.progress import Progress


def save_network(path: str | Path, network: RestorationNet) -> None:
    """Write R to a safetensors file; equal ones make equal files.

    Raises:
        OSError: when the disk is full, say; an earlier file of that name is then untouched.
    """
    save_tensors(Path(path), *network.export_state())


def load_network(path: str | Path) -> RestorationNet:
    """Read what `save_network` wrote.

    Raises:
        RefusedInput: when the file is missing, damaged, or holds something else.
    """
    remedy = "give a file written by save_network, or train R again"
    if not Path(path).is_file():
        raise RefusedInput(f"{path} is no file; {remedy}")
    tensors, rest = load_tensors(Path(path), remedy=remedy)
    try:
        return RestorationNet.from_state(tensors, rest)
    except ValueError as error:
        raise RefusedInput(f"{path} holds no network R ({error}); {remedy}") from error


def network_bytes(network: RestorationNet) -> int:
    """Return the bytes that R adds to what is transmitted: those of its file."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "network"
        save_network(file, network)
        return file.stat().st_size


def fit_or_load_network(
    folder: RunFolder, epochs: int, fit: Callable[..., NetworkFit]
) -> RestorationNet:
    """Train R in a run folder, or load the one that was trained there.

    After each epoch the state goes to one running checkpoint, from which a killed run goes on;
    what is measured goes to metrics.jsonl, and so to TensorBoard.

    Args:
        folder: the run folder.
        epochs: of the training.
        fit: `fit_network` with all arguments but ``state``, ``on_epoch`` and ``progress``.
    """
    file = folder.checkpoints / "reconstruction.safetensors"
    running = file.with_name("reconstruction-running.safetensors")
    if not is_present(file):
        found = _train(folder, running, epochs, fit)
        tensors, rest = found.network.export_state()
        history = [{k: v for k, v in record.items() if k != "seconds"} for record in found.history]
        save_item(file, tensors, {"network": rest, "history": history, "gate": found.gate})
    running.unlink(missing_ok=True)
    tensors, note = load_item(file)
    for record in note["history"]:
        _measured(folder, record)
    for number, record in enumerate(note["gate"]):
        values = {f"reconstruction/gate/{name}": value for name, value in record.items()}
        folder.metrics.add(f"reconstruction/gate-{number:02}", step=number, values=values)
    return RestorationNet.from_state(tensors, note["network"])


def _train(
    folder: RunFolder, running: Path, epochs: int, fit: Callable[..., NetworkFit]
) -> NetworkFit:
    """Train, from the running checkpoint when there is one."""
    state = None
    if is_present(running):
        tensors, note = load_item(running)
        state = FitState(tensors, len(note["history"]), note["history"])
        for record in state.history:
            _measured(folder, record)
    done = state.epoch if state else 0
    with Progress(folder, "train R", total=epochs, done=done) as bar:

        def keep(now: FitState) -> None:
            folder.check_held()
            _measured(folder, now.history[-1])
            save_item(running, now.tensors, {"history": now.history})
            bar.step()

        return fit(state=state, on_epoch=keep, progress=bar.within)


def _measured(folder: RunFolder, record: Record) -> None:
    """Note the loss of an epoch, and its parts, unless that is done."""
    epoch = int(record["epoch"]) + 1
    losses = {name: value for name, value in record.items() if name not in ("epoch", "seconds")}
    values = {f"reconstruction/{name}": value for name, value in losses.items()}
    folder.metrics.add(f"reconstruction/epoch-{epoch:03}", step=epoch, values=values)
