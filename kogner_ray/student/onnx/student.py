"""The student as onnxruntime runs it: a `Backend` beside `FastStudent`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kogner_ray.student.backend import TYPES_A_BLOCK, Scorer, above_thresholds
from kogner_ray.student.batch import Batch
from kogner_ray.student.decode import Found
from kogner_ray.student.labels import LabelPrototypes
from kogner_ray.student.model import StudentConfig
from kogner_ray.student.onnx.runtime import Session
from kogner_ray.student.spans import SpanHalves


class OnnxStudent:
    """Graphs of a folder, on the CPU."""

    def __init__(self, folder: Path, config: StudentConfig, labels_tokenizer: Any) -> None:
        """Load the graphs of `folder`.

        Raises:
            ConfigError: onnxruntime is not installed.
        """
        self.config, self.device = config, torch.device("cpu")
        self.side_by_side, self.tokens_a_batch = False, 2048  # onnxruntime has threads of its own
        names = ("text.onnx", "labels.onnx", "scores.onnx", "spans.onnx")
        self._text, labels, self._scores, self._spans = (Session(folder / name) for name in names)
        self._labels = LabelPrototypes(lambda ids_CT, mask_CT: labels(ids_CT, mask_CT)[0], labels_tokenizer)

    def fold(self, label_texts: Sequence[str]) -> list[Scorer]:
        """The types of label texts, ready to be scored; each one's prototype is computed once and kept.

        Raises:
            ConfigError: a label text longer than the label encoder can read.
        """
        return [partial(self._logits, block_CD) for block_CD in self._labels(label_texts).split(TYPES_A_BLOCK)]

    def _logits(self, prototypes_CD: torch.Tensor, halves: SpanHalves) -> torch.Tensor:
        return self._scores(halves.starts_WF, halves.ends_WF, prototypes_CD)[0]

    def halves(self, batch: Batch) -> SpanHalves:
        """What each word adds to the spans it starts and to those it ends."""
        return SpanHalves(*self._text(batch.input_ids_BT, batch.attention_mask_BT, batch.token_of_word_W))

    def find(self, halves: SpanHalves, batch: Batch, types: Sequence[Scorer], thresholds: Sequence[float]) -> Found:
        """Spans within one text whose probability is above their type's threshold."""
        return above_thresholds(halves, batch, types, thresholds, max_width=self.config.max_width)

    def represent(self, halves: SpanHalves, found: Found) -> torch.Tensor:
        """S_ij of found spans, (S, D)."""
        starts, ends = torch.from_numpy(found.starts), torch.from_numpy(found.ends)
        return self._spans(halves.starts_WF[starts], halves.ends_WF[ends])[0]
