"""Corpus tagging as users run it: what the pipeline costs, how it scales, its memory, and what survives kill -9.

    KOGNER_SHARED=... python benchmarks/tag_corpus.py overhead --checkpoint runs/bc5cdr/checkpoint
    KOGNER_SHARED=... python benchmarks/tag_corpus.py memory --checkpoint runs/bc5cdr/checkpoint
    KOGNER_SHARED=... python benchmarks/tag_corpus.py million
    KOGNER_SHARED=... python benchmarks/tag_corpus.py kills --checkpoint runs/bc5cdr/checkpoint

Each part writes a section of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
from measure import descendants, tree_mb
from results import RESULTS, conditions, markdown_table, write_section
from tag_corpus_input import abstracts, one_layer_checkpoint, repeated, sentences

from kogner_ray.cluster import with_process_settings
from kogner_ray.data.formats.registry import write_documents

_JOB = Path(__file__).parents[1] / "jobs" / "tag.py"
_BARE = Path(__file__).with_name("tag_corpus_bare.py")
_CHUNK = 256
_KILLS = 20  # of the driver, and as many of actors
_ACTOR = "ray::MapWorker(MapBatches(TagWorker))"


def main() -> None:
    """Run one part."""
    with_process_settings()
    arguments = _arguments()
    if not os.environ.get("KOGNER_SHARED"):
        print("skipped: KOGNER_SHARED names no folder with the corpora")
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    parts: dict[str, Callable[[argparse.Namespace, Path], str]] = {
        "overhead": _overhead,
        "memory": _memory,
        "million": _million,
        "kills": _kills,
    }
    with tempfile.TemporaryDirectory(prefix="tag_corpus.") as scratch:
        os.environ["RAY_TMPDIR"] = scratch
        body = parts[arguments.part](arguments, Path(scratch))
    said = conditions(packages=("torch", "ray", "pyarrow"), load=f"{os.getloadavg()[0]:.1f} at the end of the run")
    print(body)
    name = f"tag_corpus_{arguments.part}"
    write_section(name, f"{body}\n\n{said}", arguments.results)


def _overhead(arguments: argparse.Namespace, scratch: Path) -> str:
    documents = list(islice(repeated(sentences(scratch)), arguments.documents or 50_000))
    write_documents(documents, scratch / "in.jsonl")
    rates: dict[str, list[float]] = {"bare": [], "1 actor": [], "2 actors": []}
    for _ in range(arguments.rounds):
        rates["bare"].append(_bare_rate(arguments, scratch / "in.jsonl"))
        for n_actors in (1, 2):
            run = Run(arguments, scratch / "in.jsonl", scratch / f"out{n_actors}", n_actors)
            rates["1 actor" if n_actors == 1 else "2 actors"].append(run.rate_after_start())
            shutil.rmtree(scratch / f"out{n_actors}")
    bare, one, two = (statistics.median(rates[name]) for name in rates)
    rows = [
        ["the bare Tagger, groups of 256", f"{bare:.1f}", ""],
        ["`kogner tag`, 1 actor", f"{one:.1f}", f"overhead {100 * (bare / one - 1):.1f} %"],
        ["`kogner tag`, 2 actors", f"{two:.1f}", f"{two / one:.2f} times 1 actor"],
    ]
    table = markdown_table(["one thread each", "sentences/s", ""], rows)
    return f"""## Corpus tagging: what the pipeline costs, how it scales

{len(documents):,} sentences as one JSON lines file, {arguments.precision}, after start-up (from the first chunk that is
committed to the last), medians of {arguments.rounds} rounds.

{table}"""


def _bare_rate(arguments: argparse.Namespace, file: Path) -> float:
    command = [sys.executable, str(_BARE), arguments.checkpoint, str(file), arguments.precision]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _memory(arguments: argparse.Namespace, scratch: Path) -> str:
    n_documents = arguments.documents or 20_000
    write_documents(islice(repeated(abstracts(scratch)), n_documents), scratch / "in.jsonl")
    run = Run(arguments, scratch / "in.jsonl", scratch / "out", 2)
    title = f"{n_documents:,} abstracts of BC5CDR (repeated, own ids), 2 actors, {arguments.precision}"
    return f"## Corpus tagging: memory over {n_documents:,} abstracts\n\n{title}.\n\n{run.memory_table()}"


def _million(arguments: argparse.Namespace, scratch: Path) -> str:
    n_documents = arguments.documents or 1_000_000
    arguments.checkpoint = str(one_layer_checkpoint(scratch / "student"))
    write_documents(islice(repeated(sentences(scratch)), n_documents), scratch / "in.jsonl")
    run = Run(arguments, scratch / "in.jsonl", scratch / "out", 2)
    table = run.memory_table()
    rows = pq.ParquetFile(scratch / "out" / "documents" / "in.jsonl.parquet").metadata.num_rows
    return f"""## Corpus tagging: a million documents

{n_documents:,} sentences through a student with an encoder of one layer and width 32, 2 actors; {rows:,} rows came out.

