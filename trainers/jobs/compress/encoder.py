"""The encoder of the job `compress encode`: samples to files, and the quality of these."""

import logging
import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from augment import Dataset
from compress import Codec
from compress.decoding import reconstruct_chunks
from compress.file_format import CodeFile, parse_pack
from compress.quantise.rate import OutOfReachError
from trainers.evaluate.evaluation import predict, top_classes
from trainers.evaluate.quality import psnr
from trainers.fit.fit_or_load import load_or_fit_classifier
from trainers.jobs.compress.attack_resumable import attack_resumable, choose_attack, log_doubts
from trainers.jobs.compress.encode_inputs import (
    CodePart,
    EncodeInputs,
    Unreadable,
    crop_centres,
    read_inputs,
)
from trainers.jobs.compress.files import (
    check_network,
    load_network_for,
    make_or_load_code,
    make_or_load_codec,
    read_codec,
)
from trainers.jobs.compress.fit import TRAIN, fit_or_load_codec
from trainers.run.cli.jobs.compress import CompressEncodeConfig
from trainers.run.cli.specs.attacks import build_task
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import check_attacks
from trainers.run.session import choose_threads

log = logging.getLogger(__name__)
CLOSE = 0.1  # bytes may be so much more or less than was asked for, as a share


class Encoder:
    """Codes the samples of the job `compress encode`, and measures the files."""

    def __init__(self, config: CompressEncodeConfig, folder: RunFolder) -> None:
        """Load what is needed; all refusals come from here."""
        self.flags, self.folder = config.coding, folder
        name, attack = choose_attack(config, self.flags.attack)
        kind = self.flags.kind
        advice = f"and --kind is {kind}; give another of them"
        self.network = load_network_for(self.flags.network, [kind], advice)
        self.task = build_task(self.flags.task, smoke=config.run.smoke)
        given = read_codec(self.flags.codec) if self.flags.codec else None
        self.inputs = read_inputs(config, folder)
        self.parts = self.inputs.parts(pack=self.flags.pack)
        shapes = sorted(set(self.inputs.shapes))
        check_network(self.flags.network, self.network, self.inputs.name, shapes)
        choose_threads(config.run.threads, max(map(math.prod, shapes)))
        self.model: nn.Module | None = None
        self.x_adv: Tensor | None = None
        change, ds = None, self.inputs.source
        if kind != "x" and isinstance(ds, Dataset):
            if kind == "delta":
                check_attacks({name: attack}, ds)
            context = load_or_fit_classifier(config, folder, ds)
            if kind == "x-task":
                self.model = context.model
                log_doubts(context, ds)
            else:
                attacked = partial(attack_resumable, context, name, attack)
                self.x_adv, change = attacked(ds), partial(attacked, into=TRAIN)
        if given is None and not isinstance(ds, Dataset):
            given = make_or_load_codec(folder, partial(fit_to_pictures, self.inputs))
        self.codec = given or fit_or_load_codec(config, folder, change)

    def _code(self, part: CodePart) -> bytes:
        """Return the bytes of a file.

        Raises:
            Unreadable: when none of its pictures can be decoded.
        """
        groups = [self.inputs.readable(rows) if part.named else rows for rows in part.groups]
        groups = [rows for rows in groups if rows]
        if not groups:
            raise Unreadable(f"{part.name}: none of the pictures can be decoded")
        return b"".join(
            self._file(rows, named=part.named, embed=self.flags.embed_tables and not number)
            for number, rows in enumerate(groups)
        )

    def _file(self, rows: list[int], *, named: bool, embed: bool) -> bytes:
        """Return the file of some samples of one shape."""
        code = partial(
            self.codec.encode,
            self.inputs.stack(rows),
            kind=self.flags.kind,
            x_adv=self._changed(rows),
            model=self.model,
            task=self.task if self.model is not None else None,
            embed_tables=embed,
            network=self.network,
            names=[self.inputs.ids[i] for i in rows] if named else (),
        )
        try:
            return code(step=self.flags.step, bytes_per_sample=self.flags.bytes_per_sample)
        except OutOfReachError as error:
            if len(self.parts) == 1 and len(self.parts[0].groups) == 1:
                raise
            log.warning("%s: %s", self.inputs.ids[rows[0]], error)
            return code(step=error.step)

    def _changed(self, rows: list[int]) -> Tensor | None:
        return None if self.x_adv is None else self.x_adv[rows]

    def wanted(self, rows: list[int]) -> Tensor:
        """Return what samples of one shape are decoded to, about, (B, ...)."""
        x, changed = self.inputs.stack(rows), self._changed(rows)
        return x if changed is None or self.network is not None else x - changed

    def files(self, part: CodePart) -> list[tuple[list[int], CodeFile]]:
        """Make or load what a file holds: files of samples of one shape, with their numbers.

        Raises:
            Unreadable: when none of its pictures can be decoded.
        """
        files = parse_pack(make_or_load_code(self.folder, part.name, partial(self._code, part)))
        if not part.named:
            return list(zip(part.groups, files, strict=True))
        numbers = {name: i for i, name in enumerate(self.inputs.ids)}
        return [([numbers[name] for name in file.head.names], file) for file in files]

    def measured(self, files: list[tuple[list[int], CodeFile]]) -> dict[str, Any]:
        """Decode the files of a part and say what they keep, as sums over their samples."""
        found = [self._measured(rows, file) for rows, file in files]
        sums = ("samples", "pixels", "psnr", "kept", "out_of_reach")
        total = {name: sum(row[name] for row in found) for name in sums if name in found[0]}
        most = {name: max(row[name] for row in found) for name in ("error", "promised")}
        size = sum(len(file.data) for _, file in files)
        return total | most | {"bytes": size, "steps": [row["step"] for row in found]}

    def _measured(self, rows: list[int], file: CodeFile) -> dict[str, Any]:
        wanted, size = self.wanted(rows), self.flags.bytes_per_sample
        got = torch.cat(list(reconstruct_chunks(file, self.codec.tables, self.network)))
        found: dict[str, Any] = {
            "samples": len(rows),
            "pixels": len(rows) * math.prod(file.head.shape[1:]),
            "step": file.head.step,
            "psnr": float(psnr(wanted, got).double().sum()),
            "out_of_reach": int(size is not None and abs(file.payload / size - 1) > CLOSE),
            "error": 0.0,
            "promised": 0.0,
        }
        if self.network is None:
            found |= self._held(file, float((wanted - got).abs().max()))
        if self.model is not None:
            device = next(self.model.parameters(), torch.empty(0)).device
            before, after = (top_classes(predict(self.model, v.to(device))) for v in (wanted, got))
            found["kept"] = int(((before == after) & (before >= 0)).sum())
        return found

    def _held(self, file: CodeFile, error: float) -> dict[str, float]:
        """Hold the codec to what it promises.

        Raises:
            RuntimeError: when a value is farther off.
        """
        head = file.head
        promised = self.codec.largest_error(
            head.shape, step=head.step, kind=head.kind, task=self.task
        )
        if error > promised:
            raise RuntimeError(
                f"a decoded value is off by {error:.3g}, and at most {promised:.3g} is promised: "
                "the codec is broken; please report the sample"
            )
        return {"error": error, "promised": promised}


def fit_to_pictures(inputs: EncodeInputs) -> Codec:
    """Fit a codec to the pictures that are to be coded."""
    log.info("no --codec: fitting one to the pictures first")
    return Codec.fit(crop_centres(inputs))
