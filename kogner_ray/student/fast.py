"""The student ready for tagging: the same scores in fp32, several times faster; bf16 and int8 where asked for.

Weights are packed (`dense`, `fused`), the span head's halves are computed a word and its last layer folded into the
prototypes (`spans`), prototypes are cached, and scores meet their thresholds where they are computed.

Dimensions: W words, D hidden, F inner, C types, K widths, S spans.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from kogner_ray.student.batch import Batch
from kogner_ray.student.decode import Found
from kogner_ray.student.dense import Dense, Precision, check_precision, dtype_of
from kogner_ray.student.fused import word_encoder
from kogner_ray.student.model import Student
from kogner_ray.student.spans import Projection, SpanHalves, span_mask

_CACHED_LABELS = 20_000
_LABELS_A_BATCH = 64
_TYPES_A_BLOCK = 512


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

    def prototypes(self, label_texts: Sequence[str]) -> torch.Tensor:
        """Type prototypes n_c of label texts, (C, D) in fp32; each is computed once.

        Raises:
            ConfigError: a label text longer than the label encoder can read.
        """
        return self._labels.prototypes(label_texts)

    def find(self, halves: SpanHalves, batch: Batch, prototypes_CD: torch.Tensor, thresholds: Sequence[float]) -> Found:
        """Spans within one text whose probability is above their type's threshold."""
        limits_C = torch.tensor([_logit(p) for p in thresholds], device=self.device)
        mask_KW = span_mask(batch.text_of_word_W, self.config.max_width)
        parts = list(self._hits(halves, mask_KW, prototypes_CD, limits_C))
        widths, starts, types, logits = (torch.cat(columns).cpu() for columns in zip(*parts, strict=True))
        ends = (starts + widths).numpy()
        return Found(starts.numpy(), ends, types.numpy(), logits.sigmoid().numpy())

    def _hits(
        self, halves: SpanHalves, mask_KW: torch.Tensor, prototypes_CD: torch.Tensor, limits_C: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, ...]]:
        # In blocks of types, so that thousands of them do not need a (K, W, C) block of gigabytes.
        for first in range(0, len(limits_C), _TYPES_A_BLOCK):
            block = slice(first, first + _TYPES_A_BLOCK)
            logits_KWC = self._logits(halves, prototypes_CD[block], mask_KW.shape[0])
            above_KWC = (logits_KWC > limits_C[block]) & mask_KW.unsqueeze(2)
            widths, starts, types = above_KWC.nonzero(as_tuple=True)
            yield widths, starts, types + first, logits_KWC[widths, starts, types]

    def _logits(self, halves: SpanHalves, prototypes_CD: torch.Tensor, max_width: int) -> torch.Tensor:
        """(K, W, C) in fp32; see `SpanMarker.score`."""
        dtype, n_words = dtype_of(self.precision), halves.starts_WF.shape[0]
        folded_FC = (prototypes_CD @ self._outer.weight).to(dtype).T.contiguous()
        logits_KWC = torch.zeros(max_width, n_words, len(prototypes_CD), device=self.device)
        for k in range(min(max_width, n_words)):
            inner = torch.add(halves.starts_WF[: n_words - k], halves.ends_WF[k:]).relu_()
            logits_KWC[k, : n_words - k] = inner @ folded_FC
        return logits_KWC + prototypes_CD @ self._outer.bias

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
