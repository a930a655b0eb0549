"""What was tagged, in numbers that add up: of a chunk, an input, a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class Counts:
    """Amounts of a part of a corpus.

    Attributes:
        documents: documents tagged.
        failures: documents that could not be read or tagged.
        entities: entities found.
        words: words of the documents tagged.
        characters: characters of the documents tagged.
        n_bytes: bytes of the input that it took up, as far as the reader could tell.
    """

    documents: int = 0
    failures: int = 0
    entities: int = 0
    words: int = 0
    characters: int = 0
    n_bytes: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Amounts of both parts."""
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def records(self) -> int:
        """Everything that was found in the input, tagged or failed."""
        return self.documents + self.failures

    def as_dict(self) -> dict[str, int]:
        """Amounts by name."""
        return asdict(self)
