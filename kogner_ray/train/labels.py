"""What the KG says of the wanted types: more texts for each, to learn to read labels, and finer types.

In each step a type's label text is drawn from its own and those that the KG gives, and types may be left out. The
label encoder being frozen, all texts are encoded once. Nothing of it outlives the training: a checkpoint keeps each
type's own text, and no finer type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.errors import ConfigError
from kogner_ray.kg.embeddings import EntityTable
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.kg.taxonomy import Taxonomy
from kogner_ray.silver.names import stands_for
from kogner_ray.train.finer import FinerTypes

Source = Literal["types", "names", "synonyms", "definitions", "parents", "siblings"]
_SYNONYMS = 2
_SENTENCE_END = re.compile(r"(?<=\.)\s+(?=[A-Z])")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|_")


class LabelKnowledge(Config):
    """What is taken of the KG for the label texts of types.

    Attributes:
        kg: folder with nodes.parquet and edges.parquet; None takes the KG that the run trained its teacher on.
        sources: what becomes a text: names of the KG's types that stand for a wanted one; names, synonyms and
            definitions of its most general entities; `..., a kind of PARENT`; `..., not SIBLING`.
        general: entities of each type, those with the most kinds below them, whose names and definitions are taken.
        max_words: of a text; definitions are cut at their first sentence, too.
        own: share of steps in which a type has its own text.
        dropout: share of types that are left out of a step.
        finer: finer types of each wanted one, as further columns in training on silver documents: the KG's types that
            stand for it, where they are several, and nodes that its entities are kinds of.
        min_members: entities of the entity table that a finer type must have; it must not have more than half of them.
        is_a: relations whose head is a kind of their tail.
    """

    kg: Path | None = None
    sources: tuple[Source, ...] = ("types", "names", "synonyms", "definitions", "parents", "siblings")
    general: int = Field(3, gt=0)
    max_words: int = Field(40, gt=0)
    own: float = Field(0.5, ge=0, le=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    finer: int = Field(0, ge=0)
    min_members: int = Field(20, gt=0)
    is_a: tuple[str, ...] = ("is_a", "subclass_of", "subClassOf")

    def taxonomy(self, own: Path) -> Taxonomy:
        """The hierarchy of `kg`, or else of the KG in the folder `own`.

        Raises:
            ConfigError: there is neither.
        """
        folder = self.kg or own
        if not folder.is_dir():
            raise ConfigError(f"labels.kg: expected a folder with nodes.parquet and edges.parquet, {folder} is none")
        return Taxonomy.read(folder, self.is_a)


class LabelTexts(Config):
    """Label texts that a training draws from.

    Attributes:
        texts: column -> its texts, its own first; the student's types, in order, then finer ones.
        own: share of draws that give the own text.
        dropout: share of columns left out.
    """

    texts: Mapping[str, tuple[str, ...]]
    own: float
    dropout: float

    def with_finer(self, finer: FinerTypes) -> LabelTexts:
        """The same with the columns of `finer` after them."""
        return self.model_copy(update={"texts": {**self.texts, **finer.texts}})

    def draw(self, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Number of the text of each column, and whether it is kept; at least one is. The same for the same seed."""
        generator = np.random.default_rng(seed)
        counts = np.array([len(texts) for texts in self.texts.values()])
        other = generator.random(len(counts)) >= self.own
        drawn = np.where(other, 1 + (generator.random(len(counts)) * (counts - 1)).astype(np.int64), 0)
        kept = generator.random(len(counts)) >= self.dropout
        kept[generator.integers(len(counts))] |= not kept.any()
        return np.minimum(drawn, counts - 1), kept


def label_texts(
    config: LabelKnowledge, types: Mapping[str, str], taxonomy: Taxonomy, linker: LinkerConfig
) -> LabelTexts:
    """Each of `types` with its own text and those that the KG has for it."""
    texts = {}
    for wanted, own in types.items():
        others = [text for name, text in types.items() if name != wanted]
        texts[wanted] = _distinct([own, *_said(config, wanted, own, others, taxonomy, linker)], config.max_words)
    return LabelTexts(texts=texts, own=config.own, dropout=config.dropout)


