"""Tagging speed beside the `gliner` package's `inference`: same weights, texts, types, width, threads, malloc settings.

Both sides run in one process, ours and the peer's in turn, round after round. The peer takes texts sorted by length at
its best batch size, found on a sample first.

    KOGNER_SHARED=... python benchmarks/tag_speed.py --checkpoint runs/bc5cdr/checkpoint
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from results import RESULTS, conditions, markdown_table, write_section
from rich.console import Console
from tag_speed_profile import encoder_seconds, profile
from tag_speed_sides import Ours, Peer, Spans, timed

from kogner_ray.cluster import with_process_settings
from kogner_ray.data import catalog
from kogner_ray.data.metrics import score
from kogner_ray.data.spans import Document
from kogner_ray.student.checkpoint import read_checkpoint
from kogner_ray.student.dense import Precision

_PASSES = 3  # of ours, averaged: about as long as one of the peer's, so that both meet the same noise
_PACKAGES = ("torch", "transformers", "gliner")
_ORGANS = (
    "lung liver kidney heart brain skin bone blood breast colon stomach eye ear nerve muscle joint vein artery gland"
)
_KINDS = "disease tumour injury infection enzyme protein cell drug marker procedure pain"
_SHARES = (
    "precision",
    "encoder's products",
    "all products",
    "GFLOP/s in products",
    "GEMM rate here, GFLOP/s",
    "of it",
)
MANY_TYPES = [f"{organ} {kind}" for kind in _KINDS.split() for organ in _ORGANS.split()]


@dataclass(frozen=True)
class Row:
    """One pair of runs.

    Attributes:
        name: what is tagged.
        texts: `sentences` or `windows` of long documents.
        n_texts: how many.
        n_types: types asked for.
        ours: our precision.
        peer: the peer's precision.
    """

    name: str
    texts: str
    n_texts: int
    n_types: int
    ours: Precision
    peer: Precision


@dataclass(frozen=True)
class Pair:
    """Seconds of both sides in one round, and what they found."""

    ours_s: float
    peer_s: float
    same: float
    n_found: int


ROWS = (
    Row("2 types, fp32", "sentences", 800, 2, "fp32", "fp32"),
    Row("2 types, bf16", "sentences", 800, 2, "bf16", "bf16"),
    Row("2 types, int8", "sentences", 800, 2, "int8", "int8"),
    Row("2 types, our int8, its fp32", "sentences", 800, 2, "int8", "fp32"),
    Row("2 types, our bf16, its fp32", "sentences", 800, 2, "bf16", "fp32"),
    Row("20 types, fp32", "sentences", 320, 20, "fp32", "fp32"),
    Row("200 types, fp32", "sentences", 320, 200, "fp32", "fp32"),
    Row("2,000-word documents, 2 types, fp32", "windows", 8, 2, "fp32", "fp32"),
)


def main() -> None:
    """Run all rounds, print and write the table."""
    with_process_settings()
    arguments, console = _arguments(), Console()
    if not os.environ.get("KOGNER_SHARED"):
        console.print("skipped: KOGNER_SHARED names no folder with the corpora", highlight=False)
        return
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]
    checkpoint = read_checkpoint(arguments.checkpoint)
    labels = list(checkpoint.types.values())
    with tempfile.TemporaryDirectory(prefix="tag_speed.") as scratch:
        documents = _documents(Path(scratch))
        ours, peer = Ours(checkpoint), Peer(checkpoint, Path(scratch) / "gliner")
        lines = []
        for row in ROWS:
            texts = _texts(row, documents, ours, arguments.seed)
            types = [*labels, *MANY_TYPES][: row.n_types]
            pairs = [_pair(row, texts, types, ours, peer) for _ in range(arguments.rounds)]
            batch_size = peer.batch_size(texts, types, row.peer)
            lines.append(_line(row, pairs, texts, batch_size))
            console.print(json.dumps({"row": row.name, "pairs": [asdict(pair) for pair in pairs]}), highlight=False)
        windows = _texts(ROWS[-1], documents, ours, arguments.seed)
        bound = encoder_seconds(ours.tagger("fp32"), windows)
        shares = [
            profile(ours.tagger(precision), _sample(documents, 800, arguments.seed), precision)
            for precision in ("fp32", "bf16", "int8")
        ]
        quality = {
            precision: _f1(ours, documents, dict(checkpoint.types), precision) for precision in ("fp32", "bf16", "int8")
        }
    section = _section(arguments, lines, bound, len(windows), shares, quality, load)
    print(section)
    write_section("tag_speed", section, arguments.results)


def _documents(folder: Path) -> list[Document]:
    catalog.get("bc5cdr", folder, base_url=str(Path(os.environ["KOGNER_SHARED"]) / "mirror"))
    return list(catalog.read_split("bc5cdr", "test", folder))


def _sample(documents: Sequence[Document], n_texts: int, seed: int) -> list[str]:
    return [document.text for document in random.Random(seed).sample(documents, n_texts)]


def _texts(row: Row, documents: Sequence[Document], ours: Ours, seed: int) -> list[str]:
    if row.texts == "sentences":
        return _sample(documents, row.n_texts, seed)
    words = " ".join(document.text for document in documents).split()
    long = [" ".join(words[2000 * i : 2000 * (i + 1)]) for i in range(row.n_texts)]
    return ours.windows(long)


def _pair(row: Row, texts: Sequence[str], types: Sequence[str], ours: Ours, peer: Peer) -> Pair:
    found: list[Spans] = []
    peer.batch_size(sorted(texts, key=lambda text: len(text.split())), types, row.peer)
    ours.tag(texts[:32], types, row.ours)
    ours_s = timed(lambda: [found.append(ours.tag(texts, types, row.ours)) for _ in range(_PASSES)]) / _PASSES
    peer_s = timed(lambda: found.append(peer.tag(texts, types, row.peer)))
    mine, its = ({(i, *span) for i, spans in enumerate(side) for span in spans} for side in found[-2:])
    return Pair(ours_s, peer_s, len(mine & its) / max(1, len(mine | its)), len(mine))


def _line(row: Row, pairs: Sequence[Pair], texts: Sequence[str], batch_size: int) -> list[str]:
    n_words = sum(len(text.split()) for text in texts)
    ratios = sorted(pair.peer_s / pair.ours_s for pair in pairs)
    mine, its = (statistics.median(getattr(pair, side) for pair in pairs) for side in ("ours_s", "peer_s"))
    return [
        row.name,
        f"{len(texts) / mine:.1f}",
        f"{len(texts) / its:.1f}",
        f"{n_words / mine:,.0f}",
        str(batch_size),
        f"{statistics.median(ratios):.2f}",
        f"{ratios[0]:.2f}-{ratios[-1]:.2f}",
        f"{100 * pairs[0].same:.2f} %",
    ]


def _f1(ours: Ours, documents: Sequence[Document], types: dict[str, str], precision: Precision) -> float:
    names = {label: name for name, label in types.items()}
    found = ours.tag([document.text for document in documents], list(names), precision)
    predicted = [{(start, end, names[label]) for start, end, label in spans} for spans in found]
    gold = [{(e.start, e.end, e.type) for e in document.entities} for document in documents]
    return 100 * score(gold, predicted, types=list(types), bootstrap=0, seed=0).micro.f1


def _section(
    arguments: argparse.Namespace,
    lines: list[list[str]],
    bound: float,
    n_windows: int,
    shares: list[list[str]],
    quality: dict[str, float],
    load: float,
) -> str:
    said = conditions(
        packages=_PACKAGES,
        threads=str(arguments.threads),
        rounds=str(arguments.rounds),
        seed=str(arguments.seed),
        malloc="glibc with the settings of the README, both sides",
        load=f"{load:.1f} before the run",
    )
    header = [
        "tagged",
        "ours, texts/s",
        "gliner, texts/s",
        "ours, words/s",
        "its best batch",
        "ratio",
        "range",
        "same spans",
    ]
    f1 = ", ".join(f"{name} {value:.2f}" for name, value in quality.items())
    return f"""## Tagging speed beside gliner

Medians of {arguments.rounds} rounds; the ratio is the median of the rounds' ratios. A round is one pass of the peer and
the mean of {_PASSES} of ours, which take less time. Texts of the last row are the
windows that our Tagger cuts 2,000-word documents into; the peer is given the same windows.

{said}

{markdown_table(header, lines)}

Our text encoder alone takes {bound:.2f} s for the {n_windows} windows of the last row: the bound for any head.
Strict F1 of ours on all of BC5CDR test: {f1}.

Where our time goes, 800 sentences, 2 types, one thread (shares of the profiled time):

{markdown_table(_SHARES, shares)}
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a student of BC5CDR")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
