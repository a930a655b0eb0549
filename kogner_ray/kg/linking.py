"""Mentions to entity rows: by concept id where the corpus has one, else by normalised name or synonym."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import pyarrow as pa
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.data.spans import Document, Entity
from kogner_ray.kg.names import BARE_ID, ID_COLUMNS, NAME, NameIndex, bare_id, normalise_name

__all__ = ["Link", "Linker", "LinkerConfig", "NameIndex", "normalise_name"]

How = Literal["id", "name", "synonym"]

TYPE_FAMILIES: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "chemical compound drug substance metabolite smallmolecule simplechemical chemicalentity pharmacologicclass",
        "disease disorder syndrome phenotype symptom sideeffect specificdisease diseaseclass compositemention modifier "
        "diseaseorphenotypicfeature",
        "gene protein geneproduct geneorgeneproduct geneorprotein proteinfamily prge",
        "dna gene nucleicacid promoter",
        "rna transcript gene nucleicacid",
        "cell celltype cltp",
        "cellline clln",
        "anatomy tissue organ bodypart anatomicalstructure",
        "species organism taxon microbe microbiota organismtaxon",
        "biologicalprocess process pathway goterm",
        "cellularcomponent organelle goterm",
        "molecularfunction goterm",
    )
)
"""Type names that may denote the same things, written in lower case without separators."""


class LinkerConfig(Config):
    """How mentions are linked.

    Attributes:
        types: corpus type -> KG types it may link to; a type that is not listed links to KG types of an equal name or
            of its family (`TYPE_FAMILIES`), and to all when there is none.
        other_types: link to an entity of another type when none of a compatible type has the name (marked in the link).
        id_columns: extra node columns whose values are ids of the same concept.
    """

    types: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    other_types: bool = True
    id_columns: tuple[str, ...] = ID_COLUMNS


@dataclass(frozen=True, slots=True)
class Link:
    """The entity that a mention denotes.

    Attributes:
        row: entity index.
        how: what matched.
        n_candidates: distinct concepts that matched equally well; above 1 the link is ambiguous and `row` the first.
        type_matches: the entity's type is compatible with the mention's.
    """

    row: int
    how: How
    n_candidates: int = 1
    type_matches: bool = True

    @property
    def exact(self) -> bool:
        """One concept matched, of a compatible type."""
        return self.n_candidates == 1 and self.type_matches


class Linker:
    """Links mentions to the rows of one entity or node table."""

    def __init__(self, index: NameIndex, config: LinkerConfig | None = None) -> None:
        """Link against `index`."""
        self.index = index
        self.config = config or LinkerConfig()
        self._compatible: dict[str, frozenset[int] | None] = {}

    @classmethod
    def from_table(cls, table: pa.Table, config: LinkerConfig | None = None) -> Linker:
        """Index `table` (columns id, name, type, synonyms; others optional) and link against it."""
        config = config or LinkerConfig()
        return cls(NameIndex.from_table(table, id_columns=config.id_columns), config)

    def link(self, document: Document) -> list[Link | None]:
        """The link of each of the document's entities, None where nothing matches."""
        return [self.link_entity(entity, document.surface(entity)) for entity in document.entities]

    def link_entity(self, entity: Entity, surface: str) -> Link | None:
        """Link one mention: by its concepts, else by `surface`.

        A composite mention whose concepts are different entities counts them all as candidates.
        """
        rows = [row for concept in entity.concepts for row in self._rows_with_id(concept, entity.type)]
        return self._make_link(rows, "id", entity.type) or self.link_surface(surface, entity.type)

    def link_surface(self, surface: str, type: str) -> Link | None:
        """Link `surface`, a mention of `type`, by name, else by synonym; a compatible type comes before a name."""
        hits = self.index.rows_named(surface)
        hits = self._of_type(hits, type) or (hits if self.config.other_types else [])
        by_name = [row for row, kind in hits if kind == NAME]
        return self._make_link(by_name, "name", type) or self._make_link([row for row, _ in hits], "synonym", type)

    def candidates(self, surface: str, types: Iterable[str] | None = None) -> list[int]:
        """Rows called `surface`, name matches first, then by degree.

        With `types` (corpus or KG types), only rows compatible with one of them.
        """
        hits = self.index.rows_named(surface)
        if types is not None:
            kept = {row for type in types for row, _ in self._of_type(hits, type)}
            hits = [(row, kind) for row, kind in hits if row in kept]
        degrees = self.index.degrees
        return [row for row, _ in sorted(hits, key=lambda hit: (hit[1], -int(degrees[hit[0]]), hit[0]))]

    def compatible_types(self, type: str) -> list[str]:
        """KG types that a mention of `type` may link to; empty when it has no counterpart, so that all may."""
        return [self.index.types[code] for code in sorted(self._codes(type) or ())]

    def _rows_with_id(self, concept: str, type: str) -> list[int]:
        hits = self.index.rows_with_id(concept)
        fitting = self._of_type(hits, type)
        # A number without its prefix is an id in every namespace: only the type tells which.
        if not fitting and any(kind >= BARE_ID for _, kind in hits) and bare_id(concept).isdigit():
            return []
        return [row for row, _ in fitting or hits]

    def _make_link(self, rows: list[int], how: How, type: str) -> Link | None:
        if not rows:
            return None
        best = min(rows, key=lambda row: (-int(self.index.degrees[row]), row))
        n_concepts = len({int(self.index.concepts[row]) for row in rows})
        return Link(best, how, n_concepts, self._fits(best, type))

    def _of_type(self, hits: list[tuple[int, int]], type: str) -> list[tuple[int, int]]:
        return [(row, kind) for row, kind in hits if self._fits(row, type)]

    def _fits(self, row: int, type: str) -> bool:
        codes = self._codes(type)
        return codes is None or int(self.index.type_codes[row]) in codes

    def _codes(self, type: str) -> frozenset[int] | None:
        if type not in self._compatible:
            wanted = self.config.types.get(type)
            matches = frozenset(
                code
                for code, known in enumerate(self.index.types)
                if (known in wanted if wanted is not None else types_alike(type, known))
            )
            self._compatible[type] = matches if matches or wanted is not None else None
        return self._compatible[type]


@lru_cache(maxsize=4096)
def types_alike(first: str, second: str) -> bool:
    """Two type names are equal but for case, separators and a plural s, or share a family of `TYPE_FAMILIES`."""
    a, b = _type_key(first), _type_key(second)
    return a == b or any(a in family and b in family for family in TYPE_FAMILIES)


def _type_key(type: str) -> str:
    key = "".join(character for character in type.casefold() if character.isalnum())
    return key[:-1] if key.endswith("s") and not key.endswith(("ss", "sis", "species")) else key
