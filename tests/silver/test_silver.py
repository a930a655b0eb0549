"""KG names in raw text: what is found, what is believed, and what a student makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kogner_ray.data.abbreviations import find_definitions
from kogner_ray.data.spans import UNKNOWN, WEIGHT, Document, Entity
from kogner_ray.data.words import split_words
from kogner_ray.errors import ConfigError
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.silver.annotate import DOUBTED, NAME, Annotator, NamesConfig, believed
from kogner_ray.silver.evidence import Evidence, gather
from kogner_ray.silver.exchange import exchanged
from kogner_ray.silver.names import NameFinder, name_key
from kogner_ray.silver.scores import NameScores, candidates_of, fold_of, held_out, judged, self_labelled

NODES = pa.Table.from_pylist(
    [
        {"name": "Parkinson's disease", "type": "Disease", "synonyms": ["paralysis agitans", "PD"]},
        {"name": "acute renal failure", "type": "Disease", "synonyms": ["renal failure, acute"]},
        {"name": "renal failure", "type": "Disease", "synonyms": []},
        {"name": "indium", "type": "Chemical", "synonyms": ["In"]},
        {"name": "insulin", "type": "Chemical", "synonyms": []},
        {"name": "INS", "type": "Gene", "synonyms": ["insulin"]},
        {"name": "ALL1", "type": "Gene", "synonyms": ["ALL"]},
        {"name": "acute lymphoid leukaemia", "type": "Disease", "synonyms": ["ALL"]},
        {"name": "aspirin", "type": "Chemical", "synonyms": ["acetylsalicylic acid"]},
        {"name": "Ca2+", "type": "Chemical", "synonyms": None},
        {"name": "renal failure cell line", "type": "CellLine", "synonyms": []},
    ],
    pa.schema([("name", pa.string()), ("type", pa.string()), ("synonyms", pa.list_(pa.string()))]),
)
TYPES = ("Chemical", "Disease")
FINDER = NameFinder(NODES, TYPES)


def found(text: str) -> list[tuple[str, str]]:
    words = split_words(text)
    return [
        (text[words.starts[match.first] : words.ends[match.last]], "/".join(TYPES[i] for i in match.types))
        for match in FINDER.find(text, words)
    ]


def test_the_longest_names_are_found_in_any_tokenisation() -> None:
    assert found("Acute renal failure in Parkinson's disease") == [
        ("Acute renal failure", "Disease"),
        ("in", "Chemical"),
        ("Parkinson's disease", "Disease"),
    ]
    assert found("Parkinson ' s disease and Ca2 + ( aspirin )") == [
        ("Parkinson ' s disease", "Disease"),
        ("Ca2 +", "Chemical"),
        ("aspirin", "Chemical"),
    ]


def test_a_longer_name_of_an_unwanted_type_wins() -> None:
    assert found("a renal failure cell line") == [("renal failure cell line", "")]


def test_acronyms_are_found_as_the_kg_writes_them() -> None:
    assert found("all patients with ALL") == [("ALL", "Disease")]


def test_names_of_several_types_are_contested() -> None:
    text = "insulin and aspirin"
    matches = list(FINDER.find(text, split_words(text)))
    assert [match.contested for match in matches] == [True, False]
    assert FINDER.names_of("Chemical") == ["indium", "In", "aspirin", "acetylsalicylic acid", "Ca2+"]


def test_names_of_unwanted_types_alone() -> None:
    assert FINDER.other_names(NODES) == ["INS", "ALL1", "renal failure cell line"]


def test_a_type_that_the_kg_lacks_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"no entity of a type like 'Virus'; it has CellLine, Chemical.*linker.types"):
        NameFinder(NODES, ["Virus"])
    finder = NameFinder(NODES, ["Virus"], linker=LinkerConfig(types={"Virus": ("CellLine",)}))
    assert finder.names_of("Virus") == ["renal failure cell line"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acute renal failure (ARF) was seen", [("acute renal failure", "ARF")]),
        ("Patients with acute renal failure ( ARF ) .", [("acute renal failure", "ARF")]),
        ("5-fluorouracil (5-FU)", [("5-fluorouracil", "5-FU")]),
        ("we saw (Figure) it", []),
        ("in two groups (n = 3)", []),
        ("failure. Renal (RF)", []),
    ],
)
def test_definitions(text: str, expected: list[tuple[str, str]]) -> None:
    words = split_words(text)
    assert [(text[words.starts[d.first] : words.ends[d.last]], d.short) for d in find_definitions(words)] == expected


@given(st.text(alphabet="aAbB (),-.1", max_size=40))
def test_definitions_lie_before_their_brackets(text: str) -> None:
    for definition in find_definitions(split_words(text)):
        assert 0 <= definition.first <= definition.last < definition.short_at


def sentences() -> list[Document]:
    """A word on every page, a name on few of them, an abbreviation defined once."""
    texts = [f"We gave insulin to patient {i} ." + " filler" * 200 for i in range(40)]
    texts[3] += " aspirin aspirin aspirin aspirin aspirin aspirin aspirin aspirin aspirin aspirin"
    texts[5] += " severe acute renal failure (ARF) ."
    texts[6] += " The ARF was severe . In all of them , PD ."
    return [Document(str(i), text) for i, text in enumerate(texts)]


def test_words_that_are_everywhere_are_doubted() -> None:
    evidence = gather(sentences(), FINDER)
    assert evidence.n_pages == 40
    assert evidence.mentions["insulin"] == evidence.pages["insulin"] == 40
    assert evidence.residual_idf("insulin") < 0.4 < evidence.residual_idf("aspirin")
    assert evidence.residual_idf("never seen") == 0

    annotator = Annotator(FINDER, evidence, NamesConfig())
    documents = [annotator.annotate(document) for document in sentences()]
    assert documents[0].annotated_types == TYPES
    assert [entity.attributes for entity in documents[0].entities] == [{NAME: "insulin", DOUBTED: "yes"}]
    assert not believed(documents[0]).entities
    assert {documents[3].surface(entity) for entity in believed(documents[3]).entities} == {"aspirin"}


def test_abbreviations_are_of_the_type_of_their_long_form_and_short_names_are_doubted() -> None:
    evidence = gather(sentences(), FINDER)
    assert evidence.short_forms() == {"ARF": "Disease"}
    document = Annotator(FINDER, evidence, NamesConfig()).annotate(sentences()[6])
    marked = {document.surface(entity): DOUBTED in entity.attributes for entity in document.entities}
    assert marked == {"insulin": True, "ARF": False, "In": True, "PD": True}


def test_words_that_may_be_of_names_that_the_kg_lacks_are_masked() -> None:
    documents = [*sentences(), Document("x", "We gave insulin to zorbitol filler !")]
    evidence = gather(documents, FINDER)
    assert evidence.is_common("Filler", rare=8, least=0.4)
    assert not evidence.is_common("zorbitol", rare=8, least=0.4)
    annotator = Annotator(FINDER, evidence, NamesConfig(mask=0.4))
    document = annotator.annotate(documents[-1])
    assert [(document.surface(e), e.type) for e in document.entities] == [
        ("insulin", "Chemical"),
        ("zorbitol", UNKNOWN),
    ]
    scores = NameScores()
    scores.add(document, [])
    assert list(scores.counts) == [("Chemical", "insulin")]
    kept = judged(document, scores, least=0.5, sure=0.5)
    assert [(kept.surface(e), e.type) for e in kept.entities] == [("zorbitol", UNKNOWN)]


def test_evidence_of_parts_adds_up_and_survives_json() -> None:
    documents = sentences()
    parts = [gather(documents[:10], FINDER), gather(documents[10:], FINDER)]
    whole = gather(documents, FINDER)
    assert Evidence.of((parts[0] + parts[1]).as_dict()) == whole


@dataclass
class Span:
    start: int
    end: int
    type: str
    score: float


CANDIDATES = Document(
    "d",
    "aspirin insulin indium",
    (
        Entity(0, 7, "Chemical", attributes={NAME: "aspirin"}),
        Entity(8, 15, "Chemical", attributes={NAME: "insulin", DOUBTED: "yes"}),
        Entity(16, 22, "Chemical", attributes={NAME: "indium", DOUBTED: "yes"}),
    ),
    TYPES,
)


def test_students_judge_names() -> None:
    scores = NameScores()
    scores.add(CANDIDATES, [Span(8, 15, "Chemical", 0.8), Span(16, 22, "Chemical", 0.1), Span(0, 7, "Disease", 0.9)])
    scores = NameScores.of([*scores.rows(), *scores.rows()])
    assert scores.counts["Chemical", "aspirin"] == 2
    document = judged(CANDIDATES, scores, least=0.05, sure=0.5)
    assert [(document.surface(e), e.type) for e in document.entities] == [("insulin", "Chemical"), ("indium", UNKNOWN)]
    assert not any(entity.attributes for entity in document.entities)
    unseen = judged(CANDIDATES, NameScores(), least=0.05, sure=0.5)
    assert len(unseen.entities) == 3


def test_what_a_student_found_joins_the_names() -> None:
    spans = [
        Span(0, 7, "Chemical", 0.9),
        Span(0, 15, "Disease", 0.6),
        Span(8, 15, "Chemical", 0.3),
        Span(16, 22, "Chemical", 0.01),
    ]
    shares = {"doubt": 0.05, "least": 0.1, "sure": 0.5}
    bare = CANDIDATES.with_entities([])
    alone = self_labelled(bare, spans, **shares)
    assert [(alone.surface(e), e.type) for e in alone.entities] == [("aspirin", "Chemical"), ("insulin", UNKNOWN)]
    joined = self_labelled(CANDIDATES, spans, **shares)
    assert [(joined.surface(e), e.type) for e in joined.entities] == [("aspirin", "Chemical"), ("insulin", "Chemical")]
    kept = self_labelled(CANDIDATES, spans, doubt=0.0, least=0.1, sure=0.5)
    assert [kept.surface(e) for e in kept.entities] == ["aspirin", "insulin", "indium"]
    longer = self_labelled(CANDIDATES, [Span(0, 15, "Disease", 0.6)], doubt=0.0, least=0.1, sure=0.5)
    assert [(longer.surface(e), e.type) for e in longer.entities] == [
        ("aspirin insulin", "Disease"),
        ("indium", "Chemical"),
    ]


def test_what_a_student_finds_beside_the_names_weighs_its_probability() -> None:
    text = "aspirin insulin indium"
    spans = [Span(0, 7, "Chemical", 0.9), Span(8, 15, "Chemical", 0.3), Span(16, 22, "Disease", 0.7)]
    named = Document("d", text, (Entity(0, 7, "Chemical"),))
    made = self_labelled(named, spans, doubt=0.0, least=0.1, sure=0.5, weighted=True)
    assert [(made.surface(e), e.type, e.attributes.get(WEIGHT)) for e in made.entities] == [
        ("aspirin", "Chemical", None),  # a name: certain
        ("insulin", "Chemical", "0.3000"),
        ("indium", "Disease", "0.7000"),
    ]


@given(st.text(max_size=20), st.integers(2, 5))
def test_a_name_has_one_fold(name: str, folds: int) -> None:
    assert fold_of(name, folds) == fold_of(name, folds) in range(folds)


def test_no_student_judges_a_name_that_it_saw_marked() -> None:
    masked = CANDIDATES.with_entities([*CANDIDATES.entities, Entity(3, 4, UNKNOWN)])
    folds = {entity.attributes[NAME]: fold_of(entity.attributes[NAME], 2) for entity in CANDIDATES.entities}
    assert set(folds.values()) == {0, 1}
    judged_by: list[str] = []
    for fold in (0, 1):
        taught, asked = held_out(masked, fold, 2), candidates_of(masked, fold, 2)
        assert [(e.start, e.end) for e in taught.entities] == [(e.start, e.end) for e in masked.entities]
        marked = {taught.surface(entity) for entity in taught.entities if entity.type != UNKNOWN}
        assert marked == {name for name in ("aspirin",) if folds[name] != fold}  # the others are doubted
        judged_by += [asked.surface(entity) for entity in asked.entities]
        assert not marked & set(judged_by[-len(asked.entities) :])
    assert sorted(judged_by) == sorted(folds)


NAMES = {"Chemical": ["sodium 2-mercaptoethanesulfonate", "tin"], "Disease": ["paralysis agitans"]}


@given(st.integers(0, 1000), st.floats(0, 1))
def test_exchanged_mentions_keep_their_places_and_types(seed: int, share: float) -> None:
    text = "After aspirin , renal failure and something unknown ."
    entities = (Entity(6, 13, "Chemical"), Entity(16, 29, "Disease"), Entity(34, 51, UNKNOWN))
    document = exchanged(Document("d", text, entities, TYPES), NAMES, share=share, seed=seed)
    surfaces = [document.surface(entity) for entity in document.entities]
    assert surfaces[0] in {"aspirin", *NAMES["Chemical"]}
    assert surfaces[1] in {"renal failure", *NAMES["Disease"]}
    assert surfaces[2] == "something unknown"
    assert document.text == f"After {surfaces[0]} , {surfaces[1]} and something unknown ."
    assert document.annotated_types == TYPES
    assert document.id == f"d#{seed}"


def test_exchanging_everything_changes_everything_and_is_repeatable() -> None:
    document = Document("d", "aspirin aspirin", (Entity(0, 7, "Chemical"), Entity(8, 15, "Chemical")))
    new = exchanged(document, NAMES, share=1, seed=3)
    assert "aspirin" not in new.text
    assert new == exchanged(document, NAMES, share=1, seed=3)


@given(st.text(max_size=30))
def test_name_keys_are_stable(text: str) -> None:
    assert name_key(name_key(text)) == name_key(text)
