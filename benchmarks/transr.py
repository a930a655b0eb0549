"""Our TransR beside TorchKGE's and PyKEEN's: triples a second on a whole KG, and how each ranks after equal epochs.

All get the same triples (nodes with edges alone), dimensions, margin, threads and seed; the same held-out triples are
ranked by the same code. Peers run their own models, losses, Bernoulli samplers and loaders, with the optimisers and
batch sizes that a row names; TorchKGE's triples come shuffled, because its loader never shuffles. They draw their
negatives for each triple, from all entities; ours are shared by a block of triples and of the right type, except in
the row that says otherwise. PyKEEN's speed is that of passes over a part of the triples, all entities in its model.

    KOGNER_SHARED=... python benchmarks/transr.py --measure speed       # timed: nothing else should run
    KOGNER_SHARED=... python benchmarks/transr.py --measure accuracy    # on its busiest nodes
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchkge
from pykeen.losses import MarginRankingLoss
from pykeen.models import TransR as PyKEENTransR
from pykeen.training import SLCWATrainingLoop
from pykeen.triples import CoreTriplesFactory
from pykeen.utils import clamp_norm
from results import conditions, markdown_table, write_section
from torchkge.data_structures import KnowledgeGraph as TorchKGEGraph
from torchkge.sampling import BernoulliNegativeSampler
from torchkge.utils import DataLoader, MarginLoss

from kogner_ray.cluster import with_process_settings
from kogner_ray.kg.tables import read_kg
from kogner_ray.teacher.blocks import BlockSampler, RowPools
from kogner_ray.teacher.negatives import HEAD, SidePools, head_probabilities
from kogner_ray.teacher.ranking import CandidateScorer, hold_out, rank_triples
from kogner_ray.teacher.rows import AdagradRows
from kogner_ray.teacher.transr_step import Rates, Relations, train_step
from kogner_ray.train.transr import TransRConfig, untrained_model

PEER_NEGATIVES = 8
Run = Callable[["Graph", "Limit"], "Trained"]
PYKEEN_TIMED = 40_960


@dataclass(frozen=True)
class Graph:
    """Triples over nodes 0 to n - 1, all of them with edges, in the order of their types."""

    train: np.ndarray
    test: np.ndarray
    types: np.ndarray
    n_relations: int

    @classmethod
    def of(cls, folder: str, *, n_triples: int | None, seed: int) -> Graph:
        """A KG's triples: all, or `n_triples` at most, those among its busiest nodes."""
        kg = read_kg(folder)
        triples = np.unique(kg.triples, axis=0)
        if n_triples is not None:
            degrees = np.bincount(triples[:, [0, 2]].ravel(), minlength=kg.n_nodes)
            rank = np.argsort(np.argsort(-degrees, kind="stable"))
            # a triple is there as soon as the less busy of its ends is
            last = rank[triples[:, [0, 2]]].max(axis=1)
            triples = triples[last < np.sort(last)[n_triples]]
        nodes = np.unique(triples[:, [0, 2]])
        nodes = nodes[np.argsort(kg.node_types[nodes], kind="stable")]
        place = np.full(kg.n_nodes, -1)
        place[nodes] = np.arange(len(nodes))
        triples[:, [0, 2]] = place[triples[:, [0, 2]]]
        train, test = hold_out(triples, n=min(2000, len(triples) // 20), seed=seed)
        return cls(train, test, kg.node_types[nodes], len(kg.relations))

    def rank(self, model: CandidateScorer) -> dict[str, float]:
        """Scores of a trained model."""
        known = np.concatenate([self.train, self.test])
        pools = SidePools(known, n_relations=self.n_relations, node_types=self.types)
        return rank_triples(model, self.test, known=known, pools=pools).metrics()


@dataclass(frozen=True)
class Limit:
    """When a run ends: after so many seconds, or so many epochs."""

    seconds: float | None
    epochs: int | None
    seed: int

    def reached(self, *, seconds: float, epochs: float) -> bool:
        """Whether it is time."""
        return epochs >= self.epochs if self.seconds is None else seconds >= self.seconds


@dataclass(frozen=True)
class Trained:
    """A model after its time is up."""

    model: CandidateScorer
    triples: int
    clock: Clock


@dataclass(frozen=True)
class Clock:
    """Wall and CPU time of a run."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Clock:
        """Both clocks."""
        return cls(time.perf_counter(), time.process_time())

    def passed(self) -> Clock:
        """What has passed since."""
        now = Clock.now()
        return Clock(now.wall - self.wall, now.cpu - self.cpu)


def ours(graph: Graph, limit: Limit, *, config: TransRConfig) -> Trained:
    """Our blocks and steps."""
    model = untrained_model(config, n_entities=len(graph.types), n_relations=graph.n_relations, seed=limit.seed)
    entities, relations = AdagradRows.of(model.entities.weight.detach()), Relations.of(model)
    pools = RowPools(*_stretches(graph, config))
    triples = graph.train[np.argsort(graph.train[:, 1], kind="stable")]
    probabilities = head_probabilities(graph.train, n_relations=graph.n_relations)
    sampler = BlockSampler(triples, pools, probabilities, block=config.block, negatives=config.negatives)
    rates = Rates(vectors=config.lr, projections=config.projection_lr)
    generator = torch.Generator().manual_seed(limit.seed)
    started, seen = Clock.now(), 0
    while True:
        for blocks in sampler.batches(batch_size=config.batch_size, generator=generator):
            train_step(entities, relations, blocks, margin=config.margin, rates=rates)
            seen += blocks.n_triples
            elapsed = started.passed()
            if limit.reached(seconds=elapsed.wall, epochs=seen / len(triples)):
                model.entities.weight.data = entities.weights.contiguous()
                model.relations.data = relations.vectors.weights
                model.projections.data = relations.projections.weights.reshape(model.projections.shape)
                return Trained(model, seen, elapsed)


def _stretches(graph: Graph, config: TransRConfig) -> tuple[np.ndarray, np.ndarray]:
    bounds = np.searchsorted(graph.types, np.arange(int(graph.types.max()) + 2))
    seen = np.zeros((graph.n_relations, 2, len(bounds) - 1), dtype=bool)
    for side, column in enumerate((0, 2)):
        seen[graph.train[:, 1], side, graph.types[graph.train[:, column]]] = True
    allowed = seen | ~seen.any(-1, keepdims=True) | (not config.typed_negatives)
    return np.stack([bounds[:-1], bounds[1:]], axis=1), allowed


def with_torchkge(graph: Graph, limit: Limit, *, config: TransRConfig, optimiser: str) -> Trained:
    """TorchKGE's model, loss, sampler and loader, in the loop of its documentation."""
    torch.manual_seed(limit.seed)
    data = _torchkge_graph(graph, seed=limit.seed)
    model = torchkge.models.TransRModel(config.entity_dim, config.relation_dim, len(graph.types), graph.n_relations)
    weights = _optimiser([p for p in model.parameters() if p.requires_grad], optimiser)
    criterion, sampler = MarginLoss(config.margin), BernoulliNegativeSampler(data, n_neg=PEER_NEGATIVES)
    batches = _repeated(DataLoader(data, batch_size=config.batch_size), model.normalize_parameters)
    started, seen = Clock.now(), 0
    while not limit.reached(seconds=started.passed().wall, epochs=seen / len(graph.train)):
        heads, tails, relations = next(batches)
        negative_heads, negative_tails = sampler.corrupt_batch(heads, tails, relations)
        weights.zero_grad()
        positive, negative = model(heads, tails, relations, negative_heads, negative_tails)
        criterion(positive, negative).backward()
        weights.step()
        seen += len(heads)
    elapsed = started.passed()
    model.normalize_parameters()
    result = untrained_model(config, n_entities=0, n_relations=graph.n_relations, seed=0)
    result.entities.weight.data, result.relations.data = model.ent_emb.weight.data, model.rel_emb.weight.data
    result.projections.data = model.proj_mat.weight.data.view(result.projections.shape)
    return Trained(result, seen, elapsed)


def _repeated(loader: DataLoader, after_epoch: Callable[[], None]) -> Iterator[tuple[torch.Tensor, ...]]:
    while True:
        yield from loader
        after_epoch()


def _torchkge_graph(graph: Graph, *, seed: int) -> TorchKGEGraph:
    heads, relations, tails = torch.from_numpy(np.random.default_rng(seed).permutation(graph.train)).unbind(1)
    names = {"ent2ix": {i: i for i in range(len(graph.types))}, "rel2ix": {i: i for i in range(graph.n_relations)}}
    # only its evaluation reads these dictionaries, and filling them takes a minute
    unused = {f"dict_of_{name}": defaultdict(set) for name in ("heads", "tails", "rels")}
    return TorchKGEGraph(kg={"heads": heads, "tails": tails, "relations": relations}, **names, **unused)


def with_pykeen(graph: Graph, limit: Limit, *, config: TransRConfig, optimiser: str, norm: int) -> Trained:
    """PyKEEN's model and sLCWA training loop."""
    triples = torch.from_numpy(np.random.default_rng(limit.seed).permutation(graph.train))
    sizes = {"num_entities": len(graph.types), "num_relations": graph.n_relations}
    if limit.seconds is not None:
        triples = triples[:PYKEEN_TIMED]
    factory = CoreTriplesFactory(triples, **sizes)
    widths = {"embedding_dim": config.entity_dim, "relation_dim": config.relation_dim}
    score = {"scoring_fct_norm": norm, "power_norm": norm == 2}
    loss = MarginRankingLoss(margin=config.margin)
    model = PyKEENTransR(triples_factory=factory, loss=loss, random_seed=limit.seed, **widths, **score)
    loop = SLCWATrainingLoop(
        model=model,
        triples_factory=factory,
        optimizer=_optimiser([p for p in model.parameters() if p.requires_grad], optimiser),
        negative_sampler="bernoulli",
        negative_sampler_kwargs={"num_negs_per_pos": PEER_NEGATIVES},
    )
    quiet = {"use_tqdm": False, "use_tqdm_batch": False, "pin_memory": False}
    epochs = limit.epochs if limit.seconds is None else 1
    started, seen = Clock.now(), 0
    while not limit.reached(seconds=started.passed().wall, epochs=seen / len(graph.train)):
        loop.train(factory, num_epochs=epochs, batch_size=config.batch_size, **quiet)
        seen += len(triples) * epochs
    return Trained(PyKEENScores(model, norm), seen, started.passed())


class PyKEENScores:
    """PyKEEN's scores with each candidate projected once; its own `score_t` projects it for each query."""

    def __init__(self, model: PyKEENTransR, norm: int) -> None:
        """Take the weights."""
        self._norm = norm
        self._entities = model.entity_representations[0](indices=None).detach()
        self._relations, self._projections = (r(indices=None).detach() for r in model.relation_representations)

    def score_candidates(
        self, relation: int, anchors_Q: torch.Tensor, candidates_C: torch.Tensor, *, side: int
    ) -> torch.Tensor:
        """As of `CandidateScorer`."""
        matrix, r = self._projections[relation], self._relations[relation]
        anchors, candidates = (
            clamp_norm(self._entities[rows] @ matrix, p=self._norm, dim=-1, maxnorm=1.0)
            for rows in (anchors_Q, candidates_C)
        )
        return -torch.cdist(anchors - r if side == HEAD else anchors + r, candidates, p=float(self._norm))


def _optimiser(weights: list[torch.nn.Parameter], name: str) -> torch.optim.Optimizer:
    kind, rate = name.split()
    return getattr(torch.optim, kind)(weights, lr=float(rate))


def runs(config: TransRConfig) -> dict[str, Run]:
    """What is compared, by the name of its row."""
    untyped = config.model_copy(update={"typed_negatives": False})
    small, large = (config.model_copy(update={"batch_size": size}) for size in (512, 4096))
    return {
        f"ours as shipped (batch {config.batch_size}, {config.negatives} negatives)": partial(ours, config=config),
        "ours, negatives of any type": partial(ours, config=untyped),
        "ours, batch 4096": partial(ours, config=large),
        "TorchKGE, Adam 1e-3, batch 512": partial(with_torchkge, config=small, optimiser="Adam 1e-3"),
        "TorchKGE, Adam 1e-3, batch 4096": partial(with_torchkge, config=large, optimiser="Adam 1e-3"),
        "TorchKGE, Adagrad 0.1, batch 512": partial(with_torchkge, config=small, optimiser="Adagrad 0.1"),
        "PyKEEN, Adam 1e-3, batch 512": partial(with_pykeen, config=small, optimiser="Adam 1e-3", norm=1),
        "PyKEEN, Adam 1e-3, batch 4096": partial(with_pykeen, config=large, optimiser="Adam 1e-3", norm=1),
        "PyKEEN, Adagrad 0.1, batch 512, squared L2": partial(
            with_pykeen, config=small, optimiser="Adagrad 0.1", norm=2
        ),
    }


def main() -> None:
    """Measure, keep what was measured beside what there is, and write the table."""
    with_process_settings()
    arguments = _arguments()
    logging.disable(logging.WARNING)
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for what in arguments.measure:
        everything = measure(what, arguments)
        section = _section(everything, arguments)
        print(section)
        write_section("transr", section)


def measure(what: str, arguments: argparse.Namespace) -> dict[str, dict]:
    """`speed`, or `accuracy`, of each row; returns all that was measured so far."""
    timed = what == "speed"
    graph = Graph.of(arguments.kg, n_triples=None if timed else arguments.triples, seed=arguments.seed)
    limit = Limit(arguments.seconds if timed else None, None if timed else arguments.epochs, arguments.seed)
    kept = arguments.output / "transr.json"
    everything = json.loads(kept.read_text()) if kept.is_file() else {}
    sizes = (
        f"{len(graph.types):,} nodes with edges, {graph.n_relations} relations, {len(graph.train):,} training triples"
    )
    everything.setdefault("sizes", {})[what] = sizes
    for name, run in runs(TransRConfig(margin=arguments.margin)).items():
        if arguments.only not in name:
            continue
        trained = run(graph, limit)
        speeds = (trained.triples / trained.clock.wall, trained.triples / trained.clock.cpu)
        speed = dict(zip(("triples_per_s", "triples_per_cpu_s"), speeds, strict=True)) | {"load": os.getloadavg()[0]}
        found = speed if timed else graph.rank(trained.model)
        everything.setdefault(name, {}).update(found)
        kept.write_text(json.dumps(everything, indent=2))
        print(name, found, flush=True)
    return everything


def _section(everything: dict[str, dict], arguments: argparse.Namespace) -> str:
    sizes = everything["sizes"]
    header = ["", "triples/s", "triples/CPU s", "MRR", "± (1 se)", "Hits@10"]
    forms = {"triples_per_s": ",.0f", "triples_per_cpu_s": ",.0f", "mrr": ".3f", "mrr_se": ".3f", "hits_at_10": ".3f"}
    rows = [
        [name, *(format(found[key], form) if key in found else "" for key, form in forms.items())]
        for name, found in everything.items()
        if name != "sizes"
    ]
    settings = {
        "triples/s": f"`{Path(arguments.kg).name}`, {sizes.get('speed', 'not measured')}; {arguments.seconds:g} s each",
        "MRR": f"the triples among its busiest nodes: {sizes.get('accuracy', 'not measured')}; "
        f"{arguments.epochs} epochs each; both ends, filtered, among nodes of the types seen at that side",
        "training": f"dimensions 58 and 58, margin {arguments.margin:g}, float32, {arguments.threads} threads, seed "
        f"{arguments.seed}; peers: {PEER_NEGATIVES} negatives a triple",
    }
    loads = [found["load"] for found in everything.values() if "load" in found]
    if loads:
        settings["load of the machine while timed"] = (
            f"{min(loads):.0f} to {max(loads):.0f} processes; compare CPU times"
        )
    made = conditions(packages=["torch", "torchkge", "pykeen"], **settings)
    return f"## TransR beside TorchKGE's and PyKEEN's\n\n{markdown_table(header, rows)}\n\n{made}\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("KOGNER_SHARED")
    parser.add_argument("--measure", nargs="+", choices=["speed", "accuracy"], default=["speed", "accuracy"])
    parser.add_argument("--kg", default=shared and f"{shared}/data/kg/biokg", required=not shared)
    parser.add_argument("--only", default="", help="rows whose name has this")
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--triples", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--margin", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/transr"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
