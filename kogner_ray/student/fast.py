"""The student ready for tagging: the same scores in fp32, several times faster; bf16 and int8 where asked for.

Weights are packed (`dense`, `fused`), the span head's halves are computed a word and its last layer folded into the
prototypes (`spans`), prototypes are cached, and scores meet their thresholds where they are computed.

Dimensions: W words, D hidden, F inner, C types, K widths, S spans.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kogner_ray.student.batch import Batch
from kogner_ray.student.decode import Found
from kogner_ray.student.dense import Dense, Precision, check_precision
from kogner_ray.student.fused import word_encoder
from kogner_ray.student.model import Student
from kogner_ray.student.spans import Projection, SpanHalves, span_mask

_CACHED_LABELS = 20_000
_LABELS_A_BATCH = 64
_TYPES_A_BLOCK = 512


@dataclass(frozen=True)
class FoldedTypes:
    """Prototypes behind the span head's last layer: a span's logits are `weights_CF(inner) + bias_C`."""

    weights_CF: Dense
    bias_C: torch.Tensor


class FastStudent:
    """A student's weights, packed; once the student is trained further, make another."""

    def __init__(self, student: Student, labels_tokenizer: Any, *, precision: Precision = "fp32") -> None:
        """Pack `student` on the device where it is.

        Raises:
            ConfigError: no kernels for `precision` there.
        """
        check_precision(precision, student.device)
        self.config, self.device, self.precision = student.config, student.device, precision
        layer, marker = student.token_rep_layer, student.marker
        self._encode = word_encoder(layer.bert_layer.model, precision=precision)
        self._project = _dense(getattr(layer, "projection", None), precision)
        self._start, self._end = (_pair(p, precision) for p in (marker.project_start, marker.project_end))
        inner, self._outer = marker.out_project.inner, marker.out_project.outer
        of_start_FD, of_end_FD = inner.weight.chunk(2, dim=1)
        self._of_start = Dense(of_start_FD, None, precision=precision)
        self._of_end = Dense(of_end_FD, inner.bias, precision=precision)
        self._represent = Dense.of(self._outer, precision="fp32")
        self._labels = _Labels(student, labels_tokenizer)

    def halves(self, batch: Batch) -> SpanHalves:
        """What each word adds to the spans it starts and to those it ends, see `SpanMarker.halves`."""
        words_WD = self._encode(batch)
        if self._project is not None:
            words_WD = self._project(words_WD)
        return SpanHalves(self._of_start(self._start(words_WD)), self._of_end(self._end(words_WD)))

    def fold(self, label_texts: Sequence[str]) -> list[FoldedTypes]:
        """The types of label texts, ready to be scored; each one's prototype is computed once and kept.

        Raises:
            ConfigError: a label text longer than the label encoder can read.
        """
        prototypes_CD = self._labels.prototypes(label_texts)
        # In blocks, so that thousands of types do not need a (K, W, C) tensor of gigabytes.
        return [self._folded(block_CD) for block_CD in prototypes_CD.split(_TYPES_A_BLOCK)]

    def _folded(self, prototypes_CD: torch.Tensor) -> FoldedTypes:
        scored_in: Precision = "bf16" if self.precision == "bf16" else "fp32"
        weights_CF = Dense(prototypes_CD @ self._outer.weight, None, precision=scored_in)
        return FoldedTypes(weights_CF, prototypes_CD @ self._outer.bias)

    def find(
        self, halves: SpanHalves, batch: Batch, types: Sequence[FoldedTypes], thresholds: Sequence[float]
    ) -> Found:
        """Spans within one text whose probability is above their type's threshold."""
        limits_C = torch.tensor([_logit(p) for p in thresholds], device=self.device)
        mask_KW1 = span_mask(batch.text_of_word_W, self.config.max_width).unsqueeze(2)
        parts, first = [], 0
        for block in types:
            logits_KWC = self._logits(halves, block)
            last = first + logits_KWC.shape[2]
            widths, starts, kinds = ((logits_KWC > limits_C[first:last]) & mask_KW1).nonzero(as_tuple=True)
            parts.append((widths, starts, kinds + first, logits_KWC[widths, starts, kinds]))
            first = last
        widths, starts, kinds, logits = (torch.cat(columns).cpu() for columns in zip(*parts, strict=True))
        return Found(starts.numpy(), (starts + widths).numpy(), kinds.numpy(), logits.sigmoid().numpy())

    def _logits(self, halves: SpanHalves, types: FoldedTypes) -> torch.Tensor:
        """(K, W, C) in fp32; see `SpanMarker.score`."""
        max_width, n_words = self.config.max_width, halves.starts_WF.shape[0]
        logits_KWC = torch.zeros(max_width, n_words, len(types.bias_C), device=self.device)
        for k in range(min(max_width, n_words)):
            inner_WF = torch.add(halves.starts_WF[: n_words - k], halves.ends_WF[k:]).relu_()
            logits_KWC[k, : n_words - k] = types.weights_CF(inner_WF)
        return logits_KWC.add_(types.bias_C)

    def represent(self, halves: SpanHalves, found: Found) -> torch.Tensor:
        """S_ij of found spans, (S, D) in fp32."""
        starts, ends = (torch.from_numpy(words).to(self.device) for words in (found.starts, found.ends))
        hidden_SF: torch.Tensor = (halves.starts_WF[starts] + halves.ends_WF[ends]).relu_().float()
        represented: torch.Tensor = self._represent(hidden_SF)
        return represented


class _Labels:
    """Prototypes of label texts, the latest used kept."""

    def __init__(self, student: Student, tokenizer: Any) -> None:
        self._student, self._tokenizer = student, tokenizer
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()

    def prototypes(self, label_texts: Sequence[str]) -> torch.Tensor:
        new = [text for text in dict.fromkeys(label_texts) if text not in self._kept]
        for group in _of_equal_length(new, self._tokenizer):
            self._kept.update(zip(group, self._encoded(group), strict=True))
        found_CD = torch.stack([self._kept[text] for text in label_texts])
        for text in label_texts:
            self._kept.move_to_end(text)
        while len(self._kept) > _CACHED_LABELS:
            self._kept.popitem(last=False)
        return found_CD

    def _encoded(self, label_texts: list[str]) -> torch.Tensor:
        student = self._student
        was_training = student.training
        student.eval()
        try:
            return student.prototypes(student.encode_labels(label_texts, self._tokenizer))
        finally:
            student.train(was_training)


def _of_equal_length(label_texts: list[str], tokenizer: Any) -> Iterator[list[str]]:
    """Groups without padding: which other types are asked for does not touch a type's prototype."""
    groups: dict[int, list[str]] = {}
    for text in label_texts:
        groups.setdefault(len(tokenizer(text, verbose=False)["input_ids"]), []).append(text)
    for group in groups.values():
        yield from (group[i : i + _LABELS_A_BATCH] for i in range(0, len(group), _LABELS_A_BATCH))


def _pair(projection: Projection, precision: Precision) -> nn.Sequential:
    """Both layers, with the ReLU that follows each."""
    layers = (projection.inner, projection.outer)
    return nn.Sequential(*(Dense.of(layer, precision=precision, activation="relu") for layer in layers))


def _dense(layer: nn.Linear | None, precision: Precision) -> Dense | None:
    return None if layer is None else Dense.of(layer, precision=precision)


def _logit(probability: float) -> float:
    if probability in (0, 1):
        return math.inf if probability else -math.inf
    return math.log(probability / (1 - probability))
