"""What a Tagger is asked and what it answers; needs nothing of what computes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from kogner_ray.errors import ConfigError

Types: TypeAlias = Sequence[str] | Mapping[str, str] | None
"""Type names, or name -> label text, or None for those that a checkpoint was trained on."""


@dataclass(frozen=True, slots=True)
class TaggedEntity:
    """A mention found in a text.

    Attributes:
        start: first character.
        end: one past the last character.
        text: the characters.
        type: entity type.
        score: probability of the type.
        kg_id: id of the KG entity it denotes, or None when it stays unlinked.
        kg_name: that entity's name.
        link_score: probability that the mention denotes that entity's concept.
    """

    start: int
    end: int
    text: str
    type: str
    score: float
    kg_id: str | None = None
    kg_name: str | None = None
    link_score: float | None = None


@dataclass(frozen=True)
class TagRequest:
    """Texts and what to find in them; see `Tagger.tag`."""

    texts: Sequence[str]
    types: Types = None
    threshold: float = 0.5
    per_type_thresholds: Mapping[str, float] = field(default_factory=dict)
    nested: bool = False
    multi_label: bool = False
    link: bool = True

    def labels(self, known: Mapping[str, str]) -> dict[str, str]:
        """Name and label text of each type that is asked for.

        Args:
            known: of the types that the checkpoint was trained on.

        Raises:
            ConfigError: `types` is a string or empty, names one twice or an empty one, or is None and `known` is empty.
        """
        if self.types is None and not known:
            raise ConfigError("types: this checkpoint has none of its own; name some")
        if self.types is None:
            return dict(known)
        if isinstance(self.types, str):
            raise ConfigError(f"types: expected a list of names, got the string {self.types!r}")
        names = list(self.types)
        if not names:
            raise ConfigError("types: expected at least one name")
        counts = Counter(names)
        if wrong := sorted(name for name, count in counts.items() if count > 1 or not name.strip()):
            raise ConfigError(f"types: expected names, each once, got {wrong[0]!r} {counts[wrong[0]]} times")
        if isinstance(self.types, Mapping):
            return dict(self.types)
        return {name: known.get(name, name) for name in names}

    def thresholds(self, names: Collection[str]) -> list[float]:
        """The probability that a span of each of the types `names` must exceed.

        Raises:
            ConfigError: one is no probability, or is of a type that is not asked for.
        """
        own = self.per_type_thresholds
        if foreign := sorted(own.keys() - set(names)):
            raise ConfigError(f"per_type_thresholds: {foreign[0]!r} is none of the types {sorted(names)}")
        limits = [own.get(name, self.threshold) for name in names]
        if wrong := [limit for limit in (self.threshold, *limits) if not 0 <= limit <= 1]:
            raise ConfigError(f"threshold: expected a probability from 0 to 1, got {wrong[0]}")
        return limits
