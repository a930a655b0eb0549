"""The student ready for tagging: the same scores in fp32, several times faster; bf16 and int8 where asked for.

Weights are packed (`dense`, `fused`), the span head's halves are computed a word and its last layer folded into the
prototypes (`spans`), prototypes are cached, and scores meet their thresholds where they are computed.

Dimensions: W words, D hidden, F inner, C types, K widths, S spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from kogner_ray.student.backend import TYPES_A_BLOCK, Scorer, above_thresholds
from kogner_ray.student.batch import Batch
from kogner_ray.student.decode import Found
from kogner_ray.student.dense import Dense, Precision, check_precision
from kogner_ray.student.fused import rounded, word_encoder
from kogner_ray.student.int8 import Int8Product, extent, quantised
from kogner_ray.student.labels import LabelPrototypes
from kogner_ray.student.model import Student
from kogner_ray.student.spans import Projection, SpanHalves


class FastStudent:
    """A student's weights, packed; once the student is trained further, make another."""

    def __init__(self, student: Student, labels_tokenizer: Any, *, precision: Precision = "fp32") -> None:
        """Pack `student` on the device where it is.

        Raises:
            ConfigError: no kernels for `precision` there.
        """
        check_precision(precision, student.device)
        self.config, self.device, self.precision = student.config, student.device, precision
        self.side_by_side = student.device.type == "cpu"
        self.tokens_a_batch = (2048 if precision == "bf16" else 1024) if self.side_by_side else 16384
        layer, marker = student.token_rep_layer, student.marker
        self._encode = word_encoder(layer.bert_layer.model, precision=precision)
        self._project = _dense(getattr(layer, "projection", None), precision)
        self._start, self._end = (_pair(p, precision) for p in (marker.project_start, marker.project_end))
        inner, self._outer = marker.out_project.inner, marker.out_project.outer
        of_start_FD, of_end_FD = inner.weight.chunk(2, dim=1)
        self._of_start = Dense(of_start_FD, None, precision=precision)
        self._of_end = Dense(of_end_FD, inner.bias, precision=precision)
        self._represent = Dense.of(self._outer, precision="fp32")
        self._labels = LabelPrototypes(_LabelEncoder(student), labels_tokenizer)

    def halves(self, batch: Batch) -> SpanHalves:
        """What each word adds to the spans it starts and to those it ends, see `SpanMarker.halves`.

        Rows beyond the batch's words mean nothing: they make the sizes fewer, and let the widest span end somewhere.
        """
        n_words = len(batch.token_of_word_W)
        n_more = rounded(n_words + self.config.max_width - 1) - n_words
        words_RD = self._encode(batch, functional.pad(batch.token_of_word_W, (0, n_more)))
        if self._project is not None:
            words_RD = self._project(words_RD)
        starts_RF, ends_RF = self._of_start(self._start(words_RD)), self._of_end(self._end(words_RD))
        return SpanHalves(starts_RF, ends_RF)

    def fold(self, label_texts: Sequence[str]) -> list[Scorer]:
        """The types of label texts, ready to be scored; each one's prototype is computed once and kept.

        Raises:
            ConfigError: a label text longer than the label encoder can read.
        """
        return [self._folded(block_CD) for block_CD in self._labels(label_texts).split(TYPES_A_BLOCK)]

    def _folded(self, prototypes_CD: torch.Tensor) -> Scorer:
        """The span head's last layer folded into the prototypes."""
        weight_CF, bias_C = prototypes_CD @ self._outer.weight, prototypes_CD @ self._outer.bias
        if self.precision == "int8":
            return partial(_int8_logits, Int8Product(weight_CF, None), bias_C, self.config.max_width)
        return partial(_logits, Dense(weight_CF, None, precision=self.precision), bias_C, self.config.max_width)

    def find(self, halves: SpanHalves, batch: Batch, types: Sequence[Scorer], thresholds: Sequence[float]) -> Found:
        """Spans within one text whose probability is above their type's threshold."""
        return above_thresholds(halves, batch, types, thresholds, max_width=self.config.max_width)

    def represent(self, halves: SpanHalves, found: Found) -> torch.Tensor:
        """S_ij of found spans, (S, D) in fp32."""
        starts, ends = (torch.from_numpy(words).to(self.device) for words in (found.starts, found.ends))
        hidden_SF: torch.Tensor = (halves.starts_WF[starts] + halves.ends_WF[ends]).relu_().float()
        represented: torch.Tensor = self._represent(hidden_SF)
        return represented


def _logits(weights: Dense, bias_C: torch.Tensor, max_width: int, halves: SpanHalves) -> torch.Tensor:
    """(K, R, C) in fp32, R words and some more; see `SpanMarker.score`."""
    n_rows = halves.starts_WF.shape[0] - max_width + 1
    logits_KRC = torch.empty(max_width, n_rows, len(bias_C), device=bias_C.device)
    for k in range(max_width):
        inner_RF = torch.add(halves.starts_WF[:n_rows], halves.ends_WF[k : k + n_rows]).relu_()
        logits_KRC[k] = weights(inner_RF)
    return logits_KRC.add_(bias_C)


def _int8_logits(weights: Int8Product, bias_C: torch.Tensor, max_width: int, halves: SpanHalves) -> torch.Tensor:
    """As `_logits`, from relu(a + b) = max(a, -b) + b: the maximum of two codes is the code of the maximum."""
    starts_RF, less_ends_RF = halves.starts_WF, halves.ends_WF.neg()
    within = extent(starts_RF, less_ends_RF)
    starts, less_ends = quantised(starts_RF, *within), quantised(less_ends_RF, *within)
    n_rows = starts_RF.shape[0] - max_width + 1
    ends_RC = bias_C - weights.of_codes(less_ends)
    logits_KRC = torch.empty(max_width, n_rows, len(bias_C))
    for k in range(max_width):
        greater_RF = torch.maximum(starts.values[:n_rows], less_ends.values[k : k + n_rows])
        torch.add(weights.of_codes(starts._replace(values=greater_RF)), ends_RC[k : k + n_rows], out=logits_KRC[k])
    return logits_KRC


class _LabelEncoder:
    """Prototypes of tokenised labels, computed without dropout by a student that stays in its mode."""

    def __init__(self, student: Student) -> None:
        self._student = student

    def __call__(self, input_ids_CT: torch.Tensor, attention_mask_CT: torch.Tensor) -> torch.Tensor:
        student = self._student
        was_training = student.training
        student.eval()
        try:
            tokens = (input_ids_CT.to(student.device), attention_mask_CT.to(student.device))
            return student.prototypes(student.token_rep_layer.labels(*tokens))
        finally:
            student.train(was_training)


def _pair(projection: Projection, precision: Precision) -> nn.Sequential:
    """Both layers, with the ReLU that follows each."""
    layers = (projection.inner, projection.outer)
    return nn.Sequential(*(Dense.of(layer, precision=precision, activation="relu") for layer in layers))


def _dense(layer: nn.Linear | None, precision: Precision) -> Dense | None:
    return None if layer is None else Dense.of(layer, precision=precision)
