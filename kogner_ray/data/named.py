"""Annotated documents by what a user names: files, the embedded corpus, or an entry of the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kogner_ray.data import catalog
from kogner_ray.data.formats import read_documents
from kogner_ray.data.spans import Document
from kogner_ray.embedded import corpus_files
from kogner_ray.errors import ConfigError


def read_named(corpus: Sequence[str], *, split: str, format: str | None = None) -> list[Document]:
    """The documents of files, or of a split of one named corpus (downloaded on first use).

    Raises:
        ConfigError: neither files nor a data set of the catalog, or it has no such split.
        DataError: a file is malformed.
    """
    name = corpus[0]
    if len(corpus) > 1 or Path(name).exists():
        return [document for path in corpus for document in read_documents(path, format)]
    if name == "embedded":
        files = corpus_files()
        if split not in files:
            raise ConfigError(f"{name} has no split {split!r}; known: {', '.join(files)}")
        return list(read_documents(files[split]))
    if Path(name).suffix or "/" in name:
        raise ConfigError(f"corpus: {name}: no such file")
    entry = catalog.find(name)
    splits = [file.role for file in entry.files if entry.kind == "corpus" and file.role != "licence"]
    if split not in splits:
        raise ConfigError(f"{name} has no split {split!r}; known: {', '.join(splits) or 'none, it is a graph'}")
    catalog.get(name, progress=True)
    return list(catalog.read_split(name, split))
