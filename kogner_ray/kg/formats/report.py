"""What a reader found wrong in its files, and what it did about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Action = Literal["left out", "repaired", "kept"]


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
