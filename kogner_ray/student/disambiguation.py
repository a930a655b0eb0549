"""Which entity of the KG a mention denotes: candidates by name, ranked by the place of the mention in H."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn.functional import normalize

from kogner_ray.kg.linking import Linker
from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.student.onnx.checkpoint import OnnxCheckpoint

LINK_THRESHOLD = 0.0
"""Cosine to H below which a mention with several candidates stays unlinked."""

_CACHED_SURFACES = 1 << 16


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

    def __init__(self, checkpoint: Checkpoint | OnnxCheckpoint) -> None:
        """`checkpoint` must have a KG head and entities."""
        assert checkpoint.entities is not None and checkpoint.kg_head is not None
        self._kg_head = checkpoint.kg_head
        self._entities = checkpoint.entities.entities
        self._linker = Linker.from_table(self._entities)
        self._table, self._modalities = checkpoint.entities, checkpoint.modalities
        self._candidates = lru_cache(_CACHED_SURFACES)(self._called)

    def project(self, spans_SD: torch.Tensor) -> torch.Tensor:
        """g(S_ij) of span representations, (S, H) on the CPU, rows of length 1."""
        device = next(self._kg_head.parameters()).device
        return normalize(self._kg_head(spans_SD.to(device)).float(), dim=1).cpu()

    def link(self, surfaces: Sequence[str], types: Sequence[str], points_SH: torch.Tensor) -> list[Link | None]:
        """For each mention the nearest of the entities that have its name, preferably of its type.

        Args:
            surfaces: the mentions' characters.
            types: the mentions' types.
            points_SH: as `project` gives them.

        Returns:
            None where nothing has the name, or several do and none of them is near (`LINK_THRESHOLD`).
        """
        rows = [self._candidates(surface, type) for surface, type in zip(surfaces, types, strict=True)]
        owners = torch.repeat_interleave(torch.tensor([len(found) for found in rows], dtype=torch.int64))
        flat = torch.tensor([row for found in rows for row in found], dtype=torch.int64)
        directions_CH = normalize(self._table.rows(flat, self._modalities), dim=1)
        cosines = (directions_CH * points_SH[owners]).sum(1).tolist()
        links: list[Link | None] = []
        first = 0
        for found in rows:
            links.append(self._nearest(found, cosines[first : first + len(found)]))
            first += len(found)
        return links

    def _called(self, surface: str, type: str) -> tuple[int, ...]:
        return tuple(self._linker.candidates(surface, [type]) or self._linker.candidates(surface))

    def _nearest(self, rows: Sequence[int], cosines: Sequence[float]) -> Link | None:
        if not rows:
            return None
        score, row = max(zip(cosines, rows, strict=True), key=lambda pair: pair[0])
        if len(rows) > 1 and score < LINK_THRESHOLD:
            return None
        entity = self._entities.slice(row, 1)
        return Link(entity["id"][0].as_py(), entity["name"][0].as_py(), score)
