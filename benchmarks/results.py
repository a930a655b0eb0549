"""RESULTS.md: one section a benchmark, between markers, each rewritten by its own script and by nothing else."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
_TITLE = "# Results\n\nEach section is written by the script that it names.\n"


def write_section(name: str, body: str, path: Path = RESULTS) -> None:
    """Put `body` between `<!-- name -->` and `<!-- /name -->` of `path`; other sections stay, a new one goes last."""
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    section = f"{opening}\n{body.strip()}\n{closing}"
    text = path.read_text(encoding="utf-8") if path.is_file() else _TITLE
    found = re.compile(re.escape(opening) + ".*?" + re.escape(closing), re.DOTALL)
    text = found.sub(lambda _: section, text, count=1) if found.search(text) else f"{text.rstrip()}\n\n{section}\n"
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def conditions(*, packages: Sequence[str], **settings: str) -> str:
    """How a section was made: command, `settings` (threads, dtype, seeds ...), versions, machine, revision, date."""
    said = {
        "command": f"`{' '.join(['python', f'benchmarks/{Path(sys.argv[0]).name}', *sys.argv[1:]])}`",
        **settings,
        "versions": ", ".join([f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)]),
        "machine": f"{_cpu()}, {os.cpu_count()} cores, {_memory_gb():.0f} GB",
        "revision": _revision(),
        "date": date.today().isoformat(),
    }
    return "\n".join(f"- {key}: {value}" for key, value in said.items())


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1) if found else platform.processor()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _revision() -> str:
    command = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