def finer_types(
    config: LabelKnowledge, types: Mapping[str, str], taxonomy: Taxonomy, linker: LinkerConfig, table: EntityTable
) -> FinerTypes:
    """`config.finer` finer types for each of `types`, each with its texts; fewer where the KG has no more."""
    node_of = {id_: node for node, id_ in enumerate(taxonomy.nodes["id"].to_pylist())}
    ids, kinds = table.entities["id"].to_pylist(), table.entities["type"].to_pylist()
    parents: dict[int, int] = {}
    of_row: dict[int, tuple[int, ...]] = {}
    texts: dict[str, tuple[str, ...]] = {}
    for index, (wanted, own) in enumerate(types.items()):
        rows = [row for row, kind in enumerate(kinds) if kind and stands_for(linker, wanted, kind)]
        ancestors = {row: taxonomy.ancestors(node_of[ids[row]]) for row in rows if ids[row] in node_of}
        groups = {name: [row for row in rows if kinds[row] == name] for name in sorted({kinds[row] for row in rows})}
        below: dict[str | int, list[int]] = {**groups}
        for row, found in ancestors.items():
            for ancestor in found:
                below.setdefault(ancestor, []).append(row)
        fitting = [key for key, under in below.items() if config.min_members <= len(under) <= len(rows) / 2]
        chosen = sorted(fitting, key=lambda key: (-len(below[key]), str(key)))[: config.finer]
        said = {key: _spoken(key) if isinstance(key, str) else " ".join(taxonomy.names([key])) for key in chosen}
        for key in chosen:
            column = len(types) + len(parents)
            parents[column] = index
            others = [said[other] for other in chosen if other != key]
            texts[f"{wanted}: {key}"] = _distinct(
                [said[key] or own, *_of_node(config, key, said[key], own, others, taxonomy)], config.max_words
            )
            for row in below[key]:
                of_row[row] = (*of_row.get(row, ()), column)
    return FinerTypes(parents, of_row, texts)


def _said(
    config: LabelKnowledge, wanted: str, own: str, others: Sequence[str], taxonomy: Taxonomy, linker: LinkerConfig
) -> Iterator[str]:
    kinds = taxonomy.nodes["type"].to_pylist()
    standing = {kind for kind in set(kinds) if kind and stands_for(linker, wanted, kind)}
    if "types" in config.sources:
        yield from (_spoken(kind) for kind in sorted(standing))
    rows = [row for row, kind in enumerate(kinds) if kind in standing]
    members = taxonomy.members(rows)
    general = sorted(members.keys() & set(rows), key=lambda row: (-members[row], row))[: config.general]
    for row in general:
        yield from _of_node(config, row, own, None, (), taxonomy)
    if "siblings" in config.sources:
        yield from (f"{own}, not {other}" for other in others)


def _of_node(
    config: LabelKnowledge,
    node: int | str,
    name: str,
    above: str | None,
    siblings: Sequence[str],
    taxonomy: Taxonomy,
) -> Iterator[str]:
    """Texts for a node (or a type of the KG) called `name`, a kind of `above`."""
    if isinstance(node, int):
        row = taxonomy.nodes.slice(node, 1).to_pylist()[0]
        if "names" in config.sources:
            yield row["name"] or ""
        if "synonyms" in config.sources:
            yield from (row["synonyms"] or ())[:_SYNONYMS]
        if "definitions" in config.sources:
            yield _SENTENCE_END.split(row["description"] or "", maxsplit=1)[0]
    if "parents" in config.sources:
        known = taxonomy.names(taxonomy.parents.get(node, ())) if isinstance(node, int) else []
        yield from (f"{name}, a kind of {parent}" for parent in ([above] if above else known))
    if "siblings" in config.sources:
        yield from (f"{name}, not {sibling}" for sibling in siblings)


def _distinct(texts: Sequence[str], max_words: int) -> tuple[str, ...]:
    seen: dict[str, str] = {texts[0].casefold(): texts[0]}
    for text in texts[1:]:
        if cut := " ".join(text.split()[:max_words]):
            seen.setdefault(cut.casefold(), cut)
    return tuple(seen.values())


def _spoken(type_: str) -> str:
    """`SideEffect` as `side effect`; acronyms stay."""
    return " ".join(word if word.isupper() else word.lower() for word in _CAMEL.sub(" ", type_).split())
