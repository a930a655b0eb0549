"""Random documents: everything that a `Document` can hold, and nothing that it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from hypothesis import strategies as st

from kogner_ray.data.spans import Document, Entity, Passage, Relation

# characters that break readers: NBSP, line and paragraph separators, NEL, combining marks, an emoji with a joiner,
# right-to-left, astral letters, a byte-order mark, markup, quotes, and the separators of the formats themselves
TRAPS = "\u00a0\u2028\u2029\u0085e\u0301\U0001f9ec\u200d\u05d0\U0001d4b3\ufeff\"'<&>|,;+\\-#[]{}"
CONTROLS = "\n\r\t\x00\x0b\x0c"


def texts(*, controls: str = "", min_size: int = 0, max_size: int = 40) -> st.SearchStrategy[str]:
    """Texts that like the traps, the blank and the characters of `controls`."""
    anything = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn"))
    letters = st.sampled_from("abcXYZ12    ") | st.sampled_from(TRAPS + controls) | anything
    return st.text(letters, min_size=min_size, max_size=max_size)


def attributes(*keys: str, controls: str = "") -> st.SearchStrategy[Mapping[str, str]]:
    return st.dictionaries(st.sampled_from(keys), texts(controls=controls, max_size=6), max_size=2)


@st.composite
def entities(draw: st.DrawFn, length: int) -> Entity:
    start = draw(st.integers(0, length - 1))
    end = draw(st.integers(start + 1, length))
    fragments: tuple[tuple[int, int], ...] = ()
    if end - start >= 3 and draw(st.booleans()):
        first = draw(st.integers(start + 1, end - 2))
        fragments = ((start, first), (draw(st.integers(first + 1, end - 1)), end))
    return Entity(
        start,
        end,
        draw(texts(min_size=1, max_size=6)),
        tuple(draw(st.lists(st.sampled_from(["MESH:D003000", "D009270", "C1|x", "9606", "a b"]), max_size=3))),
        fragments,
        draw(st.sampled_from(["", "", "T1", "T 2"])),
        draw(attributes("score", "MESH", "type", "note")),
    )


@st.composite
def passages(draw: st.DrawFn, length: int) -> tuple[Passage, ...]:
    cuts = sorted(draw(st.lists(st.integers(0, length), max_size=4)))
    kinds = st.sampled_from(["", "title", "abstract"])
    return tuple(
        Passage(a, b, draw(kinds), draw(attributes("x", "y"))) for a, b in pairwise(cuts) if draw(st.booleans())
    )


@st.composite
def relations(draw: st.DrawFn) -> Relation:
    arguments = st.lists(st.tuples(texts(max_size=3), texts(max_size=4)), max_size=3).map(tuple)
    return Relation(draw(texts(max_size=5)), draw(arguments), draw(texts(max_size=2)), draw(attributes("x", "score")))


@st.composite
def documents(draw: st.DrawFn, *, controls: str = CONTROLS) -> Document:
    text = draw(texts(controls=controls))
    return Document(
        id=draw(texts(min_size=1, max_size=6)),
        text=text,
        entities=tuple(draw(st.lists(entities(len(text)), max_size=4))) if text else (),
        annotated_types=draw(st.none() | st.lists(texts(max_size=4), max_size=2).map(tuple)),
        passages=draw(passages(len(text))),
        relations=tuple(draw(st.lists(relations(), max_size=2))),
        attributes=draw(attributes("year", "journal \n", controls=controls)),
    )
