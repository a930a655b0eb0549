"""Making the links of a checkpoint: an index of its entities, and a ranker that knows its student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kogner_ray.data.spans import Document
from kogner_ray.encoder import has_bf16
from kogner_ray.errors import CheckpointError
from kogner_ray.kg.ranking.corpus import fit_to_corpus, typed
from kogner_ray.kg.ranking.links import FOLDER, Links, directions_of, make_links, write_links, write_ranker
from kogner_ray.kg.ranking.pool import Floats
from kogner_ray.kg.ranking.rehearsal import rehearse
from kogner_ray.student.checkpoint import Checkpoint, read_checkpoint
from kogner_ray.student.dense import Precision
from kogner_ray.student.fast import FastStudent
from kogner_ray.student.kg_head import KGHead
from kogner_ray.student.reader import Reader


class Locator:
    """Says where a student sees mentions in H."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """`checkpoint` must have a KG head; it is run in bf16 where the hardware has it, which points hardly feel."""
        assert checkpoint.kg_head is not None
        precision: Precision = "bf16" if has_bf16(checkpoint.student.device) else "fp32"
        backend = FastStudent(checkpoint.student, checkpoint.labels_tokenizer, precision=precision)
        self._kg_head: KGHead = checkpoint.kg_head.eval()
        self._reader = Reader(backend, checkpoint.tokenizer)

    def documents(self, documents: Sequence[Document]) -> Floats:
        """(M, H) of the entities of `documents` whose type is known."""
        spans = [[(entity.start, entity.end) for entity in typed(document)] for document in documents]
        return self._points([document.text for document in documents], spans)

    def names(self, names: Sequence[str]) -> Floats:
        """(n, H) of names that stand alone."""
        return self._points(names, [[(0, len(name))] for name in names])

    def _points(self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]) -> Floats:
        points: Floats = np.asarray(self._reader.locate(texts, spans, self._kg_head).numpy(), dtype=np.float32)
        return points


def teach_links(checkpoint: Checkpoint, train: Sequence[Document] = (), dev: Sequence[Document] = ()) -> Links:
    """The links of a checkpoint with a KG head and entities.

    Args:
        checkpoint: a trained student.
        train: documents whose mentions may have concept ids; without any, the ranker is rehearsed on the KG alone.
        dev: documents to choose the threshold on.
    """
    assert checkpoint.entities is not None
    locator = Locator(checkpoint)
    directions = np.asarray(directions_of(checkpoint.entities, checkpoint.modalities))
    links = make_links(checkpoint.entities.entities, directions=directions, project=locator.names)
    ranker = fit_to_corpus(links.ranker, links.index, train, dev, locate=locator.documents)
    return Links(links.index, ranker)


def fit_checkpoint(folder: Path, train: Sequence[Document], dev: Sequence[Document] = ()) -> Links:
    """Fit the ranker of the checkpoint in `folder` anew; its index and other files stay as they are.

    Raises:
        CheckpointError: no complete checkpoint, or one without an index.
    """
    checkpoint = read_checkpoint(folder)
    if checkpoint.links is None or checkpoint.entities is None:
        raise CheckpointError(f"{folder}: a checkpoint without an index; make it first")
    locator, index = Locator(checkpoint), checkpoint.links.index
    rehearsed = rehearse(index, checkpoint.entities.entities, project=locator.names)
    links = Links(index, fit_to_corpus(rehearsed, index, train, dev, locate=locator.documents))
    write_ranker(links.ranker, folder / FOLDER)
    return links


def index_checkpoint(folder: Path, train: Sequence[Document] = (), dev: Sequence[Document] = ()) -> Links:
    """Make the links of the checkpoint in `folder` anew, beside it; its other files stay as they are.

    Raises:
        CheckpointError: no complete checkpoint, one without a KG, or the index cannot be written.
    """
    checkpoint = read_checkpoint(folder, with_links=False)
    if checkpoint.entities is None or checkpoint.kg_head is None:
        raise CheckpointError(f"{folder}: a checkpoint without a KG; there is nothing to link to")
    links = teach_links(checkpoint, train, dev)
    write_links(links, folder / FOLDER, entities=folder / "entities")
    return links
