"""Finding the processes that a test started, by what they are called or where they keep their files."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def _running() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*")


def descendants(title: str) -> list[int]:
    """Processes below this one whose title starts with `title`."""
    parents, titles = {}, {}
    for folder in _running():
        with contextlib.suppress(OSError):  # it may be gone by now
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(folder.name)] = (folder / "cmdline").read_text()

    def below(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return [pid for pid, text in titles.items() if text.startswith(title) and below(pid)]


def living_in(ray_folder: Path) -> list[int]:
    """Processes of the Ray whose RAY_TMPDIR is `ray_folder`, without this one."""
    found = []
    for folder in _running():
        with contextlib.suppress(OSError):
            said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            if os.fsencode(ray_folder) in said and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


def end_all_in(ray_folder: Path) -> None:
    """Kill what is left of that Ray."""
    for pid in living_in(ray_folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Poll `condition`; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
