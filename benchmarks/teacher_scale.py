"""What does a teacher cost over the whole of a real KG, and how do time and memory of Z' grow with the KG?

Each stage (Z, Z', Z'' and the entity table) is a process of its own, in the order in which `train_teacher` makes them
in one folder, so that a stage finds what the ones before it left; memory is that of the process and of all below it
(Ray's, where there is a pool), shared pages counted once, looked at once a second. Of the whole, Z encodes what its
store lacks. Then, on shares of the KG (that share of the edges with the nodes that they join, and that share of the
nodes without edges), Z' again, and Z from nothing.

    KOGNER_SHARED=... python benchmarks/teacher_scale.py
    KOGNER_SHARED=... python benchmarks/teacher_scale.py --only text    # a stage alone; the table has what is measured
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from measure import tree_mb
from results import conditions, markdown_table, write_section

from kogner_ray.cluster import with_process_settings
from kogner_ray.kg.tables import KnowledgeGraph, read_kg
from kogner_ray.train.graph import GraphConfig
from kogner_ray.train.teacher import TeacherConfig, train_teacher
from kogner_ray.train.text import TextConfig
from kogner_ray.train.transr import TransRConfig

STAGES = ("text", "graph", "logic")
NAMES = {"text": "Z (text)", "graph": "Z' (Graph Transformer)", "logic": "Z'' (TransR)"}
SHARES = (0.1, 0.3)


def main() -> None:
    """Run what is asked for, then write the table of all that was measured in this folder."""
    with_process_settings()
    arguments = _arguments()
    if arguments.child:
        _child(arguments)
        return
    for stage in STAGES:
        if arguments.only in (None, stage):
            _measured(stage, arguments, kg=Path(arguments.kg), output=arguments.output, stage=stage)
    for share in SHARES if arguments.only in (None, "shares", "text-shares") else ():
        folder = arguments.output / f"share-{share:g}"
        if not (folder / "kg" / "edges.parquet").is_file():
            share_of(read_kg(arguments.kg), share, seed=arguments.seed).write(folder / "kg")
        if arguments.only != "text-shares":
            _measured(f"share-{share:g}", arguments, kg=folder / "kg", output=folder, stage="graph")
        if arguments.only != "shares":
            output = folder / "text"
            _measured(f"text-{share:g}", arguments, kg=folder / "kg", output=output, stage="text", store=output)
    section = _section(arguments)
    print(section)
    write_section("teacher-scale", section)


def share_of(kg: KnowledgeGraph, share: float, *, seed: int) -> KnowledgeGraph:
    """That share of the edges with the nodes that they join, and that share of the nodes without edges."""
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.permutation(kg.n_edges)[: round(share * kg.n_edges)])
    linked, joined = np.zeros((2, kg.n_nodes), dtype=bool)
    linked[kg.triples[:, [0, 2]].ravel()] = True
    joined[kg.triples[edges][:, [0, 2]].ravel()] = True
    kept = joined | (~linked & (rng.random(kg.n_nodes) < share))
    return KnowledgeGraph(kg.nodes.take(pa.array(np.flatnonzero(kept))), kg.edges.take(pa.array(edges)))


def _measured(
    name: str, arguments: argparse.Namespace, *, kg: Path, output: Path, stage: str, store: Path | None = None
) -> None:
    """Run one stage in a process of its own; what it cost is `output/NAME.json`."""
    command = [sys.executable, __file__, "--child", stage, "--kg", str(kg), "--output", str(output)]
    command += ["--store", str(store or arguments.output / "texts"), "--max-tokens", str(arguments.max_tokens)]
    command += ["--transr-epochs", str(arguments.transr_epochs), "--seed", str(arguments.seed)]
    started, peak, loads = time.perf_counter(), 0.0, [os.getloadavg()[0]]
    process = subprocess.Popen(command)
    for _ in _seconds(process):
        peak = max(peak, tree_mb(process.pid))
        loads.append(os.getloadavg()[0])
    if process.returncode:
        raise SystemExit(f"{name}: exit code {process.returncode}")
    found: dict[str, Any] = json.loads((output / "child.json").read_text(encoding="utf-8"))
    found |= {"wall_s": time.perf_counter() - started, "peak_mb": peak, "load": sum(loads) / len(loads)}
    (arguments.output / f"{name}.json").write_text(json.dumps(found, indent=2), encoding="utf-8")


def _seconds(process: subprocess.Popen[bytes]) -> Iterator[None]:
    while process.poll() is None:
        yield
        time.sleep(1)


def _child(arguments: argparse.Namespace) -> None:
    wanted = STAGES[: STAGES.index(arguments.child) + 1]
    config = TeacherConfig(
        kg=Path(arguments.kg),
        output=arguments.output,
        text=TextConfig(max_tokens=arguments.max_tokens, store=arguments.store),
        graph=GraphConfig(enabled="graph" in wanted, epochs=1, batch_size=512, feature_dropout=0.0, baselines=False),
        transr=TransRConfig(enabled="logic" in wanted, epochs=arguments.transr_epochs, batch_size=4096),
        seed=arguments.seed,
    )
    report = train_teacher(config)
    kg = read_kg(config.kg)
    found = {
        "seconds": report.seconds[arguments.child],
        "metrics": report.metrics[arguments.child],
        "n_nodes": kg.n_nodes,
        "n_edges": kg.n_edges,
    }
    (arguments.output / "child.json").write_text(json.dumps(found), encoding="utf-8")


def _section(arguments: argparse.Namespace) -> str:
    rows = []
    names = {stage: f"{NAMES[stage]}, whole" for stage in STAGES}
    for share in SHARES:
        names |= {f"share-{share:g}": f"Z' of {share:.0%} of it", f"text-{share:g}": f"Z of {share:.0%} of it"}
    for name, title in names.items():
        path = arguments.output / f"{name}.json"
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            sizes = [f"{found['n_nodes']:,}", f"{found['n_edges']:,}"]
            costs = [f"{found['seconds']:,.0f}", f"{found['wall_s']:,.0f}", f"{found['peak_mb']:,.0f}"]
            rows.append([title, *sizes, *costs, f"{found['load']:.1f}", _quality(found["metrics"])])
    header = ["stage", "nodes", "edges", "seconds of it", "of its process", "peak MB", "load", "what it gave"]
    made = conditions(
        packages=["torch", "dgl", "ray", "transformers"],
        KG=f"`{Path(arguments.kg).name}`",
        Z=f"embedded encoder, window {arguments.max_tokens}, bf16 where there is hardware, two actors of one thread",
        **{"Z'": "1 epoch, batch 512, fanouts 10 and 10, two threads"},
        **{"Z''": f"{arguments.transr_epochs} epoch(s), batch 4096"},
        seed=str(arguments.seed),
    )
    note = "Load is the mean one-minute load of the machine during the stage (its own two threads included)."
    return f"## The teacher over a whole KG\n\n{markdown_table(header, rows)}\n\n{note}\n\n{made}\n"


def _quality(metrics: dict[str, Any]) -> str:
    kept = {key: metrics[key] for key in ("encoded", "tokens", "accuracy", "macro_f1", "mrr") if key in metrics}
    said = {key: f"{value:,}" if isinstance(value, int) else f"{value:.3f}" for key, value in kept.items()}
    return ", ".join(f"{key} {value}" for key, value in said.items())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("KOGNER_SHARED")
    parser.add_argument("--kg", default=shared and f"{shared}/data/kg/biokg", required=not shared)
    parser.add_argument("--output", type=Path, default=Path("runs/teacher-scale"), help="goes on where it stopped")
    parser.add_argument(
        "--only", choices=[*STAGES, "shares", "text-shares", "report"], help="report: only write the table"
    )
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--transr-epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
