"""Training the Graph Transformer: the task drawn from a KG, the loop that every rank runs, and Z' of all nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray.train.torch
import torch
from pydantic import Field, model_validator
from torch.nn import functional as F

from kogner_ray.kg.backend import dgl
from kogner_ray.kg.matrices import StandardisedRows, gather, new_matrix, open_matrix, row_chunks, scratch_matrices
from kogner_ray.kg.sampling import BlockSampler, whole_graph
from kogner_ray.kg.tables import KnowledgeGraph, read_kg
from kogner_ray.teacher.classification import NodeLabels, Split, node_labels, split_nodes
from kogner_ray.teacher.graph_transformer import GraphTransformer, GraphTransformerConfig, embed_nodes
from kogner_ray.track import tracked
from kogner_ray.train.ownership import Ownership
from kogner_ray.train.session import Session, stream_seed

IntArray = npt.NDArray[np.int64]
_CHUNK = 1024


class GraphConfig(GraphTransformerConfig):
    """How Z' is made; the model's shape is inherited.

    Attributes:
        enabled: False leaves Z' out of H.
        target: column of the node table to classify nodes by. A node's type often follows from its relations alone; a
            column that does not (an ontology ancestor, a cluster) is the more honest test.
        test_share: of the labelled nodes, held out.
        fanouts: in-edges sampled a node in training, one number a layer, input layer first.
        inference_fanout: in-edges sampled a node for Z'; -1 takes all.
        feature_dropout: share of nodes whose features are hidden in training, so that structure has to carry. A small
            KG needs it (its texts are soon learned by heart), one of tens of thousands of nodes does not.
        epochs: passes over the training nodes.
        batch_size: nodes a step, over all ranks.
        lr: peak rate of AdamW, decaying linearly to 0.
        weight_decay: of AdamW.
        baselines: also score the majority class, a linear probe on Z and one on relation counts.
    """

    enabled: bool = True
    target: str = "type"
    test_share: float = Field(default=0.1, gt=0, lt=1)
    fanouts: tuple[int, ...] = (10, 10)
    inference_fanout: int = Field(default=50, ge=-1)
    feature_dropout: float = Field(default=0.5, ge=0, lt=1)
    epochs: int = Field(default=10, gt=0)
    batch_size: int = Field(default=64, gt=0)
    lr: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    baselines: bool = True

    @model_validator(mode="after")
    def _one_fanout_a_layer(self) -> GraphConfig:
        if len(self.fanouts) != self.layers:
            raise ValueError(f"expected one fanout a layer ({self.layers}), got {len(self.fanouts)}")
        return self


@dataclass(frozen=True)
class GraphTask:
    """What the Graph Transformer learns and is asked; the same on every rank.

    Attributes:
        labels: class of each node.
        split: labelled nodes for training and testing.
        n_relations: R, reverse relations included.
    """

    labels: NodeLabels
    split: Split
    n_relations: int

    @classmethod
    def of(cls, kg: KnowledgeGraph, config: GraphConfig, *, seed: int) -> GraphTask:
        """Label and split the nodes of `kg`.

        Raises:
            DataError: the target has fewer than two classes, or is no column.
        """
        labels = node_labels(kg, config.target)
        return cls(labels, split_nodes(labels, test_share=config.test_share, seed=seed), 2 * len(kg.relations))

    def model(self, config: GraphConfig, *, n_features: int, seed: int) -> GraphTransformer:
        """An untrained model of the right size."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return GraphTransformer(
                config, n_features=n_features, n_relations=self.n_relations, n_classes=len(self.labels.classes)
            )


