"""Training TransR: the task drawn from a KG, the loop that every rank runs, and the evaluation of its result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.kg.tables import KnowledgeGraph, read_kg
from kogner_ray.teacher.negatives import BernoulliNegatives, SidePools, head_probabilities
from kogner_ray.teacher.ranking import Ranking, hold_out, rank_triples
from kogner_ray.teacher.transr import TransR
from kogner_ray.track import tracked
from kogner_ray.train.ownership import Ownership
from kogner_ray.train.session import Session, stream_seed

IntArray = npt.NDArray[np.int64]


class TransRConfig(Config):
    """How Z'' is made.

    Attributes:
        enabled: False leaves Z'' out of H.
        entity_dim: width d of entities, and of Z''.
        relation_dim: width k of the relation spaces.
        margin: between a true triple's score and its corruption's.
        negatives: corruptions a triple.
        typed_negatives: corrupt only by nodes of types seen at that side of that relation.
        epochs: passes over the training triples.
        batch_size: triples a step, over all ranks.
        lr: of Adagrad, for entities and relations.
        projection_lr: of Adagrad, for the M_r. As fast as the entities they overfit a small or sparse KG at once.
        held_out: triples kept for evaluation, at most a twentieth of all.
    """

    enabled: bool = True
    entity_dim: int = Field(default=58, gt=0)
    relation_dim: int = Field(default=58, gt=0)
    margin: float = Field(default=2.0, gt=0)
    negatives: int = Field(default=8, gt=0)
    typed_negatives: bool = True
    epochs: int = Field(default=40, gt=0)
    batch_size: int = Field(default=512, gt=0)
    lr: float = Field(default=0.1, gt=0)
    projection_lr: float = Field(default=0.003, ge=0)
    held_out: int = Field(default=2000, ge=0)


@dataclass(frozen=True)
class TransRTask:
    """What TransR learns and is asked; the same on every rank.

    Attributes:
        train: (E, 3) distinct triples to learn.
        test: (T, 3) distinct triples held out, whose nodes and relations all occur in `train`.
        candidates: who competes in the ranking: nodes of the types seen at that side of that relation.
        n_entities: N.
        n_relations: R.
        node_types: (N,) type index of each node.
    """

    train: IntArray
    test: IntArray
    candidates: SidePools
    n_entities: int
    n_relations: int
    node_types: IntArray

    @classmethod
    def of(cls, kg: KnowledgeGraph, config: TransRConfig, *, seed: int) -> TransRTask:
        """Split the triples of `kg`."""
        triples, n_relations = np.unique(kg.triples, axis=0), len(kg.relations)
        train, test = hold_out(triples, n=min(config.held_out, len(triples) // 20), seed=seed)
        candidates = SidePools(triples, n_relations=n_relations, node_types=kg.node_types)
        return cls(train, test, candidates, kg.n_nodes, n_relations, kg.node_types)

    def model(self, config: TransRConfig, *, seed: int) -> TransR:
        """An untrained model of the right size."""
        sizes = {"entity_dim": config.entity_dim, "relation_dim": config.relation_dim}
        return TransR(n_entities=self.n_entities, n_relations=self.n_relations, seed=seed, **sizes)

    def negatives(self, config: TransRConfig) -> BernoulliNegatives:
        """The sampler of corruptions, from the training triples alone."""
        pools = SidePools(
            self.train, n_relations=self.n_relations, node_types=self.node_types, by_type=config.typed_negatives
        )
        return BernoulliNegatives(head_probabilities(self.train, n_relations=self.n_relations), pools)

    def evaluate(self, model: TransR) -> Ranking:
        """Filtered ranks of the held-out triples."""
        known = np.concatenate([self.train, self.test])
        return rank_triples(model, self.test, known=known, pools=self.candidates)


def transr_loop(job: dict[str, Any]) -> None:
    """Train TransR on this rank's triples; every rank holds all embeddings and sums (sparse) gradients each step."""
    config = TransRConfig.model_validate(job["config"])
    session = Session.current(job["folder"], local=job["local"])
    kg = read_kg(job["kg"])
    task = TransRTask.of(kg, config, seed=job["seed"])
    mine = torch.from_numpy(Ownership(kg, session, parts=job["parts"]).triples(task.train))
    model, negatives = task.model(config, seed=job["seed"]), task.negatives(config)
    optimiser = make_adagrad(model, config)
    history = session.resume(model, optimiser, epochs=config.epochs)
    share = -(-config.batch_size // session.world_size)
    n_steps = int(session.max(-(-len(mine) // share))[0])

    for epoch in range(len(history), config.epochs):
        started, total, pairs = time.perf_counter(), 0.0, 0.0
        generator = torch.Generator().manual_seed(stream_seed(job["seed"], epoch, session.rank))
        batches = epoch_batches(mine, share=share, n_steps=n_steps, generator=generator)
        title = f"TransR, epoch {epoch + 1}/{config.epochs}"
        for batch in tracked(batches, title, total=n_steps, shown=session.local):
            optimiser.zero_grad()
            corruption = negatives.corrupt(batch, n_negatives=config.negatives, generator=generator)
            loss = model.score_pairs(batch, corruption).margin_loss(config.margin)
            (n_pairs,) = session.sum(corruption.entities.numel())
            (loss / n_pairs).backward()
            session.sum_gradients(model.parameters())
            with torch.sparse.check_sparse_tensor_invariants(enable=False):  # said aloud, else torch warns
                optimiser.step()
            model.renormalise(model.entities.weight.grad.coalesce().indices()[0])
            total, pairs = total + loss.item(), pairs + corruption.entities.numel()
        total, pairs = session.sum(total, pairs)
        seconds = time.perf_counter() - started
        history.append({"epoch": epoch + 1, "loss": total / pairs, "seconds": seconds, "pairs_per_s": pairs / seconds})
        session.end_epoch(model, optimiser, history)


def make_adagrad(model: TransR, config: TransRConfig) -> torch.optim.Adagrad:
    """Adagrad (sparse for entities: only the rows of a batch are touched)."""
    groups = [
        {"params": [model.entities.weight, model.relations], "lr": config.lr},
        {"params": [model.projections], "lr": config.projection_lr},
    ]
    return torch.optim.Adagrad(groups)


def epoch_batches(
    triples: torch.Tensor, *, share: int, n_steps: int, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """A rank's batches of one epoch in a new order, each sorted by relation; the last ones may be empty.

    Args:
        triples: (E, 3) that the rank owns.
        share: triples a batch.
        n_steps: batches, the same on every rank.
        generator: of the order.
    """
    order = torch.randperm(len(triples), generator=generator)
    for step in range(n_steps):
        batch = triples[order[step * share : (step + 1) * share]]
        yield batch[torch.argsort(batch[:, 1], stable=True)]
