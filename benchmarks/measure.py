"""What one side of a paired run is given, and what it measures about itself. Linux only: it reads /proc."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """One run of one side.

    Attributes:
        data: folder of the prepared input: `start/`, `warm.*` and `timed.*`.
        folder: where this run may write; `result.json` is expected there.
        threads: of torch.
        batch_size: sentences a step.
        seed: of the training.
        options: what sets this row of the table apart from the others of its side.
    """

    data: str
    folder: str
    threads: int
    batch_size: int
    seed: int
    options: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> Job:
        """The job of a JSON file."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))


@dataclass
class Clock:
    """Wall time between the last `start` and the last `stop`, in seconds."""

    started: float = 0.0
    stopped: float = 0.0

    def start(self) -> None:
        """Begin."""
        self.started = time.perf_counter()

    def stop(self) -> None:
        """End; may be called again, the last call counts."""
        self.stopped = time.perf_counter()

    @property
    def seconds(self) -> float:
        """What was measured."""
        return self.stopped - self.started


@dataclass(frozen=True)
class Measured:
    """What a run of one side gave.

    Attributes:
        seconds: wall time of the timed steps.
        n_steps: how many they were.
        peak_mb: largest resident memory of the training process, in 10^6 bytes.
        children_mb: memory of its child processes (loaders, Ray); shared pages count once.
    """

    seconds: float
    n_steps: int
    peak_mb: float
    children_mb: float

    def write(self, job: Job) -> None:
        """Leave it where the parent process looks."""
        Path(job.folder, "result.json").write_text(json.dumps(vars(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Measured:
        """What the run in `folder` left."""
        return cls(**json.loads((folder / "result.json").read_text(encoding="utf-8")))


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    # getrusage would do, but after a fork it starts from what the parent had
    return _kilobytes("VmHWM", Path("/proc/self/status")) * 1024 / 1e6


def children_mb() -> float:
    """Memory of all processes below this one, each shared page divided among those that map it."""
    return sum(pss_mb(pid) for pid, _ in descendants("self"))


def tree_mb(pid: int) -> float:
    """Memory of a process and all below it, shared pages as in `children_mb`."""
    return pss_mb(pid) + sum(pss_mb(below) for below, _ in descendants(pid))


def pss_mb(pid: int) -> float:
    """Memory of a process, shared pages divided among those that map them."""
    return _kilobytes("Pss", Path(f"/proc/{pid}/smaps_rollup")) * 1024 / 1e6


def descendants(pid: int | str) -> list[tuple[int, str]]:
    """Number and title of all processes below one."""
    try:
        lists = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        children = [(int(child), _title(child)) for below in lists for child in below]
    except OSError:
        return []
    return [entry for child in children for entry in (child, *descendants(child[0]))]


def _title(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")


def _kilobytes(name: str, path: Path) -> float:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    except OSError:
        return 0.0  # it has ended
    return float(found.group(1)) if found else 0.0
