"""What is exported: four parts of a student, with names for their inputs, outputs and free axes.

Dimensions: B windows of T subtokens, W words, C labels, D hidden, F = 4D inner, K widths, S spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from kogner_ray.student.model import Student

Axes = tuple[str, ...]
"""Names of a tensor's axes; those in `FREE` may have any length."""

FREE = frozenset("BTWCS")
LEGEND = {
    "B": "windows, padded to the longest; attention_mask is 1 for subtokens, 0 for padding",
    "T": "subtokens of a window or label text, special ones included",
    "W": "words of all windows, one after the other; token_of_word: their first subtokens in the flattened (B, T)",
    "C": "types",
    "S": "chosen spans: starts of their first words, ends of their last",
    "K": "span of words i..i+k at [k, i]; those that run past their window mean nothing",
    "D": "width of the student",
    "F": "inner width of the span head",
}
_TOKENS = {"input_ids", "attention_mask", "token_of_word"}


@dataclass(frozen=True)
class Graph:
    """A part of a student.

    Attributes:
        module: what computes it.
        inputs: name -> axes, in the order of the module's arguments.
        outputs: name -> axes.
    """

    module: nn.Module
    inputs: Mapping[str, Axes]
    outputs: Mapping[str, Axes]

    def as_dict(self) -> dict[str, Any]:
        """Inputs and outputs for JSON."""
        both = {"inputs": self.inputs, "outputs": self.outputs}
        return {kind: {name: _described(name, axes) for name, axes in named.items()} for kind, named in both.items()}

    def example(self, lengths: Mapping[str, int], *, n_pieces: int) -> tuple[torch.Tensor, ...]:
        """Random inputs of those lengths; all windows but the first are padded. `n_pieces`: size of the vocabulary."""
        made = []
        for name, axes in self.inputs.items():
            shape = [lengths[axis] for axis in axes]
            if name == "attention_mask":
                n_padded = torch.arange(shape[0])[:, None].clamp(max=shape[1] - 1)
                made.append((torch.arange(shape[1]) < shape[1] - n_padded).long())
            elif name in _TOKENS:
                below = n_pieces if name == "input_ids" else lengths["B"] * lengths["T"]
                made.append(torch.randint(below, shape))
            else:
                made.append(torch.randn(shape))
        return tuple(made)


def graphs(student: Student) -> dict[str, Graph]:
    """The parts of `student` by file name, in evaluation mode, on its own weights."""
    halves: dict[str, Axes] = {"starts": ("W", "F"), "ends": ("W", "F")}
    chosen: dict[str, Axes] = {"starts": ("S", "F"), "ends": ("S", "F")}
    windows: dict[str, Axes] = {"input_ids": ("B", "T"), "attention_mask": ("B", "T"), "token_of_word": ("W",)}
    labels: dict[str, Axes] = {"input_ids": ("C", "T"), "attention_mask": ("C", "T")}
    prototypes: dict[str, Axes] = {"prototypes": ("C", "D")}
    return {
        "text.onnx": Graph(_Text(student), windows, halves),
        "labels.onnx": Graph(_Labels(student), labels, prototypes),
        "scores.onnx": Graph(_Scores(student), {**halves, **prototypes}, {"logits": ("K", "W", "C")}),
        "spans.onnx": Graph(_Spans(student), chosen, {"represented": ("S", "D")}),
    }


def _described(name: str, axes: Axes) -> dict[str, Any]:
    return {"dtype": "int64" if name in _TOKENS else "float32", "axes": list(axes)}


class _Text(nn.Module):
    def __init__(self, student: Student) -> None:
        super().__init__()
        layer, marker = student.token_rep_layer, student.marker
        self._encoder = layer.bert_layer.model
        self._project = getattr(layer, "projection", nn.Identity())
        # Two matrices of their own: the quantiser does not see through the split of one.
        inner = marker.out_project.inner
        of_start_FD, of_end_FD = inner.weight.detach().chunk(2, dim=1)
        self._start = nn.Sequential(marker.project_start, nn.ReLU(), _linear(of_start_FD, None))
        self._end = nn.Sequential(marker.project_end, nn.ReLU(), _linear(of_end_FD, inner.bias))

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_of_word: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        states_BTD = self._encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        words_WD = self._project(states_BTD.flatten(0, 1)[token_of_word])
        return self._start(words_WD), self._end(words_WD)


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight, layer.bias = nn.Parameter(weight.contiguous()), bias  # type: ignore[assignment]
    return layer


class _Labels(nn.Module):
    def __init__(self, student: Student) -> None:
        super().__init__()
        self._layer, self._network = student.token_rep_layer, student.prompt_rep_layer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        prototypes: torch.Tensor = self._network(self._layer.labels(input_ids, attention_mask))
        return prototypes


class _Scores(nn.Module):
    """`SpanMarker.score` without a loop bound that depends on the number of words."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self._outer, self._max_width = student.marker.out_project.outer, student.marker.max_width

    def forward(self, starts: torch.Tensor, ends: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
        folded_FC = (prototypes @ self._outer.weight).T
        ends = functional.pad(ends, (0, 0, 0, self._max_width - 1))
        n_words = starts.shape[0]
        logits = [(starts + ends[k : k + n_words]).relu() @ folded_FC for k in range(self._max_width)]
        return torch.stack(logits) + prototypes @ self._outer.bias


class _Spans(nn.Module):
    def __init__(self, student: Student) -> None:
        super().__init__()
        self._outer = student.marker.out_project.outer

    def forward(self, starts: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        represented: torch.Tensor = self._outer((starts + ends).relu())
        return represented
