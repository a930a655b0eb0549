"""Our TransR beside TorchKGE's own, trained on the same triples for the same wall time.

Both get the same dimensions, margin, batch size, threads and seed, and the same held-out triples are ranked by the same
code (equal weights give equal scores in both: tests/teacher/test_transr.py). TorchKGE runs its own model, MarginLoss,
BernoulliNegativeSampler and DataLoader; it gets the triples shuffled, because its loader never shuffles, and two
optimisers: the one of its documentation (Adam, 4e-4) and ours (Adagrad, 0.1).

    KOGNER_SHARED=... python benchmarks/transr.py --seconds 120
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchkge
from results import conditions, markdown_table, write_section
from rich.progress import track
from torchkge.data_structures import KnowledgeGraph as TorchKGEGraph
from torchkge.sampling import BernoulliNegativeSampler
from torchkge.utils import DataLoader, MarginLoss

from kogner_ray.cluster import with_process_settings
from kogner_ray.kg.tables import read_kg
from kogner_ray.teacher.transr import TransR
from kogner_ray.train.transr import TransRConfig, TransRTask, epoch_batches, make_adagrad


@dataclass(frozen=True)
class Trained:
    """A model after its time is up."""

    name: str
    model: TransR
    triples: int
    seconds: float
    cpu_seconds: float


def main() -> None:
    """Train each, rank, print and write the table."""
    with_process_settings()
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    kg = read_kg(arguments.kg)
    config = TransRConfig(margin=arguments.margin, batch_size=arguments.batch_size, negatives=1)
    task = TransRTask.of(kg, config, seed=arguments.seed)
    limit = {"seconds": arguments.seconds, "seed": arguments.seed}
    runs: list[Callable[[], Trained]] = [
        lambda: train_ours(task, config, "ours, 1 negative", **limit),
        lambda: train_ours(
            task, config.model_copy(update={"typed_negatives": False}), "ours, 1 untyped negative", **limit
        ),
        lambda: train_ours(task, config.model_copy(update={"negatives": 8}), "ours, 8 negatives (default)", **limit),
        lambda: train_torchkge(task, config, "TorchKGE, Adam 4e-4", **limit),
        lambda: train_torchkge(task, config, "TorchKGE, Adagrad 0.1", **limit),
    ]
    rows = [_row(run(), task) for run in track(runs, "TransR")]
    section = _section(rows, task, arguments)
    print(section)
    write_section("transr", section)


def train_ours(task: TransRTask, config: TransRConfig, name: str, *, seconds: float, seed: int) -> Trained:
    """Our model, batches, negatives and optimiser."""
    model, negatives = task.model(config, seed=seed), task.negatives(config)
    optimiser, generator = make_adagrad(model, config), torch.Generator().manual_seed(seed)
    triples = torch.from_numpy(task.train)
    n_steps = -(-len(triples) // config.batch_size)
    started, cpu, seen = time.perf_counter(), time.process_time(), 0
    while True:
        for batch in epoch_batches(triples, share=config.batch_size, n_steps=n_steps, generator=generator):
            optimiser.zero_grad()
            corruption = negatives.corrupt(batch, n_negatives=config.negatives, generator=generator)
            loss = model.score_pairs(batch, corruption).margin_loss(config.margin)
            (loss / corruption.entities.numel()).backward()
            with torch.sparse.check_sparse_tensor_invariants(enable=False):
                optimiser.step()
            model.renormalise(model.entities.weight.grad.coalesce().indices()[0])
            seen += len(batch)
            if time.perf_counter() - started > seconds:
                return Trained(name, model, seen, time.perf_counter() - started, time.process_time() - cpu)


def train_torchkge(task: TransRTask, config: TransRConfig, name: str, *, seconds: float, seed: int) -> Trained:
    """TorchKGE's model, loss, sampler and loader, in the loop of its documentation."""
    torch.manual_seed(seed)
    graph = _torchkge_graph(task, seed=seed)
    model = torchkge.models.TransRModel(config.entity_dim, config.relation_dim, task.n_entities, task.n_relations)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=4e-4) if "Adam 4e-4" in name else torch.optim.Adagrad(weights, lr=0.1)
    criterion, sampler = MarginLoss(config.margin), BernoulliNegativeSampler(graph)
    batches = _repeated(DataLoader(graph, batch_size=config.batch_size), model.normalize_parameters)
    started, cpu, seen = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - started < seconds:
        heads, tails, relations = next(batches)
        negative_heads, negative_tails = sampler.corrupt_batch(heads, tails, relations)
        optimiser.zero_grad()
        positive, negative = model(heads, tails, relations, negative_heads, negative_tails)
        criterion(positive, negative).backward()
        optimiser.step()
        seen += len(heads)
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    model.normalize_parameters()
    return Trained(name, _as_ours(model, task, config), seen, elapsed, cpu)


def _repeated(loader: DataLoader, after_epoch: Callable[[], None]) -> Iterator[tuple[torch.Tensor, ...]]:
    while True:
        yield from loader
        after_epoch()


def _torchkge_graph(task: TransRTask, *, seed: int) -> TorchKGEGraph:
    heads, relations, tails = torch.from_numpy(np.random.default_rng(seed).permutation(task.train)).unbind(1)
    names = {"ent2ix": {i: i for i in range(task.n_entities)}, "rel2ix": {i: i for i in range(task.n_relations)}}
    # only its evaluation reads these dictionaries, and filling them takes a minute
    unused = {f"dict_of_{name}": defaultdict(set) for name in ("heads", "tails", "rels")}
    return TorchKGEGraph(kg={"heads": heads, "tails": tails, "relations": relations}, **names, **unused)


def _as_ours(peer: torchkge.models.TransRModel, task: TransRTask, config: TransRConfig) -> TransR:
    model = task.model(config, seed=0)
    model.entities.weight.data = peer.ent_emb.weight.data
    model.relations.data = peer.rel_emb.weight.data
    model.projections.data = peer.proj_mat.weight.data.view(task.n_relations, config.relation_dim, config.entity_dim)
    return model


def _row(trained: Trained, task: TransRTask) -> list[str]:
    metrics = task.evaluate(trained.model).metrics()
    scores = [f"{metrics[name]:.3f}" for name in ("mrr", "hits_at_1", "hits_at_3", "hits_at_10")]
    speed, epochs = trained.triples / trained.seconds, trained.triples / len(task.train)
    return [trained.name, f"{speed:,.0f}", f"{trained.cpu_seconds:.0f}", f"{epochs:.2f}", *scores]


def _section(rows: list[list[str]], task: TransRTask, arguments: argparse.Namespace) -> str:
    header = ["", "triples/s", "CPU s", "epochs", "MRR", "Hits@1", "Hits@3", "Hits@10"]
    settings = {
        "KG": f"`{Path(arguments.kg).name}`, {task.n_entities:,} nodes, {task.n_relations} relations, "
        f"{len(task.train):,} training and {len(task.test):,} held-out triples",
        "training": f"{arguments.seconds:g} s of wall time each, entity and relation dimension 58, margin "
        f"{arguments.margin:g}, batch {arguments.batch_size}, float32, {arguments.threads} thread(s), "
        f"seed {arguments.seed}",
        "ranking": "both ends, filtered, among nodes of the types seen at that side of that relation",
    }
    made = conditions(packages=["torch", "torchkge"], **settings)
    return f"## TransR beside TorchKGE's, equal wall time\n\n{markdown_table(header, rows)}\n\n{made}\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("KOGNER_SHARED")
    parser.add_argument("--kg", default=shared and f"{shared}/data/kg/hetionet", required=not shared)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--margin", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
