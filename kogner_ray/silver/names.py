"""KG names in text: every longest stretch of words that is the name or a synonym of an entity."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from kogner_ray.data.words import Words
from kogner_ray.errors import ConfigError
from kogner_ray.kg.linking import LinkerConfig, types_alike
from kogner_ray.kg.names import normalise_name

_MIN_LENGTH = 2
_PIECE = re.compile(r"[^\W_]+|[^\w\s'\u2019,.()\[\]]")
_ACRONYM_LENGTH = 6


@dataclass(frozen=True, slots=True)
class Match:
    """A name in a text.

    Attributes:
        first: its first word.
        last: its last word.
        name: as `name_key` writes it; the key of all statistics.
        types: indices of the wanted types that entities of this name have, in order; empty where none has.
        contested: whether entities of an unwanted type, or of several wanted ones, are called so too.
    """

    first: int
    last: int
    name: str
    types: tuple[int, ...]
    contested: bool


def name_key(surface: str) -> str:
    """`normalise_name` without apostrophes, commas, points and brackets, so that tokenised text matches, too."""
    return " ".join(_PIECE.findall(normalise_name(surface)))


class NameFinder:
    """Finds the names of a KG in texts.

    A name that is written like an acronym in the KG (short, with two capitals) is found only where the text writes it
    with the same capitals: the gene ALL is not in "all patients".
    """

    def __init__(
        self,
        nodes: pa.Table,
        types: Sequence[str],
        *,
        linker: LinkerConfig | None = None,
        max_width: int = 12,
    ) -> None:
        """Collect the names of `nodes` (columns name, type, synonyms).

        Args:
            nodes: an entity or node table.
            types: wanted types; an entity has one when the linker may link a mention of that type to it.
            linker: which KG types stand for a wanted type, where their names do not say so.
            max_width: words of the longest name to find.

        Raises:
            ConfigError: the KG has no type like one of `types`.
        """
        self.types, self.max_width = tuple(types), max_width
        masks = _masks(nodes, self.types, linker or LinkerConfig())
        self._masks: dict[str, int] = defaultdict(int)
        spellings: dict[str, set[str]] = defaultdict(set)
        surfaces: dict[str, str] = {}
        columns = (nodes[column].to_pylist() for column in ("name", "type", "synonyms"))
        for own, type_, synonyms in zip(*columns, strict=True):
            for name in (own, *(synonyms or ())):
                key = name_key(name or "")
                if len(key) < _MIN_LENGTH or key.isdigit():
                    continue
                self._masks[key] |= masks[type_ or ""]
                surfaces.setdefault(key, " ".join(name.split()))
                if len(key) <= _ACRONYM_LENGTH:
                    spellings[key].add(name)
        self._masks = dict(self._masks)
        self._acronyms = {key: frozenset(found) for key, found in spellings.items() if all(map(_is_acronym, found))}
        self._surfaces = {
            name: [surfaces[key] for key, mask in self._masks.items() if mask == 1 << index]
            for index, name in enumerate(self.types)
        }

    def __len__(self) -> int:
        return len(self._masks)

    def names_of(self, type_: str) -> list[str]:
        """Names of a wanted type and of no other, each in one of the KG's spellings."""
        return self._surfaces[type_]

    def other_names(self, nodes: pa.Table) -> list[str]:
        """Names of `nodes` that only entities of unwanted types have, each in one spelling."""
        columns = (nodes[column].to_pylist() for column in ("name", "synonyms"))
        names = (name for own, synonyms in zip(*columns, strict=True) for name in (own, *(synonyms or ())) if name)
        other = 1 << len(self.types)
        return list({key: " ".join(n.split()) for n in names if self._masks.get(key := name_key(n)) == other}.values())

    def find(self, text: str, words: Words) -> Iterator[Match]:
        """Matches from left to right, none overlapping another; the longest at each word, whatever its type."""
        first = 0
        while first < len(words):
            match = self._longest(text, words, first)
            if match is not None:
                yield match
                first = match.last
            first += 1

    def match(self, text: str, words: Words, first: int, last: int) -> Match | None:
        """The match of exactly the words `first` to `last`."""
        surface = text[words.starts[first] : words.ends[last]]
        name = name_key(surface)
        mask = self._masks.get(name)
        if mask is None or (name in self._acronyms and surface not in self._acronyms[name]):
            return None
        types = tuple(index for index in range(len(self.types)) if mask >> index & 1)
        other = bool(mask >> len(self.types) & 1)
        return Match(first, last, name, types, other or len(types) > 1)

    def ending_at(self, text: str, words: Words, first: int, last: int) -> Match | None:
        """The longest match of words up to `last` that starts at `first` or later."""
        matches = (self.match(text, words, start, last) for start in range(first, last + 1))
        return next((match for match in matches if match is not None), None)

    def _longest(self, text: str, words: Words, first: int) -> Match | None:
        if not words.texts[first][0].isalnum():
            return None
        for last in range(min(first + self.max_width, len(words)) - 1, first - 1, -1):
            if words.texts[last][-1].isalnum() or words.texts[last] == "+":
                match = self.match(text, words, first, last)
                if match is not None:
                    return match
        return None


def stands_for(linker: LinkerConfig, wanted: str, type_: str) -> bool:
    """Whether entities of the KG's `type_` are of the wanted type."""
    return type_ in linker.types[wanted] if wanted in linker.types else types_alike(wanted, type_)


def _masks(nodes: pa.Table, types: Sequence[str], linker: LinkerConfig) -> Mapping[str, int]:
    """KG type -> a bit for each wanted type that it stands for, else the bit after them."""
    known = [type_ or "" for type_ in nodes["type"].unique().to_pylist()]
    masks = {}
    for type_ in known:
        fits = [stands_for(linker, wanted, type_) for wanted in types]
        masks[type_] = sum(1 << index for index, fit in enumerate(fits) if fit) or 1 << len(types)
    for index, wanted in enumerate(types):
        if not any(mask >> index & 1 for mask in masks.values()):
            raise ConfigError(
                f"the KG has no entity of a type like {wanted!r}; it has {', '.join(sorted(known))}: "
                f"say which stand for it (kg.linker.types.{wanted})"
            )
    return masks


def _is_acronym(name: str) -> bool:
    return sum(character.isupper() for character in name) >= 2
