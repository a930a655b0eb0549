"""Entities as a terminal shows them."""

from __future__ import annotations

from io import StringIO

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kogner_ray.highlight import colours, highlighted
from kogner_ray.tagging import TaggedEntity

TEXT = "Metformin for lung cancer"
DRUG = TaggedEntity(0, 9, "Metformin", "Chemical", 0.987, "DB00331", "metformin", 0.9)
LUNG = TaggedEntity(14, 18, "lung", "Anatomy", 0.81)
CANCER = TaggedEntity(14, 25, "lung cancer", "Disease", 0.95, "MESH:D008175", None, 0.5)
COLOURS = {"Chemical": "cyan", "Disease": "red", "Anatomy": "green"}


def test_brackets_say_type_score_and_kg_entity() -> None:
    shown = highlighted(TEXT, [DRUG], COLOURS)
    assert shown.plain == "[Metformin Chemical 0.99 → DB00331 metformin] for lung cancer"
    assert [(shown.plain[s.start : s.end], s.style) for s in shown.spans if "bold" in str(s.style)] == [
        ("Metformin", "bold cyan")
    ]


def test_nested_entities_are_brackets_within_brackets() -> None:
    for order in ([LUNG, CANCER], [CANCER, LUNG]):
        shown = highlighted(TEXT, order, COLOURS)
        assert shown.plain == "Metformin for [[lung Anatomy 0.81] cancer Disease 0.95 → MESH:D008175]"
    styles = {shown.plain[s.start : s.end]: s.style for s in shown.spans if "bold" in str(s.style)}
    assert styles == {"lung": "bold green", " cancer": "bold red"}


@given(st.text(max_size=40).map(lambda text: text.replace("\r\n", "")), st.data())
def test_the_text_itself_is_all_there(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    entities = [TaggedEntity(a, b, text[a:b], "T", 0.5) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    shown = highlighted(text, entities, {"T": "red"})
    for entity in sorted(entities, key=lambda e: -e.start):
        text = f"{text[: entity.start]}[{entity.text} T 0.50]{text[entity.end :]}"
    assert len(shown.plain) == len(text)
    assert all(a == b or not b.isprintable() for a, b in zip(shown.plain, text, strict=True))


def test_what_a_terminal_would_obey_is_shown() -> None:
    out = StringIO()
    evil = TaggedEntity(0, 1, "a", "\x1b[2J", 0.5, "x", "\x9b31m\x07")
    shown = highlighted("a\x1b]0;title\x07\x1b[31m\rb\r\n\tc", [evil], {"\x1b[2J": "red"})
    Console(file=out, color_system=None).print(shown, soft_wrap=True)
    assert not set(out.getvalue()) & {"\x1b", "\x07", "\x9b", "\r"}
    assert "␛]0;title␇␛[31m␍b\n" in out.getvalue()


def test_a_type_keeps_its_colour() -> None:
    one = colours(["Disease", "Chemical"])
    assert one == colours(("Chemical", "Disease"))
    assert len(set(one.values())) == 2
    assert colours(["Disease"])["Disease"] in set(colours([f"t{n}" for n in range(40)]).values())
    assert len(set(colours([f"t{n}" for n in range(9)]).values())) == 9
