"""Throughput against types, document length and texts a call, ours and the peer's, and what PubMed would cost.

    KOGNER_SHARED=... python benchmarks/tag_curves.py --checkpoint runs/bc5cdr/checkpoint

Writes `tag_curves.png` beside RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from results import RESULTS, conditions, markdown_table, write_section
from tag_corpus_input import abstracts, sentences
from tag_speed import MANY_TYPES
from tag_speed_sides import Ours, Peer, timed

from kogner_ray.cluster import with_process_settings
from kogner_ray.student.checkpoint import read_checkpoint
from kogner_ray.student.dense import Precision

_N_ABSTRACTS = 36_000_000
_VCPU_HOUR_USD = 0.05
_SIDES: tuple[tuple[str, str, Precision], ...] = (
    ("ours, fp32", "ours", "fp32"),
    ("ours, bf16", "ours", "bf16"),
    ("ours, int8", "ours", "int8"),
    ("gliner, fp32", "peer", "fp32"),
)
Curves = dict[str, list[float]]


def main() -> None:
    """Measure, draw and write."""
    with_process_settings()
    arguments = _arguments()
    if not os.environ.get("KOGNER_SHARED"):
        print("skipped: KOGNER_SHARED names no folder with the corpora")
        return
    torch.set_num_threads(arguments.threads)
    checkpoint = read_checkpoint(arguments.checkpoint)
    labels = list(checkpoint.types.values())
    with tempfile.TemporaryDirectory(prefix="tag_curves.") as scratch:
        ours, peer = Ours(checkpoint), Peer(checkpoint, Path(scratch) / "gliner")
        texts = random.Random(arguments.seed).sample(sentences(Path(scratch)), 256)
        words = " ".join(texts * 2).split()
        whole = abstracts(Path(scratch))[:100]

        def of_types(n: int) -> tuple[list[str], list[str]]:
            return texts, [*labels, *MANY_TYPES][:n]

        def of_length(n: int) -> tuple[list[str], list[str]]:
            return [" ".join(words[i : i + n]) for i in range(0, len(words) - n, n)], labels

        axes = {
            "types": ([1, 2, 5, 20, 50, 200], of_types),
            "words a document": ([10, 25, 50, 100, 200, 350], of_length),
        }
        curves = {name: _curves(points, make, ours, peer) for name, (points, make) in axes.items()}
        calls = _calls([1, 4, 16, 64, 256], texts, labels, ours, peer)
        rates = {name: _run(side, precision, whole, labels, ours, peer) for name, side, precision in _SIDES}
        n_words = statistics.mean(len(text.split()) for text in whole)
    points = {name: axes[name][0] for name in axes} | {"texts a call": [1, 4, 16, 64, 256]}
    _draw(points, curves | {"texts a call": calls}, arguments.results.with_name("tag_curves.png"))
    section = _section(arguments, points, curves | {"texts a call": calls}, rates, n_words)
    print(section)
    write_section("tag_curves", section, arguments.results)


def _run(side: str, precision: Precision, texts: Sequence[str], types: Sequence[str], ours: Ours, peer: Peer) -> float:
    """Words a second, the better of two."""
    tag: Callable[[], object] = lambda: (ours if side == "ours" else peer).tag(texts, types, precision)  # noqa: E731
    n_words = sum(len(text.split()) for text in texts)
    return n_words / min(timed(tag) for _ in range(2))


def _curves(
    points: Sequence[int], make: Callable[[int], tuple[list[str], list[str]]], ours: Ours, peer: Peer
) -> Curves:
    return {name: [_run(side, p, *make(n), ours, peer) for n in points] for name, side, p in _SIDES}


def _calls(sizes: Sequence[int], texts: Sequence[str], types: Sequence[str], ours: Ours, peer: Peer) -> Curves:
    """Words a second when so many texts come at a time."""
    curves: Curves = {}
    for name, side, precision in _SIDES:
        curves[name] = []
        for size in sizes:
            groups = [texts[i : i + size] for i in range(0, min(len(texts), 32 * size), size)]
            n_words = sum(len(text.split()) for group in groups for text in group)
            if side == "ours":
                seconds = timed(lambda g=groups, p=precision: [ours.tag(group, types, p) for group in g])
            else:
                seconds = timed(lambda g=groups, p=precision: [peer.tag_at_once(group, types, p) for group in g])
            curves[name].append(n_words / seconds)
    return curves


def _draw(points: dict[str, list[int]], curves: dict[str, Curves], path: Path) -> None:
    figure, all_axes = plt.subplots(1, len(points), figsize=(5 * len(points), 4), sharey=True)
    for axes, (name, where) in zip(all_axes, points.items(), strict=True):
        for side, values in curves[name].items():
            axes.plot(where, values, marker="o", markersize=3, label=side)
        axes.set(xscale="log", yscale="log", xlabel=name)
        axes.grid(alpha=0.3)
    all_axes[0].set_ylabel("words a second, 2 cores")
    all_axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _section(
    arguments: argparse.Namespace,
    points: dict[str, list[int]],
    curves: dict[str, Curves],
    rates: dict[str, float],
    n_words: float,
) -> str:
    tables = [
        markdown_table(
            [f"words/s by {name}", *map(str, where)],
            [[side, *(f"{value:,.0f}" for value in curves[name][side])] for side in curves[name]],
        )
        for name, where in points.items()
    ]
    cost = [_cost(name, rate, n_words, arguments.threads) for name, rate in rates.items()]
    said = conditions(packages=("torch", "gliner"), threads=str(arguments.threads), seed=str(arguments.seed))
    return f"""## Throughput against types, length and texts a call

![throughput](tag_curves.png)

{said}

{(chr(10) * 2).join(tables)}

What {_N_ABSTRACTS // 1_000_000} M abstracts would take, by 100 abstracts of BC5CDR, {n_words:.0f} words on average:
hours = {_N_ABSTRACTS:,} x {n_words:.0f} / (words/s) / 3600; dollars = hours x {arguments.threads} cores x
{_VCPU_HOUR_USD} a core-hour, which is an assumption, as is that other machines are as fast as this one.

{markdown_table(["", "words/s", "machine-hours", "core-hours", "dollars"], cost)}"""


def _cost(name: str, rate: float, n_words: float, n_cores: int) -> list[str]:
    hours = _N_ABSTRACTS * n_words / rate / 3600
    return [
        name,
        f"{rate:,.0f}",
        f"{hours:,.0f}",
        f"{hours * n_cores:,.0f}",
        f"{hours * n_cores * _VCPU_HOUR_USD:,.0f}",
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a student of BC5CDR")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
