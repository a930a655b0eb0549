"""How much better than random are METIS parts of a real KG: edges cut, halo and balance?

Each edge is also stored reversed, as the Graph Transformer has it.

KOGNER_SHARED=... python benchmarks/partitions.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Literal

from results import conditions, markdown_table, write_section

from kogner_ray.cluster import with_process_settings
from kogner_ray.kg.partition import PartitionConfig, write_partitions
from kogner_ray.kg.tables import KnowledgeGraph, read_kg

PARTS = (2, 4, 8)
METHODS: tuple[Literal["metis", "random"], ...] = ("metis", "random")


def main() -> None:
    """Cut, print and write the table."""
    with_process_settings()
    arguments = _arguments()
    kg = read_kg(arguments.kg)
    rows = [_row(kg, n_parts, method, arguments.seed) for n_parts in PARTS for method in METHODS]
    header = ["parts", "edges cut", "halo nodes, of all nodes", "largest part, nodes", "largest part, edges", "seconds"]
    made = conditions(
        packages=["dgl"],
        KG=f"`{Path(arguments.kg).name}`, {kg.n_nodes:,} nodes, {kg.n_edges:,} edges, each also reversed",
        parts="METIS balances nodes and in-edges; random parts have equal nodes; largest parts are over the mean",
        seed=str(arguments.seed),
    )
    section = f"## METIS parts beside random ones\n\n{markdown_table(header, rows)}\n\n{made}\n"
    print(section)
    write_section("partitions", section)


def _row(kg: KnowledgeGraph, n_parts: int, method: Literal["metis", "random"], seed: int) -> list[str]:
    started = time.perf_counter()
    config = PartitionConfig(n_parts=n_parts, method=method, add_reverse=True, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        meta = write_partitions(kg, Path(folder) / "parts", config)
    balance = [f"{meta.node_balance:.3f}", f"{meta.edge_balance:.3f}"]
    halo = f"{sum(meta.halo) / meta.n_nodes:.1%}"
    return [f"{n_parts}, {method}", f"{meta.edge_cut:.1%}", halo, *balance, f"{time.perf_counter() - started:.1f}"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("KOGNER_SHARED")
    parser.add_argument("--kg", default=shared and f"{shared}/data/kg/biokg", required=not shared)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
