"""Examples from the KG itself: an entity is asked for by one of its names, often by one that the index then forgets.

    as it is      its name or a synonym is in the index: which of those that are called so?
    held out      that name is forgotten: can the others still find it?
    gone          the whole concept is forgotten: nothing should be found

The mention's type is that of an entity with the same name in another vocabulary where there is one, since two
vocabularies often call one thing by different types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kogner_ray.kg.index.folding import bag, squashed
from kogner_ray.kg.index.index import LinkIndex
from kogner_ray.kg.names import NAME, normalise_name
from kogner_ray.kg.ranking.finder import Finder, Found, HeldOut, Query
from kogner_ray.kg.ranking.fit import Examples, best_threshold, fit
from kogner_ray.kg.ranking.pool import Floats, Group, make_pool
from kogner_ray.kg.ranking.ranker import Ranker

N_EXAMPLES = 4_000
"""Names that are asked for."""
_HELD_OUT, _GONE = 0.3, 0.1
_FEWEST = 40
_LEAST_LETTERS = 3

Project = Callable[[Sequence[str]], Floats]
"""Names to where a student sees them in H, (n, d), rows of length 1."""


@dataclass(frozen=True)
class _Asked:
    row: int
    name: str
    fate: str


def rehearse(
    index: LinkIndex, table: pa.Table, *, project: Project | None = None, n: int = N_EXAMPLES, seed: int = 0
) -> Ranker:
    """A ranker for entities of which no mention is known.

    Args:
        index: of `table`.
        table: the entities.
        project: of a student; None leaves the weight of H's cosine as it is.
        n: names to ask for; half of them fit the weights, half choose the threshold.
        seed: of the choice.
    """
    asked = _choose(table, n, seed)
    if len(asked) < _FEWEST:
        return Ranker()
    examples = _examples(index, table, asked, project)
    fitted = fit(Ranker(), examples[0], index, priors=False)
    made = {"rehearsed": len(asked), **fitted.made}
    return replace(fitted, threshold=best_threshold(fitted, examples[1], index), made=made)


def _choose(table: pa.Table, n: int, seed: int) -> list[_Asked]:
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(table.num_rows)[:n])
    taken = table.take(pa.array(rows))
    asked = []
    columns = (taken["name"].to_pylist(), taken["synonyms"].to_pylist())
    for row, name, synonyms in zip(rows.tolist(), *columns, strict=True):
        names = sorted({text for text in (name, *(synonyms or ())) if text and _is_word(text)})
        luck = generator.random()
        fate = "gone" if luck < _GONE else "held out" if luck < _GONE + _HELD_OUT and len(names) > 1 else "as it is"
        if names:
            asked.append(_Asked(row, names[int(generator.integers(len(names)))], fate))
    return asked


def _is_word(name: str) -> bool:
    return sum(character.isalpha() for character in name) >= _LEAST_LETTERS


def _examples(
    index: LinkIndex, table: pa.Table, asked: Sequence[_Asked], project: Project | None
) -> tuple[Examples, Examples]:
    queries = [Query(question.name) for question in asked]
    concepts = index.concepts[[question.row for question in asked]].astype(np.int64)
    found = Finder(index).find(queries, held_out=_held_out(index, table, asked, concepts))
    for number, question in enumerate(asked):
        if question.fate == "gone":
            found[number] = _without(found[number], int(concepts[number]))
    points = None if project is None else project([question.name for question in asked])
    types = _types(index, asked)
    halves = []
    for half in (slice(0, None, 2), slice(1, None, 2)):
        numbers = range(len(asked))[half]
        groups = [Group(i, queries[i], types[i]) for i in numbers]
        pool = make_pool(index, groups, [found[i] for i in numbers], None if points is None else points[half])
        right = pool.concepts == concepts[half][pool.owners]
        known = sum(asked[i].fate != "gone" for i in numbers)
        halves.append(Examples(pool, right, np.ones(len(groups), dtype=np.int64), known))
    return halves[0], halves[1]


def _held_out(index: LinkIndex, table: pa.Table, asked: Sequence[_Asked], concepts: npt.NDArray[np.int64]) -> HeldOut:
    forgotten = np.where([question.fate == "as it is" for question in asked], -1, concepts)
    squashes, bags = np.zeros(len(asked), dtype=bool), np.zeros(len(asked), dtype=bool)
    for number, (question, concept) in enumerate(zip(asked, forgotten.tolist(), strict=True)):
        if concept < 0:
            continue
        own, others = normalise_name(question.name), _other_names(index, table, question, concept)
        squashes[number] = squashed(own) in {squashed(name) for name in others}
        bags[number] = bag(own) in {bag(name) for name in others}
    return HeldOut(forgotten, squashes, bags)


def _other_names(index: LinkIndex, table: pa.Table, question: _Asked, concept: int) -> set[str]:
    members = table.select(["name", "synonyms"]).take(pa.array(index.members_of(concept))).to_pylist()
    names = {normalise_name(text) for row in members for text in (row["name"] or "", *(row["synonyms"] or ()))}
    return names - {normalise_name(question.name)}


def _types(index: LinkIndex, asked: Sequence[_Asked]) -> list[str]:
    """Of each question, the type of another entity called as it is shown, else its own."""
    names, codes = index.exact.names, index.exact.type_codes
    rows = np.array([question.row for question in asked])
    owners, at = names.find_all(index.exact.name_hashes[rows])
    others = names.rows[at]
    kept = (names.kinds[at] == NAME) & (index.exact.vocabularies[others] != index.exact.vocabularies[rows[owners]])
    types = codes[rows].copy()
    types[owners[kept]] = codes[others[kept]]
    return [index.exact.types[code] for code in types]


def _without(found: Found, concept: int) -> Found:
    kept = found.concepts != concept
    return Found(found.concepts[kept], found.rows[kept], found.features[kept])