def graph_loop(job: dict[str, Any]) -> None:
    """Train on this rank's labelled nodes; gradients are summed over ranks each step."""
    config = GraphConfig.model_validate(job["config"])
    session = Session.current(job["folder"], local=job["local"])
    device = ray.train.torch.get_device()
    kg = read_kg(job["kg"])
    features = StandardisedRows(open_matrix(job["features"]), job["moments"])
    task = GraphTask.of(kg, config, seed=job["seed"])
    labels = torch.from_numpy(task.labels.values)
    own = Ownership(kg, session, parts=job["parts"])
    mine, sampler = torch.from_numpy(own.nodes(task.split.train)), BlockSampler(own.graph(), config.fanouts)
    model = task.model(config, n_features=features.width, seed=job["seed"]).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    history = session.resume(model, optimiser, epochs=config.epochs)
    share = -(-config.batch_size // session.world_size)
    n_steps = int(session.max(-(-len(mine) // share))[0])

    for epoch in range(len(history), config.epochs):
        started, total, nodes = time.perf_counter(), 0.0, 0.0
        seed = stream_seed(job["seed"], epoch, session.rank)
        torch.manual_seed(seed)  # of both dropouts
        model.train()
        batches = enumerate(_batches(mine, share=share, n_steps=n_steps, seed=seed))
        title = f"Graph Transformer epoch {epoch + 1}/{config.epochs}"
        for step, batch in tracked(batches, title, total=n_steps, shown=session.local):
            set_rate(optimiser, config.lr * (1 - (epoch * n_steps + step) / (config.epochs * n_steps)))
            optimiser.zero_grad()
            (n_nodes,) = session.sum(len(batch))
            if len(batch):
                blocks = sampler.sample(batch, seed=stream_seed(seed, step))
                inputs = features.rows(blocks[0].nodes)
                if config.feature_dropout:
                    inputs *= torch.rand(len(inputs), 1) >= config.feature_dropout
                scores = model(inputs.to(device), [block.to(device) for block in blocks])
                loss = F.cross_entropy(scores, labels[batch].to(device), reduction="sum")
                (loss / n_nodes).backward()
                total, nodes = total + loss.item(), nodes + len(batch)
            session.sum_gradients(model.parameters())
            optimiser.step()
        total, nodes = session.sum(total, nodes)
        seconds = time.perf_counter() - started
        history.append({"epoch": epoch + 1, "loss": total / nodes, "seconds": seconds, "nodes_per_s": nodes / seconds})
        session.end_epoch(model, optimiser, history)


def embed_graph(
    model: GraphTransformer, graph: dgl.DGLGraph, features: StandardisedRows, config: GraphConfig, path: Path
) -> torch.Tensor:
    """Write Z' of every node, (N, H) float16, to the `.npy` file `path`; returns it memory-mapped.

    States between the layers are files beside it. It takes about as long as an epoch, and starts anew when it was
    interrupted.
    """
    layers = [
        whole_graph(graph, fanout=config.inference_fanout, chunk=_CHUNK, seed=i) for i in range(len(model.layers))
    ]
    blocks = (tracked(layer, "Graph Transformer, Z'", total=-(-len(features) // _CHUNK)) for layer in layers)
    shape = (len(features), config.hidden)
    with new_matrix(path, shape) as z_NH, scratch_matrices(path.parent, shape) as states:
        embed_nodes(model, features.rows, blocks, states=states, z_NH=z_NH)
    return open_matrix(path)


@torch.no_grad()
def classify_rows(model: GraphTransformer, z_NH: torch.Tensor, rows: IntArray) -> IntArray:
    """The class that `model` predicts for each of `rows` of Z'."""
    chunks = (torch.from_numpy(rows[chunk]) for chunk in row_chunks(len(rows)))
    return torch.cat([model.classify(gather(z_NH, chunk)).argmax(-1) for chunk in chunks]).numpy()


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set every group's learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def _batches(nodes: torch.Tensor, *, share: int, n_steps: int, seed: int) -> Iterator[torch.Tensor]:
    order = torch.randperm(len(nodes), generator=torch.Generator().manual_seed(seed))
    for step in range(n_steps):
        yield nodes[order[step * share : (step + 1) * share]]
