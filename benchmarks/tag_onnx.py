"""Our ONNX graphs in onnxruntime beside our own Tagger: speed and F1, fp32 and int8.

KOGNER_SHARED=... python benchmarks/tag_onnx.py --checkpoint runs/bc5cdr/checkpoint
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from results import RESULTS, conditions, markdown_table, write_section
from rich.console import Console
from tag_speed_sides import timed

from kogner_ray.cluster import with_process_settings
from kogner_ray.data import catalog
from kogner_ray.data.metrics import score
from kogner_ray.data.spans import Document
from kogner_ray.student.checkpoint import read_checkpoint
from kogner_ray.student.onnx.export import write_onnx
from kogner_ray.tagger import Tagger

_PRECISIONS = ("fp32", "int8")
_HEADER = ("graphs or Tagger", "sentences/s", "range", "to the Tagger of that precision", "F1", "MB on disk")


def main() -> None:
    """Run all rounds, print and write the table."""
    with_process_settings()
    arguments, console = _arguments(), Console()
    if not os.environ.get("KOGNER_SHARED"):
        console.print("skipped: KOGNER_SHARED names no folder with the corpora", highlight=False)
        return
    torch.set_num_threads(arguments.threads)
    checkpoint = read_checkpoint(arguments.checkpoint)
    with tempfile.TemporaryDirectory(prefix="tag_onnx.") as scratch:
        taggers, sizes = {}, {}
        for precision in _PRECISIONS:
            taggers[f"Tagger, {precision}"] = Tagger(checkpoint, precision=precision)
            folder = write_onnx(checkpoint, Path(scratch) / precision, precision=precision)
            taggers[f"ONNX, {precision}"] = Tagger.load(folder)
            sizes[f"ONNX, {precision}"] = sum(path.stat().st_size for path in folder.rglob("*.onnx*")) / 1e6
        documents = _documents(Path(scratch))
        texts = [document.text for document in random.Random(arguments.seed).sample(documents, arguments.texts)]
        seconds = _rounds(taggers, texts, arguments.rounds)
        lines = [
            _line(name, seconds, len(texts), _f1(tagger, documents, dict(checkpoint.types)), sizes.get(name))
            for name, tagger in taggers.items()
        ]
    section = _section(arguments, lines)
    print(section)
    write_section("tag_onnx", section, arguments.results)


def _documents(folder: Path) -> list[Document]:
    catalog.get("bc5cdr", folder, base_url=str(Path(os.environ["KOGNER_SHARED"]) / "mirror"))
    return list(catalog.read_split("bc5cdr", "test", folder))


def _rounds(taggers: dict[str, Tagger], texts: Sequence[str], n_rounds: int) -> dict[str, list[float]]:
    """Seconds of each, in turn, round after round."""
    seconds: dict[str, list[float]] = {name: [] for name in taggers}
    for tagger in taggers.values():
        tagger.tag(texts, link=False)
    for _ in range(n_rounds):
        for name, tagger in taggers.items():
            seconds[name].append(timed(lambda own=tagger: own.tag(texts, link=False)))
    return seconds


def _f1(tagger: Tagger, documents: Sequence[Document], types: dict[str, str]) -> float:
    found = tagger.tag([document.text for document in documents], types, link=False)
    predicted = [{(e.start, e.end, e.type) for e in entities} for entities in found]
    gold = [{(e.start, e.end, e.type) for e in document.entities} for document in documents]
    return 100 * score(gold, predicted, types=list(types), bootstrap=0, seed=0).micro.f1


def _line(name: str, seconds: dict[str, list[float]], n_texts: int, f1: float, size: float | None) -> list[str]:
    own, ours = seconds[name], seconds[f"Tagger, {name.rpartition(' ')[2]}"]
    ratio = statistics.median(a / b for a, b in zip(ours, own, strict=True))
    return [
        name,
        f"{n_texts / statistics.median(own):.1f}",
        f"{n_texts / max(own):.1f}-{n_texts / min(own):.1f}",
        f"{ratio:.2f}",
        f"{f1:.2f}",
        "" if size is None else f"{size:.0f}",
    ]


def _section(arguments: argparse.Namespace, lines: list[list[str]]) -> str:
    said = conditions(
        packages=("torch", "onnxruntime"),
        threads=str(arguments.threads),
        rounds=str(arguments.rounds),
        seed=str(arguments.seed),
        malloc="glibc with the settings of the README",
    )
    return f"""## ONNX graphs beside the Tagger

The folded student as ONNX graphs in onnxruntime, and our own Tagger, in turn in one process: {arguments.texts}
sentences of BC5CDR test, 2 types, medians of {arguments.rounds} rounds; strict F1 on all of BC5CDR test.

{said}

{markdown_table(_HEADER, lines)}
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a student of BC5CDR")
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
