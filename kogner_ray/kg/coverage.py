"""How much of a corpus links to a knowledge graph: shares by mention and by unique surface, per type."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from kogner_ray.data.spans import Document
from kogner_ray.kg.linking import Link, Linker, normalise_name


@dataclass(frozen=True)
class TypeCoverage:
    """Counts for one entity type, or for all.

    Attributes:
        type: corpus type, or "all".
        mentions: mentions of it.
        by_id: mentions linked by concept id.
        by_name: mentions linked by an entity's name.
        by_synonym: mentions linked by a synonym.
        ambiguous: linked mentions with several candidate concepts.
        other_type: linked mentions whose entity is of an incompatible type.
        surfaces: distinct normalised surfaces.
        linked_surfaces: those with a linked mention.
    """

    type: str
    mentions: int
    by_id: int
    by_name: int
    by_synonym: int
    ambiguous: int
    other_type: int
    surfaces: int
    linked_surfaces: int

    @property
    def linked(self) -> int:
        """Mentions with a link of any kind."""
        return self.by_id + self.by_name + self.by_synonym

    @property
    def mention_share(self) -> float:
        """Linked mentions over mentions; 0 without mentions."""
        return self.linked / self.mentions if self.mentions else 0.0

    @property
    def surface_share(self) -> float:
        """Linked surfaces over surfaces; 0 without mentions."""
        return self.linked_surfaces / self.surfaces if self.surfaces else 0.0


@dataclass(frozen=True)
class CoverageReport:
    """Coverage of a corpus by a knowledge graph.

    Attributes:
        per_type: one row a corpus type, by falling number of mentions.
        total: all types together; a surface counts once a type.
    """

    per_type: tuple[TypeCoverage, ...]
    total: TypeCoverage

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, shares included."""
        shares = [
            asdict(row) | {"mention_share": round(row.mention_share, 4), "surface_share": round(row.surface_share, 4)}
            for row in (*self.per_type, self.total)
        ]
        return {"per_type": shares[:-1], "total": shares[-1]}

    def as_table(self, title: str = "Coverage of the corpus by the knowledge graph") -> Table:
        """A table for the terminal; the last row is the total."""
        table = Table(title=title)
        table.add_column("type")
        for heading in ("mentions", "linked", "by id", "by name", "by synonym", "ambiguous", "other type"):
            table.add_column(heading, justify="right")
        table.add_column("surfaces", justify="right")
        table.add_column("linked", justify="right")
        for row in (*self.per_type, self.total):
            counts = (row.by_id, row.by_name, row.by_synonym, row.ambiguous, row.other_type)
            table.add_row(
                row.type,
                str(row.mentions),
                f"{row.mention_share:.1%}",
                *(str(count) for count in counts),
                str(row.surfaces),
                f"{row.surface_share:.1%}",
                end_section=row is self.total or row is self.per_type[-1],
            )
        return table


def coverage(documents: Iterable[Document], linker: Linker) -> CoverageReport:
    """Link every mention of `documents` and count what was found, in one pass."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    surfaces: dict[str, dict[str, bool]] = defaultdict(dict)
    for document in documents:
        for entity, link in zip(document.entities, linker.link(document), strict=True):
            counts[entity.type].update(_marks(link))
            surface = normalise_name(document.surface(entity))
            surfaces[entity.type][surface] = surfaces[entity.type].get(surface, False) or link is not None
    rows = [_row(type, counts[type], list(surfaces[type].values())) for type in counts]
    rows.sort(key=lambda row: (-row.mentions, row.type))
    everything = [linked for type in counts for linked in surfaces[type].values()]
    return CoverageReport(tuple(rows), _row("all", sum(counts.values(), Counter()), everything))


def _marks(link: Link | None) -> list[str]:
    if link is None:
        return ["mention"]
    marks = ["mention", link.how]
    if link.n_candidates > 1:
        marks.append("ambiguous")
    if not link.type_matches:
        marks.append("other_type")
    return marks


def _row(type: str, marks: Counter[str], linked: list[bool]) -> TypeCoverage:
    return TypeCoverage(
        type=type,
        mentions=marks["mention"],
        by_id=marks["id"],
        by_name=marks["name"],
        by_synonym=marks["synonym"],
        ambiguous=marks["ambiguous"],
        other_type=marks["other_type"],
        surfaces=len(linked),
        linked_surfaces=sum(linked),
    )
