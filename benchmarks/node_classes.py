"""What does the Graph Transformer know of a node that its relations or its text alone do not say?

Two targets on one KG: a node's type, which mostly follows from the kinds of its relations, and, for Gene Ontology
processes, the branch of the ontology that they belong to. All processes have the same kinds of relations here and the
ontology's own edges are not in the graph, so the branch has to come from the genes that take part, or from the name.

    KOGNER_SHARED=... python benchmarks/node_classes.py
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from results import conditions, markdown_table, write_section

from kogner_ray.cluster import with_process_settings
from kogner_ray.kg.tables import KnowledgeGraph, read_kg
from kogner_ray.train.graph import GraphConfig
from kogner_ray.train.teacher import TeacherConfig, train_teacher
from kogner_ray.train.text import TextConfig
from kogner_ray.train.transr import TransRConfig

ROOT = "GO:0008150"
TARGETS = {
    "type": GraphConfig(epochs=2, batch_size=512, lr=1e-3, feature_dropout=0.0),
    "branch": GraphConfig(target="branch", epochs=30, batch_size=64, lr=1e-3, feature_dropout=0.0),
}

_NOTE = """\
`type` mostly follows from the kinds of a node's relations. `branch` is the part of the Gene Ontology that a process
belongs to: all processes have the same kinds of relations, and the ontology's own edges are not in the graph."""


def main() -> None:
    """Train for each target, write the table."""
    with_process_settings()
    arguments = _arguments()
    kg = with_branches(read_kg(arguments.kg), read_kg(arguments.ontology))
    kg.write(arguments.output / "kg")
    found = {name: {text: _train(name, arguments, text=text) for text in (True, False)} for name in TARGETS}
    section = _section(found, kg, arguments)
    print(section)
    write_section("node-classes", section)


def with_branches(kg: KnowledgeGraph, ontology: KnowledgeGraph) -> KnowledgeGraph:
    """`kg` with a column `branch`: the child of the root that a node descends from, where it is one and only one."""
    parents = defaultdict(set)
    edges = (ontology.edges[name].to_pylist() for name in ("head", "relation", "tail"))
    for head, relation, tail in zip(*edges, strict=True):
        if relation == "is_a":
            parents[head].add(tail)
    names = dict(zip(ontology.nodes["id"].to_pylist(), ontology.nodes["name"].to_pylist(), strict=True))
    branches = [_branches(curie, parents) for curie in kg.nodes["curie"].to_pylist()]
    column = [names[branch.pop()] if len(branch) == 1 else None for branch in branches]
    return replace(kg, nodes=kg.nodes.append_column("branch", pa.array(column, pa.string())))


def _branches(node: str, parents: Mapping[str, set[str]]) -> set[str]:
    reached, ahead = {node}, [node]
    while ahead:
        new = parents.get(ahead.pop(), set()) - reached
        reached |= new
        ahead += new
    return {one for one in reached if ROOT in parents.get(one, ())}


def _train(target: str, arguments: argparse.Namespace, *, text: bool) -> dict[str, Any]:
    report = train_teacher(
        TeacherConfig(
            kg=arguments.output / "kg",
            output=arguments.output,
            text=TextConfig(enabled=text, max_tokens=128),
            graph=TARGETS[target],
            transr=TransRConfig(enabled=False),
            seed=arguments.seed,
        )
    )
    return report.metrics["graph"]


def _section(
    found: Mapping[str, Mapping[bool, dict[str, Any]]], kg: KnowledgeGraph, arguments: argparse.Namespace
) -> str:
    rows = []
    for target, metrics in found.items():
        with_text, without = metrics[True], metrics[False]
        scores = {"Graph Transformer": with_text, "Graph Transformer without text": without, **with_text["baselines"]}
        for name, score in scores.items():
            rows.append([f"{target}: {name.replace('_', ' ')}", f"{score['accuracy']:.3f}", f"{score['macro_f1']:.3f}"])
    sizes = ", ".join(f"{t} {m[True]['classes']} classes, {m[True]['test_nodes']} nodes" for t, m in found.items())
    epochs = ", ".join(f"{name} {config.epochs}" for name, config in TARGETS.items())
    made = conditions(
        packages=["torch", "dgl"],
        KG=f"`{Path(arguments.kg).name}`, {kg.n_nodes:,} nodes, {kg.n_edges:,} edges",
        targets=sizes,
        epochs=epochs,
        seed=str(arguments.seed),
    )
    table = markdown_table(["held-out nodes", "accuracy", "macro-F1"], rows)
    return f"## Node classification\n\n{table}\n\n{_NOTE}\n\n{made}\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("KOGNER_SHARED")
    parser.add_argument("--kg", default=shared and f"{shared}/data/kg/hetionet", required=not shared)
    parser.add_argument("--ontology", default=shared and f"{shared}/data/kg/biokg", required=not shared)
    parser.add_argument("--output", type=Path, default=Path("runs/node-classes"), help="goes on where it stopped")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
