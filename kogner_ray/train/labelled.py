"""The labelled corpus of a run: its splits in memory, its types, and what leaks from one split to another."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray.data

from kogner_ray.data.corpora import plain_errors
from kogner_ray.data.spans import UNKNOWN, Document, from_table
from kogner_ray.data.splits import find_leaks
from kogner_ray.errors import ConfigError, DataError
from kogner_ray.train.sources import CorpusConfig, read_splits

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """What is trained and scored on.

    Attributes:
        train: the labelled documents, or None without any.
        splits: documents of each split, `train` always among them; those without a mention of `types` are left out.
        types: types to train, with their label texts.
        leaks: what occurs in two splits.
    """

    train: ray.data.Dataset | None
    splits: dict[str, list[Document]]
    types: dict[str, str]
    leaks: list[str]


@plain_errors()
def read_labels(config: CorpusConfig, *, need_train: bool) -> Corpus:
    """Read a corpus.

    Raises:
        ConfigError: no training files, or types, are named, or the files have no annotation of them.
        DataError: a file is malformed, the training split is empty, or splits share text that must not.
    """
    datasets = read_splits(config, need_train=need_train)
    splits = {split: _documents(dataset) for split, dataset in datasets.items()}
    leaks = find_leaks(splits, strict=config.strict_splits)
    for leak in leaks.leaks:
        _LOG.warning("%s", leak)
    if "train" in splits and not splits["train"]:
        raise DataError("the training split holds no document")
    if "train" not in splits and not config.types:
        raise ConfigError("corpus.types: expected the types to train, for there are no labels to take them from")
    types = _types(splits.setdefault("train", []), config.types)
    for split in ("dev", "test"):
        if split in splits and not _mentions(splits[split]) & types.keys():
            _LOG.warning("the %s split has no mention of %s: it is not evaluated", split, ", ".join(types))
            del splits[split]
    return Corpus(datasets.get("train"), splits, types, [str(leak) for leak in leaks.leaks])


def _types(documents: Sequence[Document], wanted: Mapping[str, str] | None) -> dict[str, str]:
    """Types to train with their label texts."""
    found = _mentions(documents)
    types = {name: name for name in sorted(found)} if wanted is None else dict(wanted)
    if documents and not types.keys() & found:
        expected = "an annotation" if wanted is None else f"a mention of {', '.join(types) or 'any type'}"
        raise ConfigError(f"corpus: expected {expected} in the training split, found {sorted(found) or 'none'}")
    for name in sorted(types.keys() - found) if documents else ():
        _LOG.warning("the training split has no mention of %s", name)
    return types


def _mentions(documents: Sequence[Document]) -> set[str]:
    return {entity.type for document in documents for entity in document.entities} - {UNKNOWN}


def _documents(dataset: ray.data.Dataset) -> list[Document]:
    tables = dataset.iter_batches(batch_format="pyarrow", batch_size=None)
    return sorted((document for table in tables for document in from_table(table)), key=lambda d: (d.id, d.text))
