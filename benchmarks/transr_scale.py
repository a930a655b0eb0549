"""How do time and memory of TransR grow with the KG, and with its buckets?

Every row is a process of its own that trains from a folder of buckets; its peak memory is what it held beyond what the
same process held before the buckets were opened (Python, torch, Ray: the column says how much).

- shares: 10 % to 100 % of a KG's triples, one epoch in one bucket.
- buckets: a KG of ten million nodes with the degrees of a real one (each node copied, each triple copied between random
  copies of its ends), the first rounds of a bucketed epoch, for two sizes of bucket; and half of that KG.

    KOGNER_SHARED=... python benchmarks/transr_scale.py --only shares      # or buckets
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import peak_mb
from results import conditions, markdown_table, write_section
from transr_workers import UnreportedSession

from kogner_ray.cluster import with_process_settings
from kogner_ray.kg.buckets import Buckets, write_buckets
from kogner_ray.kg.tables import read_kg
from kogner_ray.teacher.negatives import head_probabilities
from kogner_ray.train.bucket_rounds import parts_needed
from kogner_ray.train.transr import TransRConfig
from kogner_ray.train.transr_loop import TransRRun

SHARES = (0.1, 0.3, 1.0)
COPIES = {"5 M": 25 // 2, "10 M": 25}
BUCKETS = (("10 M", 400_000), ("10 M", 800_000), ("5 M", 400_000))
ROUNDS = 4
COLUMNS = {
    "linked": "nodes with edges",
    "all_triples": "triples",
    "parts": "parts",
    "in_memory": "nodes held",
    "trained": "triples trained",
    "seconds": "s",
    "cpu": "CPU s",
    "triples_per_cpu_s": "triples/CPU s",
    "peak_mb": "MB",
    "before_mb": "MB before",
    "load": "load of the machine",
}


def main() -> None:
    """Measure what is asked for, and write the table of all that was measured in this folder."""
    with_process_settings()
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.train:
        print(json.dumps(_train(arguments.train, arguments)))
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    kept = arguments.output / "scale.json"
    for part in ("shares", "buckets"):
        if arguments.only in ("", part):
            found = globals()[f"_{part}"](arguments)
            everything = json.loads(kept.read_text()) if kept.is_file() else {}
            kept.write_text(json.dumps(everything | {part: found}, indent=2))
    section = _section(json.loads(kept.read_text()), arguments)
    print(section)
    write_section("transr-scale", section)


def _shares(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    kg = read_kg(arguments.kg)
    rows = []
    for share in SHARES:
        chosen = np.random.default_rng(0).choice(kg.n_edges, int(share * kg.n_edges), replace=False)
        sizes = {"n_parts": 1, "n_relations": len(kg.relations)}
        name = f"share-{share:g}"
        cut = arguments.output / name
        write_buckets(kg.triples[np.sort(chosen)], cut, **sizes, node_types=kg.node_types, seed=0)
        rows.append({"name": f"{share:.0%} of the triples"} | _in_a_process(cut, 1, arguments))
        print(rows[-1], flush=True)
    return rows


def _buckets(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    kg = read_kg(arguments.kg)
    rows = []
    for size, bucket_nodes in BUCKETS:
        started = time.perf_counter()
        cut = arguments.output / f"synthetic-{size.split()[0]}-{bucket_nodes}"
        if not (cut / "meta.json").is_file():
            triples = _copied(kg.triples, kg.n_nodes, COPIES[size], arguments.output / "triples.npy")
            linked = COPIES[size] * len(np.unique(kg.triples[:, [0, 2]]))
            n_parts = parts_needed(linked, bucket_nodes=bucket_nodes, workers=1)
            types = np.repeat(kg.node_types, COPIES[size])
            write_buckets(triples, cut, n_parts=n_parts, n_relations=len(kg.relations), node_types=types, seed=0)
            print(size, bucket_nodes, "cut in", time.perf_counter() - started, flush=True)
        rows.append({"name": f"{size} nodes, buckets of {bucket_nodes:,}"} | _in_a_process(cut, ROUNDS, arguments))
        print(rows[-1], flush=True)
    return rows


def _copied(triples: np.ndarray, n_nodes: int, copies: int, path: Path) -> np.ndarray:
    """`copies` of each triple, its ends random copies of its nodes: (copies * E, 3), mapped."""
    rng = np.random.default_rng(0)
    copied = np.lib.format.open_memmap(path, mode="w+", dtype=np.int64, shape=(copies * len(triples), 3))
    for copy in range(copies):
        part = copied[copy * len(triples) : (copy + 1) * len(triples)]
        part[:] = triples
        for column in (0, 2):
            part[:, column] = part[:, column] * copies + rng.integers(0, copies, len(part))
    return copied


def _in_a_process(cut: Path, rounds: int, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--train", f"{cut}:{rounds}", "--output", str(arguments.output)]
    command += ["--threads", str(arguments.threads), "--kg", str(arguments.kg)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _train(what: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The first rounds of a run, without its last checkpoint."""
    cut, _, rounds = what.rpartition(":")
    before = peak_mb()
    buckets = Buckets.open(cut)
    folder = arguments.output / "run"
    shutil.rmtree(folder, ignore_errors=True)
    config = TransRConfig(epochs=1_000, checkpoint_s=1e9)
    probabilities = [0.5] * buckets.meta.n_relations
    if buckets.meta.n_parts == 1:
        probabilities = head_probabilities(buckets.of(0).astype(np.int64), n_relations=len(probabilities)).tolist()
    job = {"config": config.model_dump(), "seed": 0, "buckets": cut, "head_probabilities": probabilities}
    run = TransRRun(job, UnreportedSession(folder, 0, 1, local=False))
    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(int(rounds)):
        run.round()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    # an epoch that has ended is in the history, no longer in the totals
    triples = run.state.totals[2].item() or buckets.meta.triples[0]
    return {
        "parts": buckets.meta.n_parts,
        "in_memory": min(2, buckets.meta.n_parts) * buckets.meta.capacity,
        "linked": len(buckets.nodes),
        "all_triples": len(buckets.triples),
        "trained": triples,
        "seconds": seconds,
        "cpu": cpu,
        "triples_per_cpu_s": triples / cpu,
        "load": os.getloadavg()[0],
        "peak_mb": peak_mb() - before,
        "before_mb": before,
    }


def _section(everything: dict[str, list[dict[str, Any]]], arguments: argparse.Namespace) -> str:
    tables = []
    grown = [*everything.get("shares", []), *everything.get("buckets", [])]
    if grown:
        header = ["", *COLUMNS.values()]
        rows = [[row["name"], *(format(row[key], ",.0f") for key in COLUMNS)] for row in grown]
        tables.append(markdown_table(header, rows))
    settings = {
        "KG": f"`{Path(arguments.kg).name}`; 10 M nodes: {COPIES['10 M']} copies of each, {ROUNDS} buckets trained",
        "training": f"as shipped (dimensions 58, 64 negatives, batch 512), {arguments.threads} threads",
        "memory": "peak of the training process above what it held before (MB before: Python, torch, Ray)",
    }
    body = "\n\n".join(tables)
    return f"## TransR: growth and buckets\n\n{body}\n\n{conditions(packages=['torch', 'ray'], **settings)}\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("KOGNER_SHARED")
    parser.add_argument("--kg", default=shared and f"{shared}/data/kg/biokg", required=not shared)
    parser.add_argument("--only", choices=["", "shares", "buckets"], default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/transr-scale"))
    parser.add_argument("--train", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
