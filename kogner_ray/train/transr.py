"""TransR's part of the teacher: the task drawn from a KG, its buckets, what training left, and its evaluation.

The loop that every rank runs is in `transr_loop`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.kg.buckets import Buckets, write_buckets
from kogner_ray.kg.tables import KnowledgeGraph
from kogner_ray.teacher.negatives import SidePools, head_probabilities
from kogner_ray.teacher.ranking import Ranking, hold_out, rank_triples
from kogner_ray.teacher.transr import TransR
from kogner_ray.train.bucket_rounds import parts_needed

IntArray = npt.NDArray[np.int64]


class TransRConfig(Config):
    """How Z'' is made.

    Attributes:
        enabled: False leaves Z'' out of H.
        entity_dim: width d of entities, and of Z''.
        relation_dim: width k of the relation spaces.
        margin: between a true triple's score and its corruption's.
        negatives: corruptions a triple, shared by the triples of a block.
        block: triples of one relation that share their corruptions; fewer where relations have few triples.
        typed_negatives: corrupt only by nodes of types seen at that side of that relation.
        epochs: passes over the training triples.
        batch_size: triples a step of one rank.
        lr: of Adagrad, for entities and relations.
        projection_lr: of Adagrad, for the M_r. As fast as the entities they overfit a small or sparse KG at once.
        held_out: triples kept for evaluation, at most a twentieth of all.
        ranked: so many of these are ranked, drawn at random; the metrics' standard errors are for this sample.
        bucket_nodes: nodes with edges that a worker holds in memory, 464 bytes each at width 58; a larger KG is trained
            bucket by bucket, as is one that several workers share.
        checkpoint_s: within an epoch, a checkpoint follows the first bucket that ends so many seconds after the last
            one; 0 writes one after each bucket.
    """

    enabled: bool = True
    entity_dim: int = Field(default=58, gt=0)
    relation_dim: int = Field(default=58, gt=0)
    margin: float = Field(default=2.0, gt=0)
    negatives: int = Field(default=64, gt=0)
    block: int = Field(default=64, gt=0)
    typed_negatives: bool = True
    epochs: int = Field(default=40, gt=0)
    batch_size: int = Field(default=512, gt=0)
    lr: float = Field(default=0.1, gt=0)
    projection_lr: float = Field(default=0.003, ge=0)
    held_out: int = Field(default=2000, ge=0)
    ranked: int = Field(default=2000, gt=0)
    bucket_nodes: int = Field(default=4_000_000, ge=2)
    checkpoint_s: float = Field(default=30, ge=0)


@dataclass(frozen=True)
class TransRTask:
    """What TransR learns and is asked.

    Attributes:
        train: (E, 3) distinct triples to learn.
        test: (T, 3) distinct triples held out, whose nodes and relations all occur in `train`.
        candidates: who competes in the ranking: nodes with edges, of the types seen at that side of that relation.
        n_relations: R.
        node_types: (N,) type index of each node, those without edges included.
    """

    train: IntArray
    test: IntArray
    candidates: SidePools
    n_relations: int
    node_types: IntArray

    @classmethod
    def of(cls, kg: KnowledgeGraph, config: TransRConfig, *, seed: int) -> TransRTask:
        """Split the triples of `kg`."""
        triples, n_relations = _distinct(kg.triples, kg.n_nodes, len(kg.relations)), len(kg.relations)
        train, test = hold_out(triples, n=min(config.held_out, len(triples) // 20), seed=seed)
        linked = np.unique(triples[:, [0, 2]])
        candidates = SidePools(triples, n_relations=n_relations, node_types=kg.node_types, nodes=linked)
        return cls(train, test, candidates, n_relations, kg.node_types)

    @property
    def n_linked(self) -> int:
        """Nodes with a training triple; only these are trained."""
        return len(np.unique(self.train[:, [0, 2]]))

    def model(self, config: TransRConfig, *, seed: int) -> TransR:
        """An untrained model of the right size."""
        return untrained_model(config, n_entities=len(self.node_types), n_relations=self.n_relations, seed=seed)

    def head_probabilities(self) -> list[float]:
        """Of replacing the head, a relation."""
        return [float(p) for p in head_probabilities(self.train, n_relations=self.n_relations)]

    def cut(self, folder: Path, config: TransRConfig, *, workers: int, seed: int) -> Buckets:
        """The buckets of the training triples, written unless `folder` has them."""
        if (folder / "meta.json").is_file():
            return Buckets.open(folder)
        n_parts = parts_needed(self.n_linked, bucket_nodes=config.bucket_nodes, workers=max(1, workers))
        sizes = {"n_parts": n_parts, "n_relations": self.n_relations}
        return write_buckets(self.train, folder, **sizes, node_types=self.node_types, seed=seed)

    def evaluate(self, model: TransR, *, n: int | None = None, seed: int = 0) -> Ranking:
        """Filtered ranks of the held-out triples, or of `n` of them."""
        known = np.concatenate([self.train, self.test])
        return rank_triples(model, self.test, known=known, pools=self.candidates, sample=n, seed=seed)


def untrained_model(config: TransRConfig, *, n_entities: int, n_relations: int, seed: int) -> TransR:
    """The random start; entities that are trained in parts have their own."""
    sizes = {"entity_dim": config.entity_dim, "relation_dim": config.relation_dim}
    return TransR(n_entities=n_entities, n_relations=n_relations, seed=seed, **sizes)


def _distinct(triples: IntArray, n_nodes: int, n_relations: int) -> IntArray:
    """Distinct triples in order, as of `np.unique(triples, axis=0)`."""
    heads, relations, tails = triples.T
    keys = np.unique((heads * n_relations + relations) * n_nodes + tails)
    pairs, tails = np.divmod(keys, max(1, n_nodes))
    return np.stack([*np.divmod(pairs, max(1, n_relations)), tails], axis=1)
