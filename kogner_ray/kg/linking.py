"""Mentions to entity rows: by concept id where the corpus has one, else by normalised name or synonym."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
        n_candidates: distinct concepts that matched equally well (`count_concepts`); above 1 the link is ambiguous, and
            `row` is the best by type and degree.
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
        self._ranks: dict[str, dict[int, int] | None] = {}

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
        rows = [row for concept in entity.concepts for row in self.rows_with_id(concept, entity.type)]
        return self._make_link(rows, "id", entity.type) or self.link_surface(surface, entity.type)

    def link_surface(self, surface: str, type: str) -> Link | None:
        """Link `surface`, a mention of `type`, by name, else by synonym; a compatible type comes before a name."""
        hits = self.index.rows_named(surface)
        hits = self._of_type(hits, type) or (hits if self.config.other_types else [])
        by_name = [row for row, kind in hits if kind == NAME]
        return self._make_link(by_name, "name", type) or self._make_link([row for row, _ in hits], "synonym", type)

    def candidates(self, surface: str, types: Iterable[str] | None = None) -> list[int]:
        """Rows called `surface`: name matches first, then those of an equal type, then by degree.

        With `types` (corpus or KG types), only rows compatible with one of them.
        """
        hits = self.index.rows_named(surface)
        wanted = [""] if types is None else list(types)
        order = {
            row: min((kind, *self._preference(row, type)) for type in wanted)
            for row, kind in hits
            if types is None or any(self._fits(row, type) for type in wanted)
        }
        return sorted(order, key=lambda row: order[row])

    def rows_with_id(self, concept: str, type: str) -> list[int]:
        """Rows that `concept` names, of a type that fits `type` where there are such."""
        hits = self.index.rows_with_id(concept)
        fitting = self._of_type(hits, type)
        # A number without its prefix is an id in every namespace: only the type tells which.
        if not fitting and any(kind >= BARE_ID for _, kind in hits) and bare_id(concept).isdigit():
            return []
        return [row for row, _ in fitting or hits]

    def compatible_types(self, type: str) -> list[str]:
        """KG types that a mention of `type` may link to; empty when it has no counterpart, so that all may."""
        return [self.index.types[code] for code in sorted(self._type_ranks(type) or ())]

    def _make_link(self, rows: list[int], how: How, type: str) -> Link | None:
        if not rows:
            return None
        best = min(rows, key=lambda row: self._preference(row, type))
        return Link(best, how, count_concepts(rows, self.index), self._fits(best, type))

    def _of_type(self, hits: list[tuple[int, int]], type: str) -> list[tuple[int, int]]:
        return [(row, kind) for row, kind in hits if self._fits(row, type)]

    def _fits(self, row: int, type: str) -> bool:
        ranks = self._type_ranks(type)
        return ranks is None or int(self.index.type_codes[row]) in ranks

    def _preference(self, row: int, type: str) -> tuple[int, int, int]:
        """Sort key of a candidate: equal type, then one of the family, then others; then the most edges."""
        rank = (self._type_ranks(type) or {}).get(int(self.index.type_codes[row]), 2)
        return rank, -int(self.index.degrees[row]), row

    def _type_ranks(self, type: str) -> dict[int, int] | None:
        """KG type code -> 0 where the name is equal, 1 where it is compatible; None when every type may be linked."""
        if type not in self._ranks:
            wanted = self.config.types.get(type)
            ranks = {
                code: int(type_key(known) != type_key(type))
                for code, known in enumerate(self.index.types)
                if (known in wanted if wanted is not None else types_alike(type, known))
            }
            self._ranks[type] = ranks if ranks or wanted is not None else None
        return self._ranks[type]


def count_concepts(rows: Sequence[int], index: NameIndex) -> int:
    """Number of different concepts among `rows`.

    Rows of one cluster are one concept. So are rows of the same name from different vocabularies (`MESH:D003042` and
    `DRUGBANK:DB00907`, both Cocaine), whereas one vocabulary does not list a concept twice.
    """
    groups: list[set[int]] = []
    for row in rows:
        keys = (int(index.concepts[row]), int(index.name_hashes[row]))
        same = [group for group in groups if any(_share_concept(index, keys, other) for other in group)]
        groups = [group for group in groups if group not in same] + [{row}.union(*same)]
    return sum(_most_in_one_vocabulary(index, group) for group in groups)


def _share_concept(index: NameIndex, keys: tuple[int, int], other: int) -> bool:
    return keys[0] == int(index.concepts[other]) or keys[1] == int(index.name_hashes[other])


def _most_in_one_vocabulary(index: NameIndex, group: set[int]) -> int:
    pairs = {(int(index.vocabularies[row]), int(index.concepts[row])) for row in group}
    return max(Counter(vocabulary for vocabulary, _ in pairs).values())


@lru_cache(maxsize=4096)
def types_alike(first: str, second: str) -> bool:
    """Two type names are equal but for case, separators and a plural s, or share a family of `TYPE_FAMILIES`."""
    a, b = type_key(first), type_key(second)
    return a == b or any(a in family and b in family for family in TYPE_FAMILIES)


def type_key(type: str) -> str:
    key = "".join(character for character in type.casefold() if character.isalnum())
    return key[:-1] if key.endswith("s") and not key.endswith(("ss", "sis", "species")) else key
