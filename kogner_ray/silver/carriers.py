"""Names in carriers: short texts made of KG names alone, or of names and a frame that holds them, typed by the KG."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kogner_ray.data.spans import Document, Entity
from kogner_ray.data.words import split_words
from kogner_ray.silver.annotate import DOUBTED

FRAMES = (
    "{} was studied .",
    "The role of {} is not known .",
    "We report on {} .",
    "Data on {} are scarce .",
    "{} and {} were compared .",
    "This was seen with {} , but not with {} .",
    "In contrast to {} , little is known of {} .",
    "Findings such as {} ( and {} ) are described here .",
)
"""Neutral carriers: any name can stand in them."""


@dataclass(frozen=True)
class Carrier:
    """A text with slots.

    Attributes:
        pieces: the text around the slots, one piece more than there are slots.
        types: wanted type of the names for each slot; "" takes any.
    """

    pieces: tuple[str, ...]
    types: tuple[str, ...]

    @classmethod
    def of_frame(cls, frame: str) -> Carrier:
        """The carrier that a text with `{}` for each slot stands for."""
        pieces = tuple(frame.split("{}"))
        return cls(pieces, ("",) * (len(pieces) - 1))


BARE = Carrier.of_frame("{}")


@dataclass(frozen=True)
class NamePool:
    """Names to fill slots with.

    Attributes:
        names: wanted type -> names that are of no other type.
        others: names of no wanted type; they fill slots, and are no mentions.
    """

    names: Mapping[str, Sequence[str]]
    others: Sequence[str]

    def document(self, number: int, carriers: Sequence[Carrier], *, bare: float, others: float, seed: int) -> Document:
        """The document of that number: the same for the same seed, wherever it is made.

        Args:
            number: its place among all.
            carriers: one of them is drawn.
            bare: share of documents that are a name alone.
            others: share of slots for any name that take one of no wanted type.
            seed: of all documents.
        """
        generator = random.Random(f"{seed} {number}")
        carrier = BARE if not carriers or generator.random() < bare else generator.choice(carriers)
        text, entities = carrier.pieces[0], []
        for type_, piece in zip(carrier.types, carrier.pieces[1:], strict=True):
            if not type_ and not (self.others and generator.random() < others):
                type_ = generator.choice([name for name, known in self.names.items() if known])
            name = generator.choice(self.names[type_] if type_ else self.others)
            if type_:
                entities.append(Entity(len(text), len(text) + len(name), type_))
            text += name + piece
        return Document(f"name-{number}", text, tuple(entities), tuple(self.names))


def carriers_in(document: Document, *, words: int) -> Iterator[Carrier]:
    """What stands around the names in a text, with a slot for each of them.

    Args:
        document: with KG names as entities, none overlapping another; those that are doubted spoil a carrier.
        words: on each side of a name; other names among them are slots, too, and one that is cut spoils a carrier.
    """
    spots, after = split_words(document.text), -1
    for entity in sorted(document.entities, key=lambda entity: entity.start):
        if entity.start < after or DOUBTED in entity.attributes:
            continue
        inside = [row for row, end in enumerate(spots.ends) if end > entity.start and spots.starts[row] < entity.end]
        first, last = max(0, inside[0] - words), min(len(spots) - 1, inside[-1] + words)
        start, end = int(spots.starts[first]), int(spots.ends[last])
        cut = [other for other in document.entities if other.start < end and other.end > start]
        if any(other.start < start or other.end > end or DOUBTED in other.attributes for other in cut):
            continue
        after = end
        yield _carrier(document, sorted(cut, key=lambda other: other.start), start, end)


def _carrier(document: Document, slots: Sequence[Entity], start: int, end: int) -> Carrier:
    bounds = [start, *(bound for slot in slots for bound in (slot.start, slot.end)), end]
    pieces = [document.text[a:b] for a, b in zip(bounds[::2], bounds[1::2], strict=True)]
    return Carrier(tuple(pieces), tuple(slot.type for slot in slots))
