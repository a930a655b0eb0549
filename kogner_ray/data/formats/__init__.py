"""Corpus formats, one file each: `read(path)`, mostly `write(documents, path)`; found by name, ending or look.

    conll        IOB, IOB2, IOBES ... columns, one sentence a document
    pubtator     PubTator text, with concept ids and relations
    bioc_xml     BioC collections as XML
    bioc_json    BioC collections as JSON
    jsonl        ours, one JSON document a line
    gliner_json  GLiNER's training JSON (read only)
    parquet      ours, one document a row

`read_documents`, `read_records` (which goes on after a bad record) and `write_documents` choose among them
(`formats.registry`, imported when first used).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kogner_ray.data.formats.registry import FORMATS, WriteReport, read_documents, read_records, write_documents

__all__ = ["FORMATS", "WriteReport", "read_documents", "read_records", "write_documents"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from kogner_ray.data.formats import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
