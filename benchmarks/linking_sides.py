"""What linking is compared with: names alone, and the raw encoder's embeddings of names alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from kogner_ray.encoder import EMBEDDED, load_encoder, load_tokenizer
from kogner_ray.kg.index.index import LinkIndex, vocabulary_of
from kogner_ray.kg.linking import Linker
from kogner_ray.kg.ranking.corpus import Gold
from kogner_ray.teacher.text import encode_texts, length_batches
from kogner_ray.track import tracked

BEST = 5
_BATCH_TOKENS, _BATCH_MENTIONS = 8192, 256

Ranking = list[list[int]]
"""Of each mention, entities, the best first."""


def by_name(gold: Gold, surfaces: Sequence[str], index: LinkIndex, vocabularies: Sequence[str] = ()) -> Ranking:
    """Entities that are called exactly so, of a fitting type first, as `kogner_ray.kg.linking` orders them."""
    linker = Linker(index.exact)
    wanted = {place for place, name in enumerate(index.vocabularies) if name in vocabularies}
    cached: dict[tuple[str, str], list[int]] = {}
    for surface, entity in zip(surfaces, gold.entities, strict=True):
        if (surface, entity.type) not in cached:
            rows = linker.candidates(surface, [entity.type]) or linker.candidates(surface)
            kept = [row for row in rows if not wanted or int(index.vocabulary_codes[row]) in wanted]
            cached[surface, entity.type] = kept
    return [cached[surface, entity.type] for surface, entity in zip(surfaces, gold.entities, strict=True)]


class NameVectors:
    """Mean-pooled, normalised embeddings of names by the embedded encoder, as it comes."""

    def __init__(self, table: pa.Table, *, vocabularies: Sequence[str] = (), synonyms: bool = False) -> None:
        """Encode the names (and synonyms) of entities (of some vocabularies)."""
        self._encoder, self._tokenizer = load_encoder(EMBEDDED).eval(), load_tokenizer(EMBEDDED)
        names, rows = [], []
        columns = (table[column].to_pylist() for column in ("id", "name", "synonyms"))
        for row, (id, name, others) in enumerate(zip(*columns, strict=True)):
            if not vocabularies or vocabulary_of(id) in vocabularies:
                own = {name, *(others or ())} if synonyms else {name}
                names += sorted(own)
                rows += [row] * len(own)
        self.rows = np.array(rows)
        self._vectors = self._encode(names)

    def nearest(self, surfaces: Sequence[str]) -> Ranking:
        """The entities of the names nearest to each of `surfaces`."""
        distinct = sorted(set(surfaces))
        vectors = self._encode(distinct)
        best: dict[str, list[int]] = {}
        for first in range(0, len(distinct), _BATCH_MENTIONS):
            top = (vectors[first : first + _BATCH_MENTIONS] @ self._vectors.T).topk(4 * BEST, dim=1).indices.numpy()
            for surface, names in zip(distinct[first : first + _BATCH_MENTIONS], top, strict=True):
                best[surface] = list(dict.fromkeys(self.rows[names].tolist()))
        return [best[surface] for surface in surfaces]

    def _encode(self, names: Sequence[str]) -> torch.Tensor:
        lengths = np.array([len(ids) for ids in self._tokenizer(list(names))["input_ids"]]).clip(max=64)
        vectors = torch.zeros(len(names), self._encoder.config.hidden_size)
        batches = list(length_batches(lengths, batch_tokens=_BATCH_TOKENS))
        for rows in tracked(batches, "names", total=len(batches)):
            texts = [names[row] for row in rows]
            vectors[torch.from_numpy(rows)] = encode_texts(
                self._encoder, self._tokenizer, texts, max_tokens=64, bf16=True
            )
        return vectors
