"""Which entity of the KG a mention denotes: candidates by name, ranked by the place of the mention in H."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from kogner_ray.kg.linking import Linker
from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.student.decode import ScoredSpan
from kogner_ray.student.spans import SpanHalves

LINK_THRESHOLD = 0.0
"""Cosine to H below which a mention with several candidates stays unlinked."""


@dataclass(frozen=True, slots=True)
class Link:
    """An entity of the KG.

    Attributes:
        id: of the entity.
        name: of the entity.
        score: cosine between g(S_ij) and the entity's row of H.
    """

    id: str
    name: str
    score: float


class Disambiguator:
    """Links mentions to the entities of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """`checkpoint` must have a KG head and entities."""
        assert checkpoint.entities is not None and checkpoint.kg_head is not None
        self._marker, self._kg_head = checkpoint.student.marker, checkpoint.kg_head
        self._entities = checkpoint.entities.entities
        self._linker = Linker.from_table(self._entities)
        self._directions_NH = normalize(checkpoint.entities.stacked(checkpoint.modalities), dim=1)

    def project(self, halves: SpanHalves, span: ScoredSpan) -> torch.Tensor:
        """g(S_ij) of a span of the batch that `halves` belong to, (H,)."""
        at = [torch.tensor([word], device=halves.starts_WF.device) for word in (span.start, span.end)]
        point_H: torch.Tensor = self._kg_head(self._marker.represent(halves, at[0], at[1]))[0]
        return point_H

    def link(self, surface: str, type: str, point_H: torch.Tensor) -> Link | None:
        """The nearest of the entities that have the name `surface`, preferably of `type`; None when there is none."""
        rows = self._linker.candidates(surface, [type]) or self._linker.candidates(surface)
        if not rows:
            return None
        scores = self._directions_NH[torch.tensor(rows)] @ normalize(point_H.float().cpu(), dim=0)
        best = int(scores.argmax())
        if len(rows) > 1 and float(scores[best]) < LINK_THRESHOLD:
            return None
        row = self._entities.slice(rows[best], 1).to_pylist()[0]
        return Link(row["id"], row["name"], float(scores[best]))
