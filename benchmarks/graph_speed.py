"""Training speed of the Graph Transformer on a whole KG beside plain DGL: its own GATConv and HGTConv modules.

All sides classify the same nodes by type, in the same batches, from the same features, with as many layers, the same
width, heads, fanouts, optimiser (fused AdamW), dtype (float32), threads and malloc settings, without dropout; sampling,
gathering of features, forward, backward and step are all on the clock. Ours reads memory-mapped float16 features and
standardises them as it goes; the peers have them standardised, in float32, in memory. Sides take turns, some steps
each, for several rounds.

    KOGNER_SHARED=... python benchmarks/graph_speed.py --store FOLDER    # of encoded texts, if there is one
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from results import conditions, markdown_table, write_section
from torch import nn
from torch.nn import functional

from kogner_ray.cluster import with_process_settings
from kogner_ray.kg.backend import dgl
from kogner_ray.kg.matrices import StandardisedRows, open_matrix
from kogner_ray.kg.sampling import BlockSampler
from kogner_ray.kg.store import TypedGraph, typed_graph
from kogner_ray.kg.tables import KnowledgeGraph, read_kg
from kogner_ray.train.graph import GraphConfig, GraphTask
from kogner_ray.train.session import stream_seed
from kogner_ray.train.text import TextConfig, encode_entities

Steps = Callable[[torch.Tensor], None]
"""Trains on some nodes, batch after batch."""
LOSS = functional.cross_entropy
_WARM_UP = 3
_NOTE = """\
GATConv knows neither relations nor node types, and has no feed-forward network; HGTConv is the module of our layer's
kind. CPU seconds are those of the training process, all threads; a loader process has its own."""


class GAT(nn.Module):
    """DGL's GATConv, with residuals."""

    def __init__(self, config: GraphConfig, *, n_features: int, n_classes: int) -> None:
        """As many layers as fanouts."""
        super().__init__()
        widths = [n_features] + [config.hidden] * (config.layers - 1)
        shape = {"out_feats": config.hidden // config.heads, "num_heads": config.heads}
        self.layers = nn.ModuleList(
            dgl.nn.GATConv(width, **shape, residual=True, activation=functional.elu, allow_zero_in_degree=True)
            for width in widths
        )
        self.classify = nn.Linear(config.hidden, n_classes)

    def forward(self, blocks: list[dgl.DGLGraph], states: torch.Tensor) -> torch.Tensor:
        """Class scores of the targets."""
        for layer, block in zip(self.layers, blocks, strict=True):
            states = layer(block, states).flatten(1)
        scores: torch.Tensor = self.classify(states)
        return scores


class HGT(nn.Module):
    """DGL's HGTConv, after a projection to its width."""

    def __init__(self, config: GraphConfig, *, n_features: int, n_classes: int, n_types: int, n_relations: int) -> None:
        """As many layers as fanouts."""
        super().__init__()
        self.project = nn.Linear(n_features, config.hidden)
        self.layers = nn.ModuleList(
            dgl.nn.HGTConv(
                config.hidden,
                config.hidden // config.heads,
                config.heads,
                n_types,
                n_relations,
                dropout=config.dropout,
                use_norm=True,
            )
            for _ in range(config.layers)
        )
        self.classify = nn.Linear(config.hidden, n_classes)

    def forward(self, blocks: list[dgl.DGLGraph], states: torch.Tensor) -> torch.Tensor:
        """Class scores of the targets."""
        states = self.project(states)
        for layer, block in zip(self.layers, blocks, strict=True):
            states = layer(block, states, block.srcdata["type"], block.edata["relation"])
        scores: torch.Tensor = self.classify(states)
        return scores


def main() -> None:
    """Train all sides in turn, print and write the table."""
    with_process_settings()
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    kg, config = read_kg(arguments.kg), GraphConfig(batch_size=arguments.batch_size, dropout=0.0, feature_dropout=0.0)
    task, graph = GraphTask.of(kg, config, seed=arguments.seed), typed_graph(kg)
    labels, train = torch.from_numpy(task.labels.values), torch.from_numpy(task.split.train)
    with tempfile.TemporaryDirectory() as scratch:
        features = _features(kg, Path(scratch), arguments)
        sides = {"kogner_ray": _ours(task, config, graph, features, labels)}
        sides |= _peers(task, config, graph, features, labels, kg)
        steps = {name: arguments.slow_steps if "HGT" in name else arguments.steps for name in sides}
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        cpu_speeds: dict[str, list[float]] = {name: [] for name in sides}
        for side in sides.values():
            side(train[: _WARM_UP * config.batch_size])
        for number in range(arguments.rounds):
            nodes = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(number))]
            for name, side in sides.items():
                batch = nodes[: steps[name] * config.batch_size]
                started, cpu_started = time.perf_counter(), time.process_time()
                side(batch)
                speeds[name].append(len(batch) / (time.perf_counter() - started))
                cpu_speeds[name].append(len(batch) / (time.process_time() - cpu_started))
                print(f"round {number + 1}  {speeds[name][-1]:8,.0f} nodes/s  {name}", flush=True)
    section = _section(speeds, cpu_speeds, kg, config, arguments)
    print(section)
    write_section("graph-speed", section)


