"""TensorBoard's table of runs: the options of a run beside what came of it."""

import math
import tomllib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from google.protobuf.struct_pb2 import Value
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.metadata import (
    PLUGIN_DATA_VERSION,
    PLUGIN_NAME,
    SESSION_END_INFO_TAG,
    SESSION_START_INFO_TAG,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from trainers.run.folder.input_digests import FILES

Option = bool | float | str
FINAL = "final"  # begins the tags of what came of a run
OF_A_ROUND = ("clean_accuracy", "worst_case", "attack_success", "attack_loss")
# Of the machine, or paths.
LEFT_OUT = {*FILES, "device", "threads", "download", "bank", "static", "transfer", "masks", "code"}


def compared_options(config: str) -> dict[str, Option]:
    """Return the options of a run that are worth comparing, by the name of their flag.

    Args:
        config: all options, in TOML.

    >>> compared_options('data = "imagefolder:a/b/cats"')
    {'data': 'imagefolder:cats'}
    """
    options: dict[str, Option] = {}
    for name, value in tomllib.loads(config).items():
        if name.replace("-", "_") in LEFT_OUT:
            continue
        options[name] = " ".join(map(str, value)) if isinstance(value, list) else value
    if isinstance(source := options.get("data"), str):
        kind, colon, place = source.partition(":")
        options["data"] = f"{kind}{colon}{PurePath(place).name}"
    return options


def final_values(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers that came of a run, by tag: of rounds, those of the one handed over.

    Args:
        summary: what summary.json has.

    >>> final_values({"job": "detect", "clean_accuracy": {"rate": 0.5}, "curve": None, "area": 1.0})
    {'final/clean_accuracy': 0.5, 'final/area': 1.0}
    """
    found = dict(summary)
    if rows := summary.get("rounds"):
        best = rows[summary["best_round"]]
        found = {name: best[name] for name in OF_A_ROUND} | found
    rates = {k: v.get("rate") if isinstance(v, Mapping) else v for k, v in found.items()}
    return {
        f"{FINAL}/{name}": value
        for name, value in rates.items()
        if isinstance(value, float) and math.isfinite(value)
    }


def comparison_summaries(options: Mapping[str, Option]) -> list[Summary]:
    """Return what makes a run a row of the table, beside the last values of its scalars.

    Without a list of its own columns: TensorBoard then takes those of all runs that it shows, the
    options that differ first. Torch's own `add_hparams` opens a file of its own, which a resumed
    run would not know, writes the metrics once more, and makes numbers of booleans.

    Args:
        options: by name.
    """
    start = SessionStartInfo()
    for name, value in options.items():
        start.hparams[name].CopyFrom(_value_of(value))
    end = SessionEndInfo(status=Status.Value("STATUS_SUCCESS"))
    return [
        _summary(SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
        _summary(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
    ]


def _value_of(value: Option) -> Value:
    """Return an option as the table keeps it."""
    if isinstance(value, bool):
        return Value(bool_value=value)
    return Value(string_value=value) if isinstance(value, str) else Value(number_value=value)


def _summary(tag: str, data: HParamsPluginData) -> Summary:
    """Return what the table reads from an event."""
    data.version = PLUGIN_DATA_VERSION
    plugin = SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME, content=data.SerializeToString())
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])
