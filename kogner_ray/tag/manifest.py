"""The manifest of an output folder: whose it is, and what is done."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Literal

from kogner_ray.config import differences
from kogner_ray.data.files import file_sha256
from kogner_ray.data.sources import Source
from kogner_ray.errors import ConfigError, OutputError
from kogner_ray.tag.counts import Counts
from kogner_ray.tag.finish import Finished
from kogner_ray.tag.output import CHUNKS, MANIFEST, SCRATCH, OutputFolder
from kogner_ray.versions import code_provenance

_FORMAT = 1
_CLAIM = ("format", "settings", "model", "inputs")
_SHOWN = 5
_EVERY_S = 2.0  # with thousands of small inputs, writing all of it for each would be most of the work

Status = Literal["running", "stopped", "complete"]


class Manifest:
    """The manifest of a folder that this run has claimed."""

    def __init__(self, output: OutputFolder, claim: dict[str, Any], done: dict[str, Finished]) -> None:
        """Use `claim_output`."""
        self.output, self.claim, self.done = output, claim, done
        self.status: Status = "running"
        self._written = 0.0

    @property
    def counts(self) -> Counts:
        """Amounts of all inputs that are done."""
        return reduce(add, (finished.counts for finished in self.done.values()), Counts())

    @property
    def n_bytes(self) -> int:
        """Bytes of all inputs."""
        return sum(claimed["size"] for claimed in self.claim["inputs"].values())

    @property
    def refused(self) -> dict[str, str]:
        """Conversions that a format does not allow, as "input (format)", and why."""
        return {
            f"{name} ({format})": conversion.refused
            for name, finished in self.done.items()
            for format, conversion in finished.conversions.items()
            if conversion.refused
        }

    def has(self, name: str, to: Iterable[str]) -> bool:
        """Whether an input is done, and converted to these formats."""
        return name in self.done and set(to) <= self.done[name].conversions.keys()

    def finished(self, name: str, finished: Finished) -> None:
        """Note that an input is done; it is on disk within a few seconds (and found there without, if need be)."""
        before = self.done.get(name)
        self.done[name] = finished if before is None else before.with_more(finished)
        if time.monotonic() - self._written > _EVERY_S:
            self.write("running")

    def write(self, status: Status) -> None:
        """Replace the file."""
        self.status, self._written = status, time.monotonic()
        inputs = {
            name: claimed | ({} if name not in self.done else self.done[name].as_dict())
            for name, claimed in self.claim["inputs"].items()
        }
        values = {
            "status": status,
            **self.claim,
            "inputs": inputs,
            "totals": self.counts.as_dict(),
            **code_provenance(),
        }
        self.output.write_text(MANIFEST, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def claim_output(
    output: OutputFolder, *, settings: dict[str, Any], checkpoint: str, sources: Sequence[Source]
) -> Manifest:
    """Write the manifest of a new run, or read that of the run which this one continues.

    Raises:
        ConfigError: the folder is another run's: other settings, another model or other inputs; names what differs.
        OutputError: the folder holds something else, or cannot be written.
        CheckpointError: the checkpoint cannot be read.
    """
    claim = json.loads(json.dumps(_claim(settings, checkpoint, sources)))
    if not output.has(MANIFEST):
        foreign = [name for name in output.names() if name != CHUNKS]
        if foreign:
            raise OutputError(
                f"{output.uri}: expected a new or empty folder, or one with {MANIFEST}; found {foreign[0]}; "
                "give another output"
            )
        manifest = Manifest(output, claim, {})
        manifest.write("running")
        return manifest
    found = _read(output)
    if _untouched(output, found):
        found = {**claim, "status": "running"}
    _refuse_another(output, claim, found)
    done = {name: Finished.from_dict(values) for name, values in found["inputs"].items() if "files" in values}
    manifest = Manifest(output, claim, done)
    manifest.status = found["status"]
    return manifest


def _claim(settings: dict[str, Any], checkpoint: str, sources: Iterable[Source]) -> dict[str, Any]:
    inputs = {s.name: {"uri": s.uri, "size": s.size, "modified": s.modified} for s in sources}
    model = {"path": checkpoint, "sha256": _folder_sha256(Path(checkpoint))}
    return {"format": _FORMAT, "settings": settings, "model": model, "inputs": inputs}


def _folder_sha256(folder: Path) -> str | None:
    """One hash of the names and contents of all files; None when it is no folder, but a name for one."""
    if not folder.is_dir():
        return None
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = (f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _read(output: OutputFolder) -> dict[str, Any]:
    where = output.where(MANIFEST)
    try:
        values = json.loads(output.read_text(MANIFEST))
    except ValueError as error:
        raise OutputError(f"{where}: cannot be read: {error}") from error
    if not isinstance(values, dict) or not {"status", *_CLAIM} <= values.keys():
        raise OutputError(f"{where}: is no manifest of a tagging run; give another output")
    return values


def _untouched(output: OutputFolder, found: dict[str, Any]) -> bool:
    """Whether the run of that manifest came to nothing, such as one with a misspelt type."""
    written = {name for folder in ("documents", CHUNKS) for name in output.names(folder)} - {SCRATCH}
    return not written and not any("files" in values for values in found["inputs"].values())


def _refuse_another(output: OutputFolder, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    different = sorted(differences(_essence(wanted), _essence(found)))
    if different:
        more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
        raise ConfigError(
            f"{output.where(MANIFEST)}: this folder holds another run's output, which differs in "
            f"{', '.join(different[:_SHOWN])}{more}; give the same to go on with it, or another output"
        )


def _essence(claim: dict[str, Any]) -> dict[str, Any]:
    """What must be the same in every attempt: a checkpoint may have moved, as long as it is the same one."""
    model = claim["model"]["sha256"] or claim["model"]["path"]
    inputs = {name: [values[key] for key in ("uri", "size", "modified")] for name, values in claim["inputs"].items()}
    return {"format": claim["format"], "settings": claim["settings"], "model": model, "inputs": inputs}
