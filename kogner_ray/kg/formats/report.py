"""What a reader found wrong in its files, and what it did about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from kogner_ray.errors import DataError, quoted

Action = Literal["left out", "repaired", "kept", "not used"]
"""What became of a row: `not used` is what is regular in the file but has no place in the tables."""

N_EXAMPLES = 3
"""Rows that a report shows of each kind."""


@dataclass(frozen=True)
class Issue:
    """One kind of irregularity.

    Attributes:
        kind: what it is, such as "dangling edge".
        action: the rule that was applied to every such row.
        count: rows concerned.
        first: the first few as `path:line: detail`.
    """

    kind: str
    action: Action
    count: int
    first: tuple[str, ...]


@dataclass
class Issues:
    """Irregularities as they are met, one by one or many at once.

    Attributes:
        strict: refuse the first row that would be left out or repaired.
    """

    strict: bool = False
    _found: dict[tuple[str, Action], tuple[int, list[str]]] = field(default_factory=dict)

    def add(self, kind: str, action: Action, path: object, line: int, detail: str) -> None:
        """Count one row.

        Raises:
            DataError: in strict mode, when it would be left out or repaired.
        """
        self._refuse(action, f"{kind}: {detail}", path, line)
        self._count(kind, action, [(path, line, detail)], 1)

    def add_rows(self, kind: str, action: Action, first: Sequence[tuple[object, int, str]], *, count: int) -> None:
        """Count `count` rows, of which `first` gives path, line and content of a few.

        Raises:
            DataError: in strict mode, when they would be left out or repaired.
        """
        path, line, detail = first[0]
        self._refuse(action, f"{kind}: {detail} ({count} in all)", path, line)
        self._count(kind, action, first, count)

    def found(self) -> tuple[Issue, ...]:
        """One issue a kind, in the order in which they were first met."""
        return tuple(Issue(kind, action, n, tuple(first)) for (kind, action), (n, first) in self._found.items())

    def _refuse(self, action: Action, message: str, path: object, line: int) -> None:
        if self.strict and action in ("left out", "repaired"):
            raise DataError(message, path=path, line=line)

    def _count(self, kind: str, action: Action, first: Sequence[tuple[object, int, str]], count: int) -> None:
        before, examples = self._found.get((kind, action), (0, []))
        if len(examples) < N_EXAMPLES:
            examples += [f"{path}:{line}: {detail}" for path, line, detail in first[: N_EXAMPLES - len(examples)]]
        self._found[kind, action] = (before + count, examples)


def shown(value: object) -> str:
    """`value` as a report shows it, cut to a line."""
    return quoted(value, limit=100)


@dataclass(frozen=True)
class ReadReport:
    """Counts of one reading.

    Attributes:
        source: what was read.
        node_rows: node rows in the files (0 when nodes were made from the edges' ends).
        edge_rows: edge rows in the files.
        nodes: nodes kept.
        edges: edges kept.
        issues: irregularities in the order in which they are checked; empty when there are none.
    """

    source: str
    node_rows: int
    edge_rows: int
    nodes: int
    edges: int
    issues: tuple[Issue, ...] = ()

    def count(self, kind: str) -> int:
        """Rows with an issue whose kind begins with `kind`."""
        return sum(issue.count for issue in self.issues if issue.kind.startswith(kind))

    def summary(self) -> str:
        """A few lines for a person."""
        lines = [
            f"{self.source}: {self.nodes:,} nodes of {self.node_rows:,} rows, "
            f"{self.edges:,} edges of {self.edge_rows:,} rows"
        ]
        for issue in self.issues:
            lines.append(f"  {issue.count:,} x {issue.kind}: {issue.action}")
            lines.extend(f"    {example}" for example in issue.first)
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
