"""Which candidate a mention denotes, if any: a multinomial logit over the concepts found and `none of them`.

    p(c | mention)    = exp(w·f_c + w_vocabularies(c) + w_types(type, c)) / Z
    p(none | mention) = exp(v·f_0) / Z

Fitted by maximum likelihood (`kogner_ray.kg.ranking.fit`), so that probabilities are meant as such.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kogner_ray.errors import CheckpointError
from kogner_ray.kg.index.index import MOST_BITS, LinkIndex
from kogner_ray.kg.ranking.pool import FEATURES, NIL_FEATURES, Floats, Pool

FORMAT = 1
THRESHOLD = 0.3
_PRIOR = {
    "name": 7.0,
    "synonym": 6.5,
    "squashed": 4.0,
    "bag": 3.5,
    "sibling": 1.5,
    "gram": 6.0,
    "learnt": 1.0,
    "learnt share": 6.0,
    "short form": 1.0,
    "edges": 1.0,
    "vocabularies": 1.0,
    "type equal": 2.0,
    "type alike": 1.5,
    "cosine": 2.0,
    "in document": 1.0,
}
_PRIOR_NIL = {"bias": 7.0}


@dataclass(frozen=True)
class Ranker:
    """Weights, and the names that came with them.

    Attributes:
        weights: of `FEATURES` by name.
        nil: of `NIL_FEATURES` by name.
        vocabularies: of a concept that has an entity of that vocabulary.
        types: mention type -> of a concept that has an entity of that type.
        threshold: probability below which a mention stays unlinked.
        preferred: vocabularies whose ids are given of a concept that has several, best first.
        names: learnt ones: normalised surface, entity id, mentions.
        made: how: examples, likelihood, what the threshold was chosen on.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: dict(_PRIOR))
    nil: Mapping[str, float] = field(default_factory=lambda: dict(_PRIOR_NIL))
    vocabularies: Mapping[str, float] = field(default_factory=dict)
    types: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    threshold: float = THRESHOLD
    preferred: tuple[str, ...] = ()
    names: tuple[tuple[str, str, int], ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)

    def probabilities(self, pool: Pool, index: LinkIndex) -> tuple[Floats, Floats]:
        """(n,) of each candidate of `pool`, and (G,) that it is none of them."""
        scores = pool.features @ _vector(self.weights, FEATURES)
        scores += bit_matrix(index.vocabulary_bits[pool.concepts]) @ self._vocabulary_weights(index)
        scores += self._type_scores(pool, index)
        return softmax(scores, pool.owners, pool.nil @ _vector(self.nil, NIL_FEATURES))

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps({"format": FORMAT, "features": FEATURES, **asdict(self)}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, *, where: object) -> Ranker:
        """The ranker that `to_json` wrote.

        Raises:
            CheckpointError: `text` is none, or of another version.
        """
        try:
            values = json.loads(text)
            if values.pop("format") != FORMAT or tuple(values.pop("features")) != FEATURES:
                raise CheckpointError(f"{where}: a ranker of another version; fit it anew")
            values["preferred"], values["names"] = tuple(values["preferred"]), tuple(map(tuple, values["names"]))
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{where}: not a ranker: {error!r}") from error

    def _vocabulary_weights(self, index: LinkIndex) -> Floats:
        return _vector(self.vocabularies, index.vocabularies[:MOST_BITS], size=MOST_BITS)

    def _type_scores(self, pool: Pool, index: LinkIndex) -> Floats:
        scores = np.zeros(len(pool.owners), dtype=np.float32)
        bits = index.type_bits[pool.concepts]
        types = np.array(pool.types, dtype=object)[pool.owners]
        for type, weights in self.types.items():
            own = np.flatnonzero(types == type)
            scores[own] = bit_matrix(bits[own]) @ _vector(weights, index.exact.types[:MOST_BITS], size=MOST_BITS)
        return scores


def softmax(scores: Floats, owners: npt.NDArray[np.int64], nil: Floats) -> tuple[Floats, Floats]:
    """Shares of the candidates and of none, which add up to 1 in each group."""
    top = nil.copy()
    np.maximum.at(top, owners, scores)
    own, none = np.exp(scores - top[owners]), np.exp(nil - top)
    total = none + np.bincount(owners, weights=own, minlength=len(nil)).astype(np.float32)
    return own / total[owners], none / total


def bit_matrix(bits: npt.NDArray[np.uint64]) -> Floats:
    """(n, 64) of n numbers, lowest bit first."""
    data = np.ascontiguousarray(bits, dtype="<u8").view(np.uint8).reshape(len(bits), 8)
    return np.unpackbits(data, axis=1, bitorder="little").astype(np.float32)


def _vector(weights: Mapping[str, float], names: tuple[str, ...], *, size: int | None = None) -> Floats:
    values = np.zeros(size or len(names), dtype=np.float32)
    values[: len(names)] = [weights.get(name, 0.0) for name in names]
    return values
