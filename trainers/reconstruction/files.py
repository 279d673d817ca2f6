"""R in a file, and its training in a run folder, from which a killed run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor, nn

from attacks.errors import RefusedInput
from compress import Codec, RestorationNet, TaskQuantiser
from compress.file_format import Kind
from trainers.fit.state import FitState
from trainers.reconstruction.fit import ReconstructionOptions, fit_network
from trainers.reconstruction.gate import Record
from trainers.run.folder.atomic import is_present
from trainers.run.folder.checkpoint import load_item, load_tensors, save_item, save_tensors
from trainers.run.folder.folder import RunFolder
from trainers.run.show.progress import Progress


def save_network(path: Path, network: RestorationNet) -> None:
    """Write R to a safetensors file; equal ones make equal files.

    Raises:
        OSError: when the disk is full, say; an earlier file of that name is then untouched.
    """
    save_tensors(path, *network.export_state())


def load_network(path: Path) -> RestorationNet:
    """Read what `save_network` wrote.

    Raises:
        RefusedInput: when the file is missing, damaged, or holds something else.
    """
    remedy = "give a file written by save_network, or train R again"
    if not path.is_file():
        raise RefusedInput(f"{path} is no file; {remedy}")
    tensors, rest = load_tensors(path, remedy=remedy)
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
    folder: RunFolder,
    codec: Codec,
    x: Tensor,
    options: ReconstructionOptions,
    *,
    steps: tuple[float, ...],
    kind: Kind = "x",
    x_adv: Tensor | None = None,
    classifier: nn.Module | None = None,
    task: TaskQuantiser | None = None,
    groups: Sequence[object] | Tensor | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> RestorationNet:
    """Train R in a run folder, or load the one that was trained there; see `fit_network`.

    After each epoch the state goes to one running checkpoint, from which a killed run goes on;
    what is measured goes to metrics.jsonl, and so to TensorBoard.
    """
    file = folder.checkpoints / "reconstruction.safetensors"
    running = file.with_name("reconstruction-running.safetensors")
    if is_present(file):
        running.unlink(missing_ok=True)
        return _kept(folder, file)
    state = _state(running)
    for record in state.history if state else ():
        _measured(folder, record)
    done = state.epoch if state else 0
    with Progress(folder, "train R", total=options.epochs, done=done) as bar:

        def keep(now: FitState) -> None:
            folder.check_held()
            _measured(folder, now.history[-1])
            save_item(running, now.tensors, {"history": now.history})
            bar.step()

        fit = fit_network(
            codec, x, options, steps=steps, kind=kind, x_adv=x_adv, classifier=classifier,
            task=task, groups=groups, seed=seed, device=device, state=state, on_epoch=keep,
        )  # fmt: skip
    tensors, rest = fit.network.export_state()
    history = [{k: v for k, v in record.items() if k != "seconds"} for record in fit.history]
    save_item(file, tensors, {"network": rest, "history": history, "gate": fit.gate})
    running.unlink(missing_ok=True)
    return _kept(folder, file)


def _kept(folder: RunFolder, file: Path) -> RestorationNet:
    """Load the R that was trained in a run folder; note what was measured, unless that is done."""
    tensors, note = load_item(file)
    for record in note["history"]:
        _measured(folder, record)
    _gate_measured(folder, note["gate"])
    return RestorationNet.from_state(tensors, note["network"])


def _state(running: Path) -> FitState | None:
    """Return the state to go on from, if there is one."""
    if not is_present(running):
        return None
    tensors, note = load_item(running)
    return FitState(tensors, len(note["history"]), note["history"])


def _measured(folder: RunFolder, record: Record) -> None:
    """Note the loss of an epoch, and its parts."""
    epoch = int(record["epoch"]) + 1
    values = {
        f"reconstruction/{name}": value
        for name, value in record.items()
        if name not in ("epoch", "seconds")
    }
    _noted(folder, f"reconstruction/epoch-{epoch:03}", epoch, values)


def _gate_measured(folder: RunFolder, records: list[Record]) -> None:
    """Note how much of R is used at each step, and what it gains there."""
    for number, record in enumerate(records):
        values = {f"reconstruction/gate/{name}": value for name, value in record.items()}
        _noted(folder, f"reconstruction/gate-{number:02}", number, values)


def _noted(folder: RunFolder, name: str, step: int, values: Record) -> None:
    if name not in folder.metrics.lines:
        folder.metrics.add(name, step=step, values=values)
