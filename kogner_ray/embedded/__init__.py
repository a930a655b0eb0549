"""The embedded default: a small knowledge graph and a small annotated corpus, so that every job runs without data.

`kg/` is a graph of triples with a node file, `corpus/` three splits of JSON lines; README.md beside them says what the
types and relations mean. This package holds files and their paths only, and imports nothing of the project.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["corpus_files", "kg_files"]


def kg_files() -> dict[str, Path]:
    """The graph's files: `nodes`, `edges`, `relations` (tab-separated, with a header, all in one folder)."""
    return {name: _path("kg", f"{name}.tsv") for name in ("nodes", "edges", "relations")}


def corpus_files() -> dict[str, Path]:
    """The corpus's files: `train`, `dev`, `test` (JSON lines, one sentence a document)."""
    return {name: _path("corpus", f"{name}.jsonl") for name in ("train", "dev", "test")}


def _path(folder: str, name: str) -> Path:
    # Wheels are unpacked when installed, so a resource is a file; zip imports are not supported (nor by torch).
    return Path(str(files(__name__) / folder / name))
