"""Where a checkpoint comes from: hashes of what went in, settings, versions, and the revision of the code."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kogner_ray.config import Config
from kogner_ray.data.files import file_sha256
from kogner_ray.data.sources import Source
from kogner_ray.kg.embeddings import EntityTable

_PACKAGES = ("kogner-ray", "torch", "transformers", "ray", "dgl", "pyarrow")


def provenance(
    config: Config, *, corpus: Mapping[str, Sequence[Path | Source]], table: EntityTable | None
) -> dict[str, Any]:
    """What to write beside a checkpoint."""
    return {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
        "corpus_sha256": {
            f"{split}/{path.name}": file_sha256(path) for split, paths in corpus.items() for path in paths
        },
        "teacher": None if table is None else dict(table.provenance),
        **code_provenance(),
    }


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
