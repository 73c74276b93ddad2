"""Reader of the files of offline W&B runs."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER, FILE_HEADER = 32768, 7, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """Contents of an offline run."""

    id: str = ""
    name: str = ""
    kind: str = ""
    tags: list[str] = field(default_factory=list)
    group: str = ""
    started: int = 0
    """Nanoseconds."""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    step_metrics: dict[str, str] = field(default_factory=dict)
    files: Path = Path()
    artifacts: dict[str, dict[str, Path]] = field(default_factory=dict)
    """Artifact name → path inside it → file on disk."""

    def column(self, key: str) -> list[Any]:
        return [row[key] for row in self.history if key in row]

    def summary(self) -> dict[str, Any]:
        """The last value of each metric, as in a list of runs."""
        return {key: value for row in self.history for key, value in row.items()}

    def table(self, key: str) -> dict[str, Any]:
        """The newest table with a name, as ``columns`` and ``data``."""
        (path,) = self.column(f"{key}.path")[-1:]
        table: dict[str, Any] = json.loads((self.files / path).read_text())
        return table


def read_runs(folder: Path) -> list[OfflineRun]:
    """All offline runs below a folder, oldest first."""
    # folder names have whole seconds, and two runs can start within one
    return sorted((_read(path) for path in folder.glob("wandb/offline-run-*/*.wandb")), key=lambda run: run.started)


def _read(path: Path) -> OfflineRun:
    run = OfflineRun(files=path.parent / "files")
    names: dict[int, str] = {}
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.name, run.group = record.run.run_id, record.run.display_name, record.run.run_group
            run.kind, run.tags = record.run.job_type, list(record.run.tags)
            run.started = record.run.start_time.ToNanoseconds()
            run.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "config":
            run.config |= {item.key: json.loads(item.value_json) for item in record.config.update if item.key}
        elif kind == "metric":
            name = record.metric.glob_name or record.metric.name
            names[len(names) + 1] = name
            step = record.metric.step_metric or names.get(record.metric.step_metric_index, "")
            if step:
                run.step_metrics[name] = step
        elif kind == "artifact":
            contents = {item.path: Path(item.local_path) for item in record.artifact.manifest.contents}
            run.artifacts[record.artifact.name.split("-")[-1]] = contents
        elif kind == "history":
            row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            run.history.append(row)
    return run


def _records(data: bytes) -> Iterator[bytes]:
    """Split a file in the LevelDB log format: blocks of 32 KiB, with records that may span several."""
    position, parts = FILE_HEADER, b""
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + HEADER])
        if kind not in (FULL, FIRST, MIDDLE, LAST):
            position += left
            continue
        parts += data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if kind in (FULL, LAST):
            yield parts
            parts = b""
