"""A text with its entities marked, for a terminal: `[metformin Chemical 0.97 → DB00331 Metformin]`.

Each entity stands in brackets with its type, score and KG entity behind it, in a colour that its type always has;
entities within entities are brackets within brackets, so that it can also be read without colours.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence

from rich.text import Text

from kogner_ray.tagging import TaggedEntity

_PALETTE = ("cyan", "magenta", "green", "yellow", "blue", "red", "bright_cyan", "bright_magenta", "bright_green")

# What a terminal would obey rather than show; a text may come from anywhere.
_SHOWN = {code: 0x2400 + code for code in range(32)} | {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
_SHOWN = {code: shown for code, shown in _SHOWN.items() if code not in (ord("\n"), ord("\t"))}


def colours(types: Collection[str]) -> dict[str, str]:
    """A colour for each type, by its name; types share one only when there are more of them than colours."""
    taken: dict[str, str] = {}
    for name in sorted(types):
        first = zlib.crc32(name.encode("utf-8", "replace"))
        turns = [_PALETTE[(first + turn) % len(_PALETTE)] for turn in range(len(_PALETTE))]
        taken[name] = next((colour for colour in turns if colour not in taken.values()), turns[0])
    return taken


def highlighted(text: str, entities: Sequence[TaggedEntity], colour_of: Mapping[str, str]) -> Text:
    """`text` with `entities` marked; they may nest, not cross."""
    marked, at, open_ones = Text(), 0, list[TaggedEntity]()

    def write_to(end: int) -> None:
        nonlocal at
        style = f"bold {colour_of[open_ones[-1].type]}" if open_ones else ""
        marked.append(_visible(text[at:end].replace("\r\n", "\n")), style)
        at = end

    def close() -> None:
        write_to(open_ones[-1].end)
        entity = open_ones.pop()
        marked.append(f" {_about(entity)}]", colour_of[entity.type])

    for entity in sorted(entities, key=lambda e: (e.start, -e.end)):
        while open_ones and open_ones[-1].end <= entity.start:
            close()
        write_to(entity.start)
        open_ones.append(entity)
        marked.append("[", colour_of[entity.type])
    while open_ones:
        close()
    write_to(len(text))
    return marked


def _about(entity: TaggedEntity) -> str:
    said = f"{entity.type} {entity.score:.2f}"
    if entity.kg_id is not None:
        said += f" → {entity.kg_id} {entity.kg_name or ''}".rstrip()
    return _visible(said)


def _visible(text: str) -> str:
    return text.translate(_SHOWN)
