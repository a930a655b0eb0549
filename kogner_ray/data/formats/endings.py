"""File endings of the corpus formats, apart from the readers: listing a folder needs no reader."""

from __future__ import annotations

import difflib
from pathlib import PurePosixPath

from kogner_ray.errors import DataError

ENDINGS: dict[str, tuple[str, ...]] = {
    "conll": (".conll", ".iob", ".iob2", ".bio", ".tsv"),
    "pubtator": (".pubtator", ".txt"),
    "bioc_xml": (".xml",),
    "bioc_json": (".json",),
    "jsonl": (".jsonl", ".ndjson"),
    "gliner_json": (),  # found by its look alone: its endings are those of others
    "parquet": (".parquet",),
}
"""Endings of each format, with the dot."""

PACKED = (".gz", ".zst")
"""Endings of compression, after that of the format."""


def format_by_ending(name: str) -> str | None:
    """The format whose endings has that of a file name (before a `.gz` or `.zst`), or None."""
    path = PurePosixPath(name)
    ending = PurePosixPath(path.stem).suffix if path.suffix in PACKED else path.suffix
    return next((format for format, endings in ENDINGS.items() if ending.lower() in endings), None)


def known_format(name: str) -> str:
    """`name`, when it is a format's.

    Raises:
        DataError: it is not; names the nearest.
    """
    if name not in ENDINGS:
        near = difflib.get_close_matches(name, ENDINGS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(ENDINGS)}"
        raise DataError(f"unknown format {name!r}; {hint}")
    return name
