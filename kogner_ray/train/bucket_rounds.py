"""In which order buckets are visited: in rounds, each of them a bucket a worker, no part with two workers at once."""

from __future__ import annotations

from collections.abc import Sequence

from kogner_ray.kg.buckets import Pair


def parts_needed(n_nodes: int, *, bucket_nodes: int, workers: int) -> int:
    """Parts such that two of them hold at most `bucket_nodes` nodes, and that the workers can share evenly.

    Args:
        n_nodes: to be cut.
        bucket_nodes: that one worker may hold.
        workers: 1 with a KG that it can hold whole leaves it in one part.
    """
    if workers == 1 and n_nodes <= bucket_nodes:
        return 1
    even = 2 * workers
    return -(-max(2 * n_nodes, 1) // (bucket_nodes * even)) * even


def bucket_rounds(n_parts: int, *, workers: int) -> list[list[Pair]]:
    """All pairs of parts once, as rounds of one pair a worker, disjoint; (0, 0) where there is one part.

    The parts are in two groups a worker. The groups meet in a tournament; while two of them are with a worker, it goes
    through their pairs so that each step swaps one part (as PBG's orders do).

    Args:
        n_parts: P, 1 or a multiple of twice the workers.
        workers: W.
    """
    if n_parts == 1:
        return [[(0, 0)]]
    size = n_parts // (2 * workers)
    groups = [range(start, start + size) for start in range(0, n_parts, size)]
    rounds: list[list[Pair]] = []
    for number, meetings in enumerate(_tournament(2 * workers)):
        courts = [
            _triangle([*groups[a], *groups[b]]) if number == 0 else _grid(groups[a], groups[b]) for a, b in meetings
        ]
        rounds += [list(pairs) for pairs in zip(*courts, strict=True)]
    return rounds


def _tournament(n: int) -> list[list[Pair]]:
    """The circle method: n - 1 rounds in which each of n (even) meets another, all pairs once."""
    rounds = []
    for turn in range(n - 1):
        circle = [0, *((turn + i) % (n - 1) + 1 for i in range(n - 1))]
        rounds.append([(circle[i], circle[n - 1 - i]) for i in range(n // 2)])
    return rounds


def _triangle(parts: Sequence[int]) -> list[Pair]:
    """All pairs of `parts`, back and forth."""
    pairs: list[Pair] = []
    for number, (first, *others) in enumerate(parts[i:] for i in range(len(parts) - 1)):
        pairs += [_ordered(first, other) for other in (others if number % 2 == 0 else others[::-1])]
    return pairs


def _grid(parts: Sequence[int], others: Sequence[int]) -> list[Pair]:
    """All pairs of one of `parts` and one of `others`, back and forth."""
    ways = (others, others[::-1])
    return [_ordered(part, other) for number, part in enumerate(parts) for other in ways[number % 2]]


def _ordered(a: int, b: int) -> Pair:
    return min(a, b), max(a, b)
