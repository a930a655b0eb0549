"""Where a checkpoint comes from: hashes of what went in, settings, versions, and the revision of the code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kogner_ray.config import Config
from kogner_ray.data.files import file_sha256
from kogner_ray.data.sources import Source
from kogner_ray.kg.embeddings import EntityTable
from kogner_ray.versions import code_provenance


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
