"""Does `torch.compile` pay for the text encoder? The packed one beside the compiled and the plain one of transformers.

    KOGNER_SHARED=... python benchmarks/tag_compile.py --checkpoint runs/bc5cdr/checkpoint

On one thread, in the batches that the Tagger makes.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch._inductor.config as inductor
from results import RESULTS, conditions, markdown_table, write_section
from tag_corpus_input import sentences
from tag_speed_profile import batches
from tag_speed_sides import timed

from kogner_ray.cluster import with_process_settings
from kogner_ray.student.batch import Batch
from kogner_ray.student.checkpoint import read_checkpoint
from kogner_ray.tagger import Tagger


def main() -> None:
    """Time all, print and write the table."""
    with_process_settings()
    arguments = _arguments()
    if not os.environ.get("KOGNER_SHARED"):
        print("skipped: KOGNER_SHARED names no folder with the corpora")
        return
    torch.set_num_threads(1)
    inductor.freezing = True  # weights become constants, packed as ours are
    with tempfile.TemporaryDirectory(prefix="tag_compile.") as scratch:
        texts = random.Random(arguments.seed).sample(sentences(Path(scratch)), 400)
    header = ["", "packed, s", "compiled, s", "plain, s", "compiled / packed", "compiling, s"]
    table = markdown_table(header, [_row(arguments, precision, texts) for precision in ("fp32", "bf16")])
    said = conditions(
        packages=("torch", "transformers"), threads="1", seed=str(arguments.seed), rounds=str(arguments.rounds)
    )
    section = f"""## torch.compile for the text encoder

The text encoder alone over {len(texts)} sentences in the batches that the Tagger makes; the compiled one with dynamic
shapes and frozen weights. Medians of {arguments.rounds} rounds in turn; compiling is paid once a process.

{table}

{said}"""
    print(section)
    write_section("tag_compile", section, arguments.results)


def _row(arguments: argparse.Namespace, precision: Any, texts: list[str]) -> list[str]:
    tagger = Tagger.load(arguments.checkpoint, precision=precision)
    prepared, packed = batches(tagger, texts), tagger._reader._backend._encode
    plain = read_checkpoint(arguments.checkpoint).student.eval().token_rep_layer.bert_layer.model
    plain = plain.bfloat16() if precision == "bf16" else plain
    compiled = torch.compile(plain, dynamic=True)

    def all_with(model: Any) -> None:
        for batch in prepared:
            model(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT)

    def all_packed() -> None:
        for batch in prepared:
            packed(batch, _all_tokens(batch))

    ways = {"packed": all_packed, "compiled": lambda: all_with(compiled), "plain": lambda: all_with(plain)}
    with torch.no_grad():
        first = {name: timed(way) for name, way in ways.items()}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                times[name].append(timed(way))
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    ratio = medians["compiled"] / medians["packed"]
    seconds = [f"{value:.2f}" for value in medians.values()]
    return [precision, *seconds, f"{ratio:.2f}", f"{first['compiled'] - medians['compiled']:.0f}"]


def _all_tokens(batch: Batch) -> torch.Tensor:
    """Every token's state, as the other two compute it."""
    return torch.arange(batch.input_ids_BT.numel())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a student of BC5CDR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
