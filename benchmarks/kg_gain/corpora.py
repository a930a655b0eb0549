"""The four corpora as the cells see them: capped training sentences, nested shares of them, raw text, test sets."""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
from pathlib import Path

from kogner_ray.data.formats.registry import read_documents, write_documents
from kogner_ray.data.spans import Document, Entity

_MTL = "cambridgeltl/MTL-Bioinformatics-2016"
_IOB = ("train.tsv", "devel.tsv", "test.tsv")
_FILES = {
    "BC5CDR": (_MTL, "data/BC5CDR-IOB", *_IOB),
    "NCBI-disease": (_MTL, "data/NCBI-disease-IOB", *_IOB),
    "JNLPBA": ("BaderLab/Biomedical-Corpora", "corpora/NER/CoNLL/BIO/JNLPBA_BIO", "train.tsv", "valid.tsv", "test.tsv"),
}


def shared() -> Path:
    """The folder of real data, or an end with a clear message."""
    folder = os.environ.get("KOGNER_SHARED")
    if not folder:
        sys.exit("set KOGNER_SHARED to the folder with data/ and mirror/: without it there is nothing to measure on")
    return Path(folder)


def read(corpus: str, split: str) -> list[Document]:
    """Documents of `split` (train, dev, test) of one of the four corpora."""
    if corpus == "GENIA":
        return _read_genia(shared() / "data/ner/genia_nested" / f"{split}.jsonl.gz")
    repository, folder, *files = _FILES[corpus]
    name = files[("train", "dev", "test").index(split)]
    (path,) = (shared() / "mirror/raw.githubusercontent.com" / repository).glob(f"*/{folder}/{name}")
    return list(read_documents(path))


def sentences(corpus: str, cap: int) -> list[Document]:
    """The training sentences of every recipe: `cap` of them, in corpus order."""
    documents = read(corpus, "train")
    kept = sorted(random.Random(0).sample(range(len(documents)), min(cap, len(documents))))
    return [documents[row] for row in kept]


def labelled(corpus: str, cap: int, share: float, seed: int) -> list[Document]:
    """A share of `sentences`; a smaller share of the same seed is part of a larger one."""
    documents = sentences(corpus, cap)
    order = random.Random(f"{corpus} {seed}").sample(range(len(documents)), len(documents))
    return [documents[row] for row in sorted(order[: round(share * len(documents))])]


def write(documents: list[Document], path: Path) -> Path:
    """Write documents, once; the file appears whole."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{path.name}")
        write_documents(documents, partial)
        partial.replace(path)
    return path


def bare(documents: list[Document]) -> list[Document]:
    """The documents' texts alone."""
    return [Document(document.id, document.text) for document in documents]


def _read_genia(path: Path) -> list[Document]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [_from_tokens(json.loads(line)) for line in lines]


def _from_tokens(row: dict[str, object]) -> Document:
    tokens: list[str] = row["tokens"]  # type: ignore[assignment]
    starts = [0]
    for token in tokens:
        starts.append(starts[-1] + len(token) + 1)
    entities = tuple(Entity(starts[i], starts[j + 1] - 1, kind) for i, j, kind in row["entities"])  # type: ignore[attr-defined]
    return Document(str(row["id"]), " ".join(tokens), entities)
