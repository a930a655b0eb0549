"""What an output was made with: versions of the packages that matter, and the revision of the code."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("kogner-ray", "torch", "transformers", "ray", "dgl", "pyarrow")


def code_provenance() -> dict[str, Any]:
    """Versions of the packages that matter, and the revision of the code."""
    return {"versions": {name: _version(name) for name in _PACKAGES}, "revision": _revision()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    """The commit that this code was checked out at, or None when it was installed."""
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None
