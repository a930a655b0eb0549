"""Finer types of a KG as further columns of a training: each entity's, below the type that is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FinerTypes:
    """Types that mentions have for the entity that they link to, beside the wanted one.

    Attributes:
        parents: column -> the wanted type's; columns follow those of the wanted types.
        of_row: row of the entity table -> its columns, in order.
        texts: label texts of each column, in order; the first is its own.
    """

    parents: Mapping[int, int] = field(default_factory=dict)
    of_row: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def columns(self, row: int, *, within: int) -> Iterator[int]:
        """Columns of the entity `row` that are finer than the wanted type `within`."""
        return (column for column in self.of_row.get(row, ()) if self.parents[column] == within)


NO_FINER = FinerTypes()
