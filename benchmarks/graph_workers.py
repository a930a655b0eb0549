"""How much faster is an epoch of the Graph Transformer with two Ray Train workers than with one?

Each worker has one CPU and one thread; both runs have the same batches over all workers, the same features and seed.
The clock is the training loop's own: the epoch, with sampling, gathering, the all-reduce of gradients and the steps.

    KOGNER_SHARED=... python benchmarks/graph_workers.py --store FOLDER    # of encoded texts, if there is one
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from results import conditions, markdown_table, write_section
from teacher_scale import share_of

from kogner_ray.cluster import with_process_settings
from kogner_ray.kg.matrices import Moments, open_matrix
from kogner_ray.kg.tables import read_kg
from kogner_ray.train.graph import GraphConfig, graph_loop
from kogner_ray.train.modalities import RunPlace
from kogner_ray.train.session import run_training
from kogner_ray.train.text import TextConfig, encode_entities

WORKERS = (1, 2)


def main() -> None:
    """Train with each number of workers, in turn; print and write the table."""
    with_process_settings()
    arguments = _arguments()
    kg = share_of(read_kg(arguments.kg), arguments.share, seed=arguments.seed)
    config = GraphConfig(epochs=1, batch_size=arguments.batch_size, feature_dropout=0.0)
    speeds: dict[int, list[float]] = {count: [] for count in WORKERS}
    with tempfile.TemporaryDirectory() as folder:
        kg.write(Path(folder) / "kg")
        path, store = Path(folder) / "z.npy", arguments.store or Path(folder) / "texts"
        encode_entities(kg.nodes, TextConfig(max_tokens=arguments.max_tokens), path, store=store, local=False)
        features = {"features": str(path), "moments": Moments.of(open_matrix(path))}
        for number in range(arguments.rounds):
            for count in WORKERS:
                place = RunPlace(Path(folder) / "kg", {}, Path(folder), 0, count, arguments.seed)
                run = Path(folder) / f"run-{number}-{count}"
                done = run_training(graph_loop, place.job(kg, config) | features, folder=run, workers=count)
                speeds[count].append(done.history[-1]["nodes_per_s"])
                print(f"round {number + 1}  {count} workers  {speeds[count][-1]:8,.0f} nodes/s", flush=True)
    ratios = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
    rows = [[str(count), f"{statistics.median(found):,.0f}"] for count, found in speeds.items()]
    rows[0].append("1.00")
    rows[1].append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
    made = conditions(
        packages=["torch", "dgl", "ray"],
        KG=f"{arguments.share:.0%} of `{Path(arguments.kg).name}`, {kg.n_nodes:,} nodes, {kg.n_edges:,} edges",
        batch=f"{config.batch_size} nodes over all workers; an epoch each",
        seed=str(arguments.seed),
        rounds=f"{arguments.rounds}; median (min-max)",
        load_after=f"{os.getloadavg()[0]:.1f}",
    )
    table = markdown_table(["workers", "target nodes/s", "× one"], rows)
    section = f"## The Graph Transformer on one and two workers\n\n{table}\n\n{made}\n"
    print(section)
    write_section("graph-workers", section)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("KOGNER_SHARED")
    parser.add_argument("--kg", default=shared and f"{shared}/data/kg/biokg", required=not shared)
    parser.add_argument("--share", type=float, default=1.0, help="of the KG's edges, and of its nodes without edges")
    parser.add_argument("--store", type=Path, help="of encoded texts")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