{table}"""


def _kills(arguments: argparse.Namespace, scratch: Path) -> str:
    n_documents = arguments.documents or 30_000
    write_documents(islice(repeated(sentences(scratch)), n_documents), scratch / "in.jsonl")
    Run(arguments, scratch / "in.jsonl", scratch / "quiet", 2).finish()
    generator, left = random.Random(arguments.seed), {"driver": _KILLS, "actor": _KILLS}
    while Run(arguments, scratch / "in.jsonl", scratch / "killed", 2).kill_at_random(generator, left):
        print(f"left to kill: {left}", flush=True)
    quiet, killed = (_found(scratch / name) for name in ("quiet", "killed"))
    lost, twice = len(quiet.keys() - killed.keys()), sum(len(rows) > 1 for rows in killed.values())
    others = sum(rows != quiet.get(key) for key, rows in killed.items())
    return f"""## Corpus tagging: kill -9

{n_documents:,} sentences, {arguments.precision}, 2 actors, chunks of {_CHUNK}. Killed at random moments and
started again until done: {_KILLS - left["driver"]} times the driver, {_KILLS - left["actor"]} times an actor.

| documents lost | doubled | with other ids, spans or types than undisturbed |
|---:|---:|---:|
| {lost} | {twice} | {others} |"""


def _found(output: Path) -> dict[str, list[list[tuple[int, int, str]]]]:
    """Spans of each record, a list a time that it is there."""
    found: dict[str, list[list[tuple[int, int, str]]]] = {}
    for row in pq.read_table(output / "documents" / "in.jsonl.parquet").to_pylist():
        spans = [(entity["start"], entity["end"], entity["type"]) for entity in row["entities"]]
        found.setdefault(f"{row['record']} {row['id']}", []).append(spans)
    return found


class Run:
    """The job in a process of its own."""

    def __init__(self, arguments: argparse.Namespace, source: Path, output: Path, n_actors: int) -> None:
        self.output = output
        command = [sys.executable, str(_JOB), str(source), str(output), "--checkpoint", arguments.checkpoint]
        command += ["--workers", str(n_actors), "--set", f"workers.min={n_actors}", "--precision", arguments.precision]
        command += ["--set", "link=false", "--set", f"chunks.records={_CHUNK}"]
        self.process = subprocess.Popen(command, start_new_session=True)

    def _chunks(self) -> int:
        return sum(1 for _ in (self.output / ".chunks").glob("*/????????.parquet"))

    def finish(self) -> None:
        """Wait; it must end well."""
        if self.process.wait() != 0:
            raise SystemExit(f"the job ended with {self.process.returncode}")

    def rate_after_start(self) -> float:
        """Documents a second from the first chunk to the last."""
        moments: list[tuple[float, int]] = []
        while self.process.poll() is None:
            moments.append((time.monotonic(), self._chunks()))
            time.sleep(0.1)
        self.finish()
        most = max(n for _, n in moments)
        first = next(moment for moment in moments if moment[1])
        last = next(moment for moment in moments if moment[1] == most)
        return _CHUNK * (last[1] - first[1]) / (last[0] - first[0])

    def memory_table(self) -> str:
        """Memory of all processes each second, by quarters of the time from the first chunk on."""
        samples: list[float] = []
        while self.process.poll() is None:
            if self._chunks() or samples:
                samples.append(tree_mb(self.process.pid))
            time.sleep(1)
        self.finish()
        quarter = max(1, len(samples) // 4)
        means = [statistics.mean(samples[i * quarter : (i + 1) * quarter]) for i in range(4)]
        rows = [["MB, mean", *(f"{mean:,.0f}" for mean in means), f"{means[3] / means[0]:.3f}"]]
        table = markdown_table(
            ["all processes, sampled each second", "1st quarter", "2nd", "3rd", "4th", "4th / 1st"], rows
        )
        return f"{table}\n\n{len(samples)} samples, largest {max(samples):,.0f} MB."

    def kill_at_random(self, generator: random.Random, left: dict[str, int]) -> bool:
        """Kill actors or the driver at random moments, and count `left` down; True if it was the driver in the end."""
        while self.process.poll() is None:
            moment = time.monotonic() + generator.uniform(2, 14)
            while time.monotonic() < moment and self.process.poll() is None:
                time.sleep(0.02)
            kinds = [kind for kind, n in left.items() if n]
            actors = [pid for pid, title in descendants(self.process.pid) if title.startswith(_ACTOR)]
            if not kinds or not actors or self.process.poll() is not None:
                continue
            kind = generator.choice(kinds)
            left[kind] -= 1
            if kind == "driver":
                self._kill_all()
                return True
            os.kill(generator.choice(actors), signal.SIGKILL)
        self.finish()
        return False

    def _kill_all(self) -> None:
        """Kill the driver first; what it started notices, and is ended so that the next run has the machine."""
        rest = [pid for pid, _ in descendants(self.process.pid)]
        self.process.kill()
        self.process.wait()
        time.sleep(0.5)
        for pid in rest:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["overhead", "memory", "million", "kills"])
    parser.add_argument("--checkpoint", help="a student of BC5CDR")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--documents", type=int, help="how many, instead of the part's own number")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
