"""Does a second worker pay for TransR, and does it learn as well?

A share of a KG is trained by one process and by two of one thread each that speak gloo, as Ray Train's workers do, and
ranked. On a machine that does other things as well, CPU time of the busiest worker says more than wall time.

    KOGNER_SHARED=... python benchmarks/transr_workers.py
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from results import conditions, markdown_table, write_section

from kogner_ray.cluster import with_process_settings
from kogner_ray.kg.buckets import Buckets
from kogner_ray.kg.tables import KnowledgeGraph, read_kg
from kogner_ray.teacher.negatives import head_probabilities
from kogner_ray.train.session import Session
from kogner_ray.train.snapshot import read_snapshot
from kogner_ray.train.transr import TransRConfig, TransRTask
from kogner_ray.train.transr_loop import TransRRun, trained_model


def main() -> None:
    """Train with one and with two, rank, print and write the table."""
    with_process_settings()
    arguments = _arguments()
    torch.set_num_threads(1)
    if arguments.work:
        print(json.dumps(work(arguments.work)))
        return
    section = _section(measured(arguments), arguments)
    print(section)
    write_section("transr-workers", section)


class UnreportedSession(Session):
    """A session outside Ray: nothing to go on from, and its checkpoint stays in the folder."""

    def report(self, history: Any, *, number: int, write: Callable[[Path], None]) -> None:
        """Rank 0 writes; nobody is told."""
        if self.rank == 0:
            write(self.folder / "snapshot")

    def newest(self) -> Any:
        """Nothing."""
        return nullcontext(None)


def measured(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One process and two of one thread each that speak gloo, as Ray Train's workers do."""
    kg = read_kg(arguments.kg)
    chosen = np.random.default_rng(0).choice(kg.n_edges, int(arguments.share * kg.n_edges), replace=False)
    kg = KnowledgeGraph(kg.nodes, kg.edges.take(np.sort(chosen)))
    config = TransRConfig(epochs=arguments.epochs, checkpoint_s=1e9)
    task = TransRTask.of(kg, config, seed=0)
    rows = []
    for workers in (1, 2):
        cut, run = (arguments.output / f"{what}-{workers}" for what in ("cut", "run"))
        shutil.rmtree(run, ignore_errors=True)
        buckets = task.cut(cut, config, workers=workers, seed=0)
        what = f"{cut}:{run}:{arguments.epochs}:{workers}"
        command = [sys.executable, __file__, "--kg", str(arguments.kg), "--work"]
        ranks = [subprocess.Popen([*command, f"{what}:{r}"], stdout=subprocess.PIPE, text=True) for r in range(workers)]
        found = [json.loads(rank.communicate()[0].splitlines()[-1]) for rank in ranks]
        triples = len(task.train) * arguments.epochs
        model = trained_model(buckets, read_snapshot(run / "snapshot"), config, folder=run, seed=0)
        scores = task.evaluate(model).metrics()
        rows.append(
            {
                "name": f"{workers} worker{'s' * (workers > 1)}",
                "parts": buckets.meta.n_parts,
                "triples_per_s": triples / max(rank["seconds"] for rank in found),
                "triples_per_cpu_s": triples / max(rank["cpu"] for rank in found),
                "load": os.getloadavg()[0],
                "mrr": scores["mrr"],
                "mrr_se": scores["mrr_se"],
            }
        )
        print(rows[-1], flush=True)
    return rows


def work(what: str) -> dict[str, float]:
    """All rounds of one rank."""
    cut, run, epochs, workers, rank = what.split(":")
    place = {"rank": int(rank), "world_size": int(workers)}
    Path(run).mkdir(parents=True, exist_ok=True)
    dist.init_process_group("gloo", init_method=f"file://{Path(run).absolute()}/gloo", **place)
    buckets = Buckets.open(cut)
    triples = np.load(Path(cut, "triples.npy"), mmap_mode="r")
    n_relations = buckets.meta.n_relations
    probabilities = head_probabilities(np.asarray(triples, dtype=np.int64), n_relations=n_relations).tolist()
    config = TransRConfig(epochs=int(epochs), checkpoint_s=1e9)
    job = {"config": config.model_dump(), "seed": 0, "buckets": cut, "head_probabilities": probabilities}
    training = TransRRun(job, UnreportedSession(Path(run), local=False, **place))
    dist.barrier()
    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(training.n_rounds):
        training.round()
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


def _section(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    keys = ("triples_per_s", "triples_per_cpu_s")
    lines = [
        [row["name"], f"{row['parts']}", *(f"{row[key]:,.0f} ({row[key] / rows[0][key]:.2f})" for key in keys)]
        + [f"{row['mrr']:.3f} ± {row['mrr_se']:.3f}", f"{row['load']:.0f}"]
        for row in rows
    ]
    header = ["", "parts", "triples/s", "triples/CPU s of the busiest", "MRR ± 1 se", "load of the machine"]
    settings = {
        "KG": f"{arguments.share:.0%} of the triples of `{Path(arguments.kg).name}`",
        "training": f"as shipped (dimensions 58, 64 negatives, batch 512), {arguments.epochs} epochs, one thread each",
    }
    made = conditions(packages=["torch"], **settings)
    return f"## TransR: one worker and two\n\n{markdown_table(header, lines)}\n\n{made}\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("KOGNER_SHARED")
    parser.add_argument("--kg", default=shared and f"{shared}/data/kg/biokg", required=not shared)
    parser.add_argument("--share", type=float, default=1.0, help="of the triples")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--output", type=Path, default=Path("runs/transr-workers"))
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
