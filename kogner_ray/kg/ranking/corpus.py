"""Examples from annotated documents whose mentions carry concept ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kogner_ray.data.spans import UNKNOWN, Document, Entity
from kogner_ray.kg.index.index import LinkIndex
from kogner_ray.kg.linking import Linker
from kogner_ray.kg.ranking.chooser import Chooser
from kogner_ray.kg.ranking.finder import STRING_FEATURES
from kogner_ray.kg.ranking.fit import Examples, best_threshold, fit
from kogner_ray.kg.ranking.learnt import count_names
from kogner_ray.kg.ranking.mentions import Grouped, group_mentions, mentions_of
from kogner_ray.kg.ranking.pool import NIL_FEATURES, Floats, Pool
from kogner_ray.kg.ranking.ranker import Ranker

Locate = Callable[[Sequence[Document]], Floats]
"""Where a student sees the entities of documents (those of unknown type left out) in H, (M, d), rows of length 1."""

_LEARNT, _SHARE = STRING_FEATURES.index("learnt"), STRING_FEATURES.index("learnt share")
_FEWEST = 50
_DEV_SHARE = 5


@dataclass(frozen=True)
class Gold:
    """Mentions of some documents and what they denote.

    Attributes:
        entities: the mentions, all but those of unknown type.
        grouped: the same in groups.
        rows: of each mention, the entities that its ids name; empty where it has no id or the KG has none of them.
        concepts: of each mention, theirs; a composite mention has several, any of which is right.
    """

    entities: list[Entity]
    grouped: Grouped
    rows: list[list[int]]
    concepts: list[frozenset[int]]

    @property
    def n_known(self) -> int:
        """Mentions whose concept is in the KG."""
        return sum(map(bool, self.concepts))

    @property
    def keys(self) -> list[str]:
        """Of each mention, the normalised text that is looked up."""
        return [self.grouped.groups[group].query.key for group in self.grouped.group_of]


def read_gold(documents: Sequence[Document], index: LinkIndex) -> Gold:
    """The mentions of `documents`."""
    linker = Linker(index.exact)
    mentions = [mentions_of(document.with_entities(typed(document))) for document in documents]
    entities = [entity for document in documents for entity in typed(document)]
    rows = [[row for id in e.concepts for row in linker.rows_with_id(id, e.type)] for e in entities]
    concepts = [frozenset(index.concepts[own].tolist()) for own in rows]
    return Gold(entities, group_mentions(mentions), rows, concepts)


def typed(document: Document) -> list[Entity]:
    """The entities of `document` whose type is known."""
    return [entity for entity in document.entities if entity.type != UNKNOWN]


def fit_to_corpus(
    start: Ranker,
    index: LinkIndex,
    train: Sequence[Document],
    dev: Sequence[Document],
    *,
    locate: Locate | None = None,
) -> Ranker:
    """`start` fitted to `train`, with the names that it teaches and a threshold chosen on `dev`.

    Args:
        start: such as a rehearsal gives.
        index: entities.
        train: documents to fit to; where the KG knows fewer than 50 of their mentions, `start` comes back.
        dev: documents to choose the threshold on; where it knows as few of theirs, a fifth of `train` serves instead.
        locate: of a student; None does without H.
    """
    gold = read_gold(train, index)
    if gold.n_known < _FEWEST:
        return start
    learnt = count_names(zip(gold.keys, gold.concepts, strict=True))
    ids = ((key, index.ids[int(index.members_of(concept)[0])], count) for (key, concept), count in learnt.items())
    named = replace(start, preferred=_preferred(gold, index), names=tuple(sorted(ids)))
    own_dev = read_gold(dev, index).n_known >= _FEWEST
    fitting = train if own_dev else [document for number, document in enumerate(train) if number % _DEV_SHARE]
    held = dev if own_dev else train[::_DEV_SHARE]
    fitted = fit(named, as_examples(fitting, named, index, locate=locate, learnt_here=True), index)
    chosen_on = as_examples(held, named, index, locate=locate, learnt_here=not own_dev)
    made = {**fitted.made, "documents": len(train), "mentions": len(gold.entities), "in_kg": gold.n_known}
    return replace(fitted, threshold=best_threshold(fitted, chosen_on, index), made=made)


def as_examples(
    documents: Sequence[Document],
    ranker: Ranker,
    index: LinkIndex,
    *,
    locate: Locate | None = None,
    learnt_here: bool = False,
) -> Examples:
    """Examples of the mentions of `documents`.

    Args:
        documents: annotated text.
        ranker: whose names count as evidence.
        index: entities.
        locate: of a student; None does without H.
        learnt_here: the ranker's names were learnt from `documents` too; a name then counts for a mention only as far
            as other documents taught it, as it will be where it is used.
    """
    gold = read_gold(documents, index)
    grouped = gold.grouped
    points = None if locate is None else grouped.mean_points(locate(documents))
    pool = Chooser(index, ranker).pool(grouped.groups, points)
    if learnt_here:
        pool = _without_own(pool, gold)
    said: list[Counter[frozenset[int]]] = [Counter() for _ in grouped.groups]
    for group, concepts in zip(grouped.group_of.tolist(), gold.concepts, strict=True):
        said[group][concepts] += 1
    answers = [counts.most_common(1)[0][0] for counts in said]
    pairs = zip(pool.owners.tolist(), pool.concepts.tolist(), strict=True)
    right = np.fromiter((concept in answers[group] for group, concept in pairs), dtype=bool, count=len(pool.owners))
    return Examples(pool, right, np.array([counts.total() for counts in said], dtype=np.int64), gold.n_known)


def _without_own(pool: Pool, gold: Gold) -> Pool:
    """The pool without what each document itself taught; candidates that nothing else speaks for are gone."""
    own: dict[tuple[int, str], Counter[int]] = {}
    for group, concepts in zip(gold.grouped.group_of.tolist(), gold.concepts, strict=True):
        if len(concepts) == 1:
            own.setdefault(_lookup(gold, group), Counter())[next(iter(concepts))] += 1
    features, nil = pool.features.copy(), pool.nil.copy()
    learnt = np.flatnonzero(features[:, _LEARNT] > 0)
    counts = np.expm1(features[learnt, _LEARNT])
    owners = pool.owners[learnt]
    totals = counts / features[learnt, _SHARE]
    keys = [_lookup(gold, group) for group in owners.tolist()]
    mine = np.array([own.get(k, Counter())[c] for k, c in zip(keys, pool.concepts[learnt].tolist(), strict=True)])
    all_mine = np.array([own.get(key, Counter()).total() for key in keys])
    left = np.maximum(np.round(counts - mine), 0)
    features[learnt, _LEARNT] = np.log1p(left)
    features[learnt, _SHARE] = left / np.maximum(np.round(totals - all_mine), 1)
    nil[:, NIL_FEATURES.index("learnt")] = 0
    np.maximum.at(nil[:, NIL_FEATURES.index("learnt")], owners, features[learnt, _LEARNT])
    silent = np.zeros(len(features), dtype=bool)
    silent[learnt] = (features[learnt, : len(STRING_FEATURES)] == 0).all(axis=1)
    return replace(pool, features=features, nil=nil).keep(~silent)


def _lookup(gold: Gold, group: int) -> tuple[int, str]:
    """Document and text of a group, whatever its type."""
    own = gold.grouped.groups[group]
    return own.document, own.query.key


def _preferred(gold: Gold, index: LinkIndex) -> tuple[str, ...]:
    """Vocabularies of the entities that the ids name, most mentions first."""
    counts = Counter(index.vocabularies[index.vocabulary_codes[rows[0]]] for rows in gold.rows if rows)
    return tuple(name for name, _ in counts.most_common())
