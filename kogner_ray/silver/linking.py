"""KG ids for the names that an annotator found, and which KG types stand for which wanted ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from kogner_ray.data.abbreviations import find_definitions
from kogner_ray.data.spans import UNKNOWN, Document, Entity
from kogner_ray.data.words import split_words
from kogner_ray.kg.linking import Link, Linker, LinkerConfig, NameIndex, types_alike
from kogner_ray.kg.names import NAME as AS_NAME
from kogner_ray.kg.names import SYNONYM, KeyIndex
from kogner_ray.silver.annotate import NAME
from kogner_ray.silver.names import NameFinder, name_key

KG_NAME, CANDIDATES = "kg_name", "candidates"
"""Attributes of a mention: what the KG calls its entity; the ids among which the name does not decide."""

_MOST_CANDIDATES = 5


def types_for(wanted: Sequence[str], known: Iterable[str], config: LinkerConfig) -> LinkerConfig:
    """`config` that says of each wanted type which of the `known` KG types stand for it.

    A KG type that is wanted itself stands for nothing else: where Gene and Protein are both wanted, genes are no
    proteins, however alike the two are.

    Args:
        wanted: types to annotate.
        known: types of the KG.
        config: what it says of a type already is left as it is.
    """
    types = {name: config.types[name] for name in wanted if name in config.types}
    own = set(wanted) & set(known)
    for name in wanted:
        if name not in types:
            alike = [kind for kind in known if kind == name or (kind not in own and types_alike(name, kind))]
            if alike:  # none: the finder says which types there are
                types[name] = tuple(alike)
    return LinkerConfig(types=types, other_types=False, id_columns=config.id_columns)


class NameLinker:
    """Gives found names the ids of the entities that they are names of."""

    def __init__(
        self, nodes: pa.Table, finder: NameFinder, config: LinkerConfig, *, prefer: Sequence[str] = ()
    ) -> None:
        """Index the names of `nodes` as `finder` compares them.

        Args:
            nodes: table with columns id, name, type, synonyms, and those by which linking tells concepts apart.
            finder: what found the names.
            config: which KG types stand for which wanted ones.
            prefer: prefixes of ids, such as MESH: of the ids that a concept has, the first of these is given.
        """
        self.nodes, self._finder = nodes, finder
        self._prefer = [f"{prefix.casefold().removesuffix(':')}:" for prefix in prefer]
        self._id_columns = [name for name in config.id_columns if name in nodes.column_names]
        whole = NameIndex.from_table(nodes, id_columns=config.id_columns)
        self.linker = Linker(replace(whole, names=KeyIndex.build(_keys(nodes))), config)
        self._members: dict[int, list[int]] = defaultdict(list)
        for row, concept in enumerate(whole.concepts.tolist() if prefer else ()):
            self._members[concept].append(row)

    def linked(self, document: Document) -> Document:
        """`document` with the KG's id as concept of each mention whose name one concept has.

        A mention by an abbreviation that the document itself defines is one of the long form. What the annotator noted
        of a mention (`NAME`, `DOUBTED`) is dropped; of a name that several concepts have, `CANDIDATES` holds the ids.
        """
        expanded = self._definitions(document.text)
        return document.with_entities(self._linked(entity, expanded) for entity in document.entities)

    def link(self, name: str, type_: str) -> Link | None:
        """The link of a name, as `name_key` writes it."""
        return self.linker.link_surface(name, type_)

    def _linked(self, entity: Entity, expanded: Mapping[str, str]) -> Entity:
        bare = Entity(entity.start, entity.end, entity.type)
        if entity.type == UNKNOWN:
            return bare
        name = expanded.get(entity.attributes[NAME], entity.attributes[NAME])
        link = self.link(name, entity.type)
        if link is None:
            return bare
        rows = self.linker.candidates(name, [entity.type])
        if link.n_candidates > 1:
            ids = [self._of(row, "id") for row in rows[:_MOST_CANDIDATES]]
            return replace(bare, attributes={CANDIDATES: "|".join(ids)})
        called = self._of(link.row, "name")
        return replace(bare, concepts=(self._preferred(link.row, rows),), attributes={KG_NAME: called})

    def _preferred(self, best: int, rows: Sequence[int]) -> str:
        """The id of a concept that has `rows`: of the preferred vocabularies, else that of the best row."""
        concepts = self.linker.index.concepts
        members = dict.fromkeys(at for row in (best, *rows) for at in self._members.get(int(concepts[row]), ()))
        for prefix in self._prefer:
            for row in (best, *rows, *members):
                found = next((own for own in self._ids_of(row) if own.casefold().startswith(prefix)), None)
                if found is not None:
                    return found
        return self._of(best, "id")

    def _ids_of(self, row: int) -> Iterator[str]:
        yield self._of(row, "id")
        for name in self._id_columns:
            value = self.nodes[name][row].as_py()
            yield from [value] if isinstance(value, str) else value or ()

    def _definitions(self, text: str) -> dict[str, str]:
        """Short form -> name of the KG that its long form ends with, for the abbreviations that a text defines."""
        words = split_words(text)
        found: dict[str, str] = {}
        for definition in find_definitions(words):
            match = self._finder.ending_at(text, words, definition.first, definition.last)
            if match is not None:
                found.setdefault(definition.short, match.name)
        return found

    def _of(self, row: int, column: str) -> str:
        return str(self.nodes[column][row].as_py())


def _keys(nodes: pa.Table) -> Iterator[tuple[str, int, int]]:
    columns = (nodes[column].to_pylist() for column in ("name", "synonyms"))
    for row, (own, synonyms) in enumerate(zip(*columns, strict=True)):
        yield name_key(own or ""), row, AS_NAME
        for synonym in synonyms or ():
            yield name_key(synonym or ""), row, SYNONYM
