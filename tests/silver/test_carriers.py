"""Names alone and in carriers: typed spans, drawn the same wherever they are made."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kogner_ray.data.spans import Document, Entity
from kogner_ray.silver.annotate import DOUBTED, NAME
from kogner_ray.silver.carriers import BARE, FRAMES, Carrier, NamePool, carriers_in

POOL = NamePool({"Chemical": ["aspirin", "acetylsalicylic acid"], "Disease": ["gout"]}, ["insulin receptor"])
CARRIERS = [Carrier.of_frame(frame) for frame in FRAMES]


def mention(text: str, name: str, type_: str = "Disease", *, doubted: bool = False) -> Entity:
    marks = {NAME: name} | ({DOUBTED: "yes"} if doubted else {})
    return Entity(text.index(name), text.index(name) + len(name), type_, attributes=marks)


@given(number=st.integers(0, 10**9), bare=st.floats(0, 1), others=st.floats(0, 1), seed=st.integers(0, 99))
def test_every_span_is_a_name_of_its_type(number: int, bare: float, others: float, seed: int) -> None:
    made = POOL.document(number, CARRIERS, bare=bare, others=others, seed=seed)
    assert made == POOL.document(number, CARRIERS, bare=bare, others=others, seed=seed)
    for entity in made.entities:
        assert made.surface(entity) in POOL.names[entity.type]
    outside = made.text
    for entity in reversed(made.entities):
        outside = outside[: entity.start] + "{}" + outside[entity.end :]
    assert outside.replace("insulin receptor", "{}") in {"{}", *FRAMES}
    assert made.annotated_types == ("Chemical", "Disease")


def test_shares_of_bare_names_and_of_other_names() -> None:
    made = [POOL.document(number, CARRIERS, bare=0.3, others=0.2, seed=1) for number in range(2000)]
    assert len({document.text for document in made}) > 50
    bare = sum(document.text in {"aspirin", "acetylsalicylic acid", "gout", "insulin receptor"} for document in made)
    assert 0.26 < bare / len(made) < 0.34
    slots = Counter(entity.type for document in made for entity in document.entities)
    slots["other"] = sum(document.text.count("insulin receptor") for document in made)
    assert 0.17 < slots["other"] / slots.total() < 0.23
    assert 0.9 < slots["Chemical"] / slots["Disease"] < 1.1  # by type, however many names it has


def test_without_other_names_or_carriers_there_are_names_alone() -> None:
    pool = NamePool({"Chemical": [], "Disease": ["gout"]}, [])
    made = pool.document(3, [], bare=0.0, others=1.0, seed=0)
    assert (made.text, [entity.type for entity in made.entities]) == ("gout", ["Disease"])
    assert Carrier(("", ""), ("",)) == BARE


def test_what_stands_around_names_becomes_a_carrier_with_a_slot_for_each() -> None:
    text = "a b c gout d aspirin e f g h i sepsis j"
    names = [mention(text, "gout"), mention(text, "aspirin", "Chemical"), mention(text, "sepsis")]
    found = list(carriers_in(Document("d", text, tuple(names)), words=2))
    assert found == [
        Carrier(("b c ", " d ", ""), ("Disease", "Chemical")),
        Carrier(("h i ", " j"), ("Disease",)),
    ]
    pool = NamePool({"Chemical": ["indium"], "Disease": ["heart failure"]}, ["x"])
    made = pool.document(0, found[:1], bare=0.0, others=1.0, seed=0)
    assert made.text == "b c heart failure d indium"
    assert [(made.surface(e), e.type) for e in made.entities] == [("heart failure", "Disease"), ("indium", "Chemical")]


def test_a_doubted_or_a_cut_name_spoils_a_carrier() -> None:
    text = "lung cancer a gout b In c"
    gout, indium = mention(text, "gout"), mention(text, "In", "Chemical")
    whole = Document("d", text, (mention(text, "lung cancer"), gout))
    assert list(carriers_in(whole, words=2)) == [Carrier(("", " a ", ""), ("Disease", "Disease"))]
    assert list(carriers_in(whole.with_entities([gout]), words=2)) == [Carrier(("cancer a ", " b In"), ("Disease",))]
    doubted = whole.with_entities([gout, mention(text, "In", "Chemical", doubted=True)])
    assert list(carriers_in(doubted, words=2)) == []
    assert list(carriers_in(doubted, words=1)) == [Carrier(("a ", " b"), ("Disease",))]
    # what stands around gout cuts the other name; what stands around that one holds gout whole
    cut = whole.with_entities([gout, mention(text, "b In c")])
    assert list(carriers_in(cut, words=1)) == [Carrier(("", " ", ""), ("Disease", "Disease"))]
    assert list(carriers_in(whole.with_entities([gout, indium]), words=3))[0].types == ("Disease", "Chemical")
