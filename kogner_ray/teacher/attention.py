"""Attention of nodes to neighbours of which each has another number.

Nodes with as many neighbours stand together, in a run: within it, everything is a batched product of dense arrays, with
no padding and no scatter, and gradients are summed in the same order each time.

Dimensions: L nodes, E edges (those of the first node, then those of the second ...), A heads, H width; in a run, n
nodes of d edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

Runs = Sequence[tuple[int, int]]
"""(d, n) of each run, d > 0."""


def attend_in_runs(
    query_LAH: torch.Tensor, message_EH: torch.Tensor, bias_EA: torch.Tensor, runs: Runs
) -> torch.Tensor:
    """Sum of each node's messages, weighted by the softmax of query . message + bias, (L, A, H)."""
    out: torch.Tensor = _Attention.apply(query_LAH, message_EH, bias_EA, runs)  # type: ignore[no-untyped-call]
    return out


class _Attention(torch.autograd.Function):
    """With a backward of its own: autograd's takes longer for its overhead than the products take."""

    @staticmethod
    def forward(
        context: Any, query_LAH: torch.Tensor, message_EH: torch.Tensor, bias_EA: torch.Tensor, runs: Runs
    ) -> torch.Tensor:
        query_LAH, weights = query_LAH.contiguous(), []
        out_LAH = torch.empty_like(query_LAH)
        for nodes, edges, shape in _places(runs):
            message_ndH, bias_ndA = message_EH[edges].view(*shape, -1), bias_EA[edges].view(*shape, -1)
            scores_nAd = torch.baddbmm(bias_ndA.transpose(1, 2), query_LAH[nodes], message_ndH.transpose(1, 2))
            weights.append(scores_nAd.softmax(-1))
            torch.bmm(weights[-1], message_ndH, out=out_LAH[nodes])
        context.runs = runs
        context.save_for_backward(query_LAH, message_EH, *weights)
        return out_LAH

    @staticmethod
    def backward(context: Any, slope_LAH: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query_LAH, message_EH, *weights = context.saved_tensors
        slope_LAH = slope_LAH.contiguous()
        into_query, into_message = torch.empty_like(query_LAH), torch.empty_like(message_EH)
        into_bias = message_EH.new_empty(len(message_EH), query_LAH.shape[1])
        for weights_nAd, (nodes, edges, shape) in zip(weights, _places(context.runs), strict=True):
            message_ndH, slope_nAH = message_EH[edges].view(*shape, -1), slope_LAH[nodes]
            inner_nAd = torch.bmm(slope_nAH, message_ndH.transpose(1, 2))
            scores_nAd = weights_nAd * (inner_nAd - (inner_nAd * weights_nAd).sum(-1, keepdim=True))
            torch.bmm(scores_nAd, message_ndH, out=into_query[nodes])
            message_ndH = into_message[edges].view(*shape, -1)
            torch.bmm(weights_nAd.transpose(1, 2), slope_nAH, out=message_ndH)
            message_ndH.baddbmm_(scores_nAd.transpose(1, 2), query_LAH[nodes])
            into_bias[edges].view(*shape, -1).copy_(scores_nAd.transpose(1, 2))
        return into_query, into_message, into_bias, None


def _places(runs: Runs) -> Iterator[tuple[slice, slice, tuple[int, int]]]:
    """Each run's nodes, its edges, and (n, d)."""
    node = edge = 0
    for size, count in runs:
        yield slice(node, node + count), slice(edge, edge + size * count), (count, size)
        node, edge = node + count, edge + size * count
