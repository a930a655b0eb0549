"""What the embedded knowledge graph and corpus promise."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from itertools import combinations

import pytest

from kogner_ray.data.formats import jsonl
from kogner_ray.data.spans import Document, Entity
from kogner_ray.embedded import corpus_files, kg_files
from kogner_ray.kg.formats import triples
from kogner_ray.kg.linking import Linker, types_alike
from kogner_ray.kg.names import normalise_name
from kogner_ray.kg.tables import KnowledgeGraph, check_kg

TYPES = {"Disease", "Chemical", "Gene", "CellType", "Anatomy", "Organism"}
DOMAINS = {"cardiometabolic", "infection_immunity", "neuropsychiatry", "oncology", "tox_gi_resp"}
Corpus = dict[str, list[Document]]


@pytest.fixture(scope="module")
def kg() -> KnowledgeGraph:
    paths = kg_files()
    graph, report = triples.read(paths["edges"], nodes=paths["nodes"], relations=paths["relations"], strict=True)
    assert not report.issues, report.summary()
    return graph


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return {split: list(jsonl.read(path)) for split, path in corpus_files().items()}


@pytest.fixture(scope="module")
def documents(corpus: Corpus) -> list[Document]:
    return [document for split in corpus.values() for document in split]


def mentions(documents: list[Document]) -> list[tuple[str, Entity]]:
    return [(document.surface(entity), entity) for document in documents for entity in document.entities]


def surfaces(documents: list[Document]) -> set[str]:
    return {surface.lower() for surface, _ in mentions(documents)}


def ambiguous(documents: list[Document]) -> dict[str, set[str]]:
    types = defaultdict(set)
    for surface, entity in mentions(documents):
        types[surface.lower()].add(entity.type)
    return {surface: kinds for surface, kinds in types.items() if len(kinds) > 1}


def nested(documents: list[Document]) -> list[tuple[Document, Entity, Entity]]:
    """(document, outer, inner) of every pair of which one lies within the other."""
    return [
        (document, outer, inner)
        for document in documents
        for outer in document.entities
        for inner in document.entities
        if outer.start <= inner.start
        and inner.end <= outer.end
        and (outer.start, outer.end) != (inner.start, inner.end)
    ]


# Knowledge graph


def test_enough_entities_with_names_synonyms_and_descriptions(kg: KnowledgeGraph) -> None:
    rows = kg.nodes.to_pylist()
    with_synonyms = [row for row in rows if row["synonyms"]]
    assert len(with_synonyms) >= 400
    assert len({row["type"] for row in with_synonyms}) >= 6
    assert min(Counter(row["type"] for row in rows).values()) >= 50
    assert all(row["id"].startswith(row["type"].lower() + ":") for row in rows)
    assert all(len(row["description"].split()) >= 5 for row in rows)
    for row in rows:
        keys = [normalise_name(name) for name in (row["name"], *row["synonyms"])]
        assert all(keys), row
        assert len(set(keys)) == len(keys), row


def test_names_are_unique_within_a_type(kg: KnowledgeGraph) -> None:
    counts = Counter((row["type"], normalise_name(row["name"])) for row in kg.nodes.to_pylist())
    assert [key for key, count in counts.items() if count > 1] == []


def test_ids_stay_apart_without_case(kg: KnowledgeGraph) -> None:
    assert len({name.casefold() for name in kg.ids}) == kg.n_nodes


def test_enough_true_to_type_relations(kg: KnowledgeGraph) -> None:
    check_kg(kg)
    rows = kg.edges.to_pylist()
    edges = [(row["head"], row["relation"], row["tail"]) for row in rows]
    assert len(edges) >= 1500
    assert len(kg.relations) >= 8
    assert len(set(edges)) == len(edges)
    assert [edge for edge in edges if edge[0] == edge[2]] == []

    with kg_files()["relations"].open(encoding="utf-8") as file:
        signatures = {row["relation"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert set(kg.relations) == set(signatures)
    types = dict(zip(kg.ids, kg.nodes["type"].to_pylist(), strict=True))
    for head, relation, tail in edges:
        pair = types[head], types[tail]
        if relation == "is_a":
            assert pair[0] == pair[1], (head, relation, tail)
        else:
            allowed = [signatures[relation][side].split("|") for side in ("head_types", "tail_types")]
            assert pair[0] in allowed[0], (head, relation, tail)
            assert pair[1] in allowed[1], (head, relation, tail)


def test_is_a_and_part_of_have_no_cycles(kg: KnowledgeGraph) -> None:
    for relation in ("is_a", "part_of"):
        parents = defaultdict(set)
        for row in kg.edges.to_pylist():
            if row["relation"] == relation:
                parents[row["head"]].add(row["tail"])
        for start in list(parents):
            reached, frontier = set(), {start}
            while frontier:
                frontier = {parent for node in frontier for parent in parents.get(node, ())} - reached
                reached |= frontier
            assert start not in reached, (relation, start)


# Corpus


def test_enough_sentences_of_every_type_and_domain(corpus: Corpus, documents: list[Document]) -> None:
    assert len(documents) >= 600
    assert len({document.id for document in documents}) == len(documents)
    for split in corpus.values():
        assert {entity.type for _, entity in mentions(split)} == TYPES
        assert {document.attributes["abstract"].split("/")[0] for document in split} == DOMAINS
        assert any(not document.entities for document in split)
    assert all(set(document.annotated_types or ()) == TYPES for document in documents)


def test_sentences_are_written_not_generated(documents: list[Document]) -> None:
    """At most 5 % of the sentences share 8 consecutive tokens once the mentions are masked."""
    skeletons = []
    for document in documents:
        inner = {id(inner) for _, _, inner in nested([document])}
        masked = document.text
        for entity in sorted(document.entities, key=lambda entity: -entity.start):
            if id(entity) not in inner:
                masked = f"{masked[: entity.start]} MENTION {masked[entity.end :]}"
        words = re.findall(r"\w+", masked.lower())
        skeletons.append({tuple(words[at : at + 8]) for at in range(len(words) - 7)})
    counts = Counter(gram for grams in skeletons for gram in grams)
    sharing = sum(any(counts[gram] > 1 for gram in grams) for grams in skeletons)
    assert sharing <= 0.05 * len(documents)


def test_no_sentence_and_no_abstract_in_two_splits(corpus: Corpus) -> None:
    for first, second in combinations(corpus.values(), 2):
        assert not {normalise_name(d.text) for d in first} & {normalise_name(d.text) for d in second}
        assert not {d.attributes["abstract"] for d in first} & {d.attributes["abstract"] for d in second}


def test_most_of_the_test_surfaces_can_be_unseen(corpus: Corpus) -> None:
    test = surfaces(corpus["test"])
    assert len(test - surfaces(corpus["train"])) >= 0.4 * len(test)
    assert len(test & surfaces(corpus["train"])) >= 100, "some must be seen, too"


def test_nested_and_ambiguous_mentions_in_every_split(corpus: Corpus, documents: list[Document]) -> None:
    kinds = ambiguous(documents)
    assert len(kinds) >= 8
    assert len(nested(documents)) >= 20
    for name, split in corpus.items():
        assert len(nested(split)) >= 5, name
        assert len(surfaces(split) & set(kinds)) >= 5, name


def test_a_nested_mention_differs_in_type_from_the_one_around_it(documents: list[Document]) -> None:
    pairs = nested(documents)
    for document, outer, inner in pairs:
        between = [
            o for d, o, i in pairs if d is document and i is inner and (o.start, o.end) != (outer.start, outer.end)
        ]
        closest = min([outer, *between], key=lambda entity: entity.end - entity.start)
        if closest is outer:
            assert inner.type != outer.type, (document.text, document.surface(outer), document.surface(inner))


def test_spans_are_clean(documents: list[Document]) -> None:
    for document in documents:
        seen = Counter((entity.start, entity.end) for entity in document.entities)
        assert max(seen.values(), default=1) == 1, document.id
        for entity in document.entities:
            surface = document.surface(entity)
            assert surface.strip() == surface != "", (document.id, surface)
            around = document.text[max(entity.start - 1, 0) : entity.start], document.text[entity.end : entity.end + 1]
            assert not any(character.isalnum() for character in around), (document.id, surface, around)
        for a, b in combinations(document.entities, 2):
            crossing = a.start < b.start < a.end < b.end or b.start < a.start < b.end < a.end
            assert not crossing, (document.id, document.surface(a), document.surface(b))


def test_mentions_link_to_nodes_of_their_type(kg: KnowledgeGraph, documents: list[Document]) -> None:
    types = dict(zip(kg.ids, kg.nodes["type"].to_pylist(), strict=True))
    total, linked = Counter(), Counter()
    for surface, entity in mentions(documents):
        total[entity.type] += 1
        linked[entity.type] += bool(entity.concepts)
        for concept in entity.concepts:
            assert types_alike(entity.type, types[concept]), (surface, entity.type, concept)
    print({type: f"{linked[type] / total[type]:.1%}" for type in sorted(total)})  # noqa: T201
    assert linked.total() >= 0.5 * total.total()
    assert min(linked[type] / total[type] for type in total) >= 0.4


def test_the_linker_agrees_with_the_annotated_concepts(kg: KnowledgeGraph, documents: list[Document]) -> None:
    """Where the linker finds one concept by name alone, the annotation has the same one (homographs may differ)."""
    linker = Linker.from_table(kg.nodes)
    same = different = 0
    for surface, entity in mentions(documents):
        link = linker.link_surface(surface, entity.type)
        if link is not None and link.exact and entity.concepts:
            same += kg.ids[link.row] in entity.concepts
            different += kg.ids[link.row] not in entity.concepts
    assert same >= 1000
    assert different <= 0.005 * same
