"""Z': a Graph Transformer over the whole KG as one graph with typed edges.

Each layer attends from a node to its in-neighbours (Shi et al. 2021; Dwivedi & Bresson 2021, made relational):

    m_e = x_s + u[rel(e)],   a_e = q(x_t) . k(m_e) / sqrt(d) + b[rel(e)],   alpha = softmax of a over the in-edges of t
    y_t = x_t + W_o sum_e alpha_e v(m_e),   out_t = y_t + FFN(LN(y_t))

with x layer-normalised in the first line. The relation offset u tells a node *how* it is linked. It is plain torch on a
sampled block's edges, so it runs on any device. A block has several times as many sources as targets, so k and v act on
the targets' side, which is the same: q . (W_k m) = (W_k' q) . m, and sum alpha (W_v m) = W_v (sum alpha m).

Dimensions: S nodes of a block, T targets (the first T of S), L of them with an in-edge, E edges, R relations, F
features, H hidden, A heads, D = H / A.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from kogner_ray.config import Config
from kogner_ray.kg.matrices import gather, row_chunks
from kogner_ray.kg.sampling import Block
from kogner_ray.teacher.attention import attend_in_runs
from kogner_ray.teacher.dense import Linear


class GraphTransformerConfig(Config):
    """Shape of the Graph Transformer.

    Attributes:
        hidden: width H of its states, and of Z'.
        heads: attention heads A; must divide `hidden`.
        layers: attention layers, each one hop.
        dropout: on the attention's and the feed-forward's output.
    """

    hidden: int = Field(default=128, gt=0)
    heads: int = Field(default=4, gt=0)
    layers: int = Field(default=2, gt=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> GraphTransformerConfig:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is no multiple of heads {self.heads}")
        return self


class GraphTransformer(nn.Module):
    """Node features to hidden states to class scores."""

    def __init__(self, config: GraphTransformerConfig, *, n_features: int, n_relations: int, n_classes: int) -> None:
        """Random weights from torch's global generator.

        Args:
            config: shape.
            n_features: F.
            n_relations: R, reverse relations included.
            n_classes: of the node classification.
        """
        super().__init__()
        self.project = Linear(n_features, config.hidden)
        self.layers = nn.ModuleList(TypedAttentionLayer(config, n_relations=n_relations) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden)
        self.classify = Linear(config.hidden, n_classes)

    def forward(self, features_SF: torch.Tensor, blocks: Sequence[Block]) -> torch.Tensor:
        """Class scores of the last block's targets, (T, classes).

        Args:
            features_SF: of the first block's nodes.
            blocks: one a layer, input layer first.
        """
        states: torch.Tensor = self.project(features_SF)
        for layer, block in zip(self.layers, blocks, strict=True):
            states = layer(states, block)
        scores: torch.Tensor = self.classify(self.norm(states))
        return scores


class TypedAttentionLayer(nn.Module):
    """Multi-head attention over typed in-edges, then a feed-forward network; both residual, norms first."""

    def __init__(self, config: GraphTransformerConfig, *, n_relations: int) -> None:
        """Random weights; relation biases and offsets start at zero."""
        super().__init__()
        hidden, self.heads = config.hidden, config.heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.query = Linear(hidden, hidden)
        self.key_value = Linear(hidden, 2 * hidden)
        self.bias_RA = nn.Parameter(torch.zeros(n_relations, self.heads))
        self.offset_RH = nn.Parameter(torch.zeros(n_relations, hidden))
        self.out = Linear(hidden, hidden)
        self.feed_forward = nn.Sequential(Linear(hidden, 2 * hidden), nn.GELU(), Linear(2 * hidden, hidden))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states_SH: torch.Tensor, block: Block) -> torch.Tensor:
        """States of the block's targets, (T, H)."""
        states_TH = states_SH[: block.n_targets] + self.dropout(self._attend(self.attention_norm(states_SH), block))
        out: torch.Tensor = states_TH + self.dropout(self.feed_forward(self.feed_forward_norm(states_TH)))
        return out

    def _attend(self, states_SH: torch.Tensor, block: Block) -> torch.Tensor:
        """(T, H); for a target without in-edges what an empty sum gives."""
        key_ADH, value_ADH = self.key_value.weight.view(2, self.heads, -1, states_SH.shape[1])
        query_LAD = self.query(_rows(states_SH, block.linked)).unflatten(1, key_ADH.shape[:2])
        query_LAD = query_LAD / math.sqrt(key_ADH.shape[1])
        query_LAH = torch.einsum("lad,adh->lah", query_LAD, key_ADH)  # the keys' bias is the same for all of a node
        message_EH = _rows(states_SH, block.sources) + _rows(self.offset_RH, block.relations)
        summed_LAH = attend_in_runs(query_LAH, message_EH, _rows(self.bias_RA, block.relations), block.runs)
        value_LH = torch.einsum("lah,adh->lad", summed_LAH, value_ADH).flatten(1) + self.key_value.bias.chunk(2)[1]
        none_TH = self.out.bias.expand(block.n_targets, -1)
        return none_TH.index_copy(0, block.linked, self.out(value_LH))


def _rows(states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    # as `states[index]`, whose gradient is summed in whatever order the threads come: runs would differ
    return F.embedding(index, states)


@torch.no_grad()
def embed_nodes(
    model: GraphTransformer,
    features: Callable[[torch.Tensor], torch.Tensor],
    layer_blocks: Iterable[Iterable[Block]],
    *,
    states: tuple[torch.Tensor, torch.Tensor],
    z_NH: torch.Tensor,
) -> None:
    """Z' of every node, layer by layer, so that no node is computed twice.

    Args:
        model: trained; put into evaluation mode here.
        features: node ids, (M,) -> their features, (M, F) float32.
        layer_blocks: for each layer, blocks whose targets together are all N nodes, each once.
        states: two (N, H) float32 matrices to work in; may be memory-mapped.
        z_NH: filled with Z'; may be float16 and memory-mapped.
    """
    model.eval()
    device = model.norm.weight.device
    current_NH, following_NH = states
    for rows in row_chunks(len(z_NH)):
        nodes = torch.arange(rows.start, rows.stop)
        current_NH[rows] = model.project(features(nodes).to(device)).cpu()
    for layer, blocks in zip(model.layers, layer_blocks, strict=True):
        for block in blocks:
            states_SH = gather(current_NH, block.nodes).to(device)
            following_NH[block.nodes[: block.n_targets]] = layer(states_SH, block.to(device)).cpu()
        current_NH, following_NH = following_NH, current_NH
    for rows in row_chunks(len(z_NH)):
        z_NH[rows] = model.norm(current_NH[rows].to(device)).to(z_NH)
