"""Which entity of the KG a mention denotes: a checkpoint's index and ranker, and where its student sees the mention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kogner_ray.kg.ranking.chooser import Chooser
from kogner_ray.kg.ranking.links import Links, directions_of, make_links
from kogner_ray.kg.ranking.mentions import Mentions, group_mentions
from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.student.onnx.checkpoint import OnnxCheckpoint


@dataclass(frozen=True, slots=True)
class Link:
    """An entity of the KG.

    Attributes:
        id: of the entity.
        name: of the entity.
        score: probability that the mention denotes its concept.
    """

    id: str
    name: str
    score: float


class Disambiguator:
    """Links mentions to the entities of a checkpoint."""

    def __init__(
        self,
        checkpoint: Checkpoint | OnnxCheckpoint,
        *,
        vocabularies: Sequence[str] = (),
        threshold: float | None = None,
    ) -> None:
        """Link with a checkpoint's index; where it has none, as older ones, one is made in memory.

        Args:
            checkpoint: with a KG head and entities.
            vocabularies: see `Chooser`.
            threshold: see `Chooser`.
        """
        assert checkpoint.entities is not None and checkpoint.kg_head is not None
        self._kg_head = checkpoint.kg_head
        self.links = checkpoint.links or links_in_memory(checkpoint)
        self._chooser = Chooser(self.links.index, self.links.ranker, vocabularies=vocabularies, threshold=threshold)

    @property
    def threshold(self) -> float:
        """Probability that a link must reach."""
        return self._chooser.threshold

    def project(self, spans_SD: torch.Tensor) -> torch.Tensor:
        """g(S_ij) of span representations, (S, H) on the CPU, rows of length 1."""
        return self._kg_head.project(spans_SD)

    def candidates(self, documents: Sequence[Mentions], points_SH: torch.Tensor, *, most: int) -> list[list[Link]]:
        """The `most` probable concepts of each mention, best first, whatever the threshold; arguments as of `link`."""
        grouped = group_mentions(documents)
        ranked = self._chooser.rank(grouped.groups, grouped.mean_points(points_SH.numpy()))
        made = []
        for first, end in zip(ranked.starts[:-1].tolist(), ranked.starts[1:].tolist(), strict=True):
            best = ranked.order[first : min(end, first + most)]
            rows, scores = self._chooser.shown(ranked.pool, best), ranked.probabilities[best]
            made.append([self._made(*own) for own in zip(rows.tolist(), scores.tolist(), strict=True)])
        return [made[group] for group in grouped.group_of.tolist()]

    def link(self, documents: Sequence[Mentions], points_SH: torch.Tensor) -> list[Link | None]:
        """The entity of each mention, or None; mentions of a document that say the same are linked alike.

        Args:
            documents: their mentions.
            points_SH: of the mentions in order, as `project` gives them.
        """
        grouped = group_mentions(documents)
        rows, scores = self._chooser.link(grouped.groups, grouped.mean_points(points_SH.numpy()))
        pairs = zip(rows.tolist(), scores.tolist(), strict=True)
        made = [None if row < 0 else self._made(row, score) for row, score in pairs]
        return [made[group] for group in grouped.group_of.tolist()]

    def _made(self, row: int, score: float) -> Link:
        return Link(self.links.index.ids[row], self.links.index.names[row], score)


def links_in_memory(checkpoint: Checkpoint | OnnxCheckpoint) -> Links:
    """An index of the entities that `checkpoint` has, and a ranker that has seen no mention."""
    assert checkpoint.entities is not None
    table = checkpoint.entities
    return make_links(table.entities, directions=np.asarray(directions_of(table, checkpoint.modalities)))