def _features(kg: KnowledgeGraph, scratch: Path, arguments: argparse.Namespace) -> StandardisedRows:
    path, store = scratch / "z.npy", arguments.store or scratch / "texts"
    encode_entities(kg.nodes, TextConfig(max_tokens=arguments.max_tokens), path, store=store, local=False)
    return StandardisedRows.of(open_matrix(path))


def _ours(
    task: GraphTask, config: GraphConfig, graph: TypedGraph, features: StandardisedRows, labels: torch.Tensor
) -> Steps:
    """The steps of `kogner_ray.train.graph.graph_loop`."""
    model = task.model(config, n_features=features.width, seed=0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    sampler = BlockSampler(graph.graph, config.fanouts)

    def steps(nodes: torch.Tensor) -> None:
        for step, batch in enumerate(nodes.split(config.batch_size)):
            optimiser.zero_grad()
            blocks = sampler.sample(batch, seed=stream_seed(0, step))
            LOSS(model(features.rows(blocks[0].nodes), blocks), labels[batch]).backward()
            optimiser.step()

    return steps


def _peers(
    task: GraphTask,
    config: GraphConfig,
    graph: TypedGraph,
    features: StandardisedRows,
    labels: torch.Tensor,
    kg: KnowledgeGraph,
) -> dict[str, Steps]:
    in_memory_NF = features.rows(torch.arange(kg.n_nodes))
    sizes = {"n_features": features.width, "n_classes": len(task.labels.classes)}
    models = {
        "DGL GATConv": GAT(config, **sizes),
        "DGL HGTConv": HGT(config, **sizes, n_types=len(kg.types), n_relations=graph.n_relations),
    }
    sampler = dgl.dataloading.NeighborSampler(list(config.fanouts))

    def steps_of(model: nn.Module, *, workers: int) -> Steps:
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)

        def steps(nodes: torch.Tensor) -> None:
            for inputs, outputs, blocks in _batches(graph.graph, nodes, sampler, config.batch_size, workers):
                optimiser.zero_grad()
                LOSS(model(blocks, in_memory_NF[inputs]), labels[outputs]).backward()
                optimiser.step()

        return steps

    named = {name: steps_of(model, workers=0) for name, model in models.items()}
    return named | {"DGL GATConv, 1 loader process": steps_of(models["DGL GATConv"], workers=1)}


def _batches(
    graph: dgl.DGLGraph, nodes: torch.Tensor, sampler: dgl.dataloading.NeighborSampler, size: int, workers: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[dgl.DGLGraph]]]:
    loader = dgl.dataloading.DataLoader(graph, nodes, sampler, batch_size=size, shuffle=False, num_workers=workers)
    if not workers:
        yield from loader
        return
    with loader.enable_cpu_affinity(verbose=False):
        yield from loader


def _section(
    speeds: dict[str, list[float]],
    cpu_speeds: dict[str, list[float]],
    kg: KnowledgeGraph,
    config: GraphConfig,
    arguments: argparse.Namespace,
) -> str:
    best = max((name for name in speeds if "DGL" in name), key=lambda name: statistics.median(speeds[name]))
    rows = []
    for name in speeds:
        row = [name]
        for side in (speeds, cpu_speeds):
            ratios = [one / peer for one, peer in zip(side[name], side[best], strict=True)]
            row += [_spread(side[name], 0), _spread(ratios, 2)]
        rows.append(row)
    made = conditions(
        packages=["torch", "dgl"],
        KG=f"`{Path(arguments.kg).name}`, {kg.n_nodes:,} nodes, {kg.n_edges:,} edges, each also reversed",
        model=f"{config.layers} layers of width {config.hidden}, {config.heads} heads; fanouts {config.fanouts}",
        batch=f"{config.batch_size} nodes, {arguments.steps} steps a round ({arguments.slow_steps} of HGTConv)",
        threads=str(arguments.threads),
        dtype="float32",
        seed=str(arguments.seed),
        rounds=f"{arguments.rounds}; median (min-max); ratios within a round",
        load_after=f"{os.getloadavg()[0]:.1f}",
    )
    table = markdown_table(["", "target nodes/s", f"× {best}", "per CPU s", f"× {best}"], rows)
    return f"## The Graph Transformer's training speed beside plain DGL\n\n{table}\n\n{_NOTE}\n\n{made}\n"


def _spread(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("KOGNER_SHARED")
    parser.add_argument("--kg", default=shared and f"{shared}/data/kg/biokg", required=not shared)
    parser.add_argument("--store", type=Path, help="of encoded texts")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--slow-steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
