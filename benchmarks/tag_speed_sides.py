"""The two sides of `tag_speed`: our Tagger and the `gliner` package, with the same weights."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gliner
import torch

from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.student.dense import Precision
from kogner_ray.student.gliner import write_gliner
from kogner_ray.tagger import Tagger

Spans = list[set[tuple[int, int, str]]]

_BATCH_SIZES = (4, 8, 16, 32, 64)
_TRIAL = 160


class Ours:
    """Our Tagger in each precision."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._taggers: dict[Precision, Tagger] = {
            precision: Tagger(checkpoint, precision=precision) for precision in ("fp32", "bf16", "int8")
        }

    def tag(self, texts: Sequence[str], types: Sequence[str], precision: Precision) -> Spans:
        """Spans of each text."""
        named = {name: name for name in types}
        found = self._taggers[precision].tag(texts, named, link=False)
        return [{(e.start, e.end, e.type) for e in entities} for entities in found]

    def windows(self, texts: Sequence[str]) -> list[str]:
        """The texts of the windows that `texts` are cut into."""
        reader = self._taggers["fp32"]._reader
        tokenised = reader._windower.tokenise(texts)
        cut = []
        for piece in reader.pieces(tokenised):
            words, first = tokenised[piece.text].words, piece.window.first_word
            cut.append(texts[piece.text][words.starts[first] : words.ends[first + piece.window.n_words - 1]])
        return cut

    def tagger(self, precision: Precision) -> Tagger:
        """For a closer look."""
        return self._taggers[precision]


class Peer:
    """gliner's `inference` in each precision, at its best batch size, texts sorted by length."""

    def __init__(self, checkpoint: Checkpoint, folder: Path) -> None:
        warnings.filterwarnings("ignore", message="Resizing embeddings")
        write_gliner(checkpoint, folder)
        model = gliner.GLiNER.from_pretrained(str(folder), local_files_only=True).eval()
        model.config.max_len = 100_000  # windows are ours; it is to cut nothing off
        self._models: dict[str, Any] = {"fp32": model, "bf16": copy.deepcopy(model).to(torch.bfloat16)}
        self._models["int8"] = copy.deepcopy(model)
        self._models["int8"].quantize("int8")
        self._best: dict[tuple[str, int, int], int] = {}

    def tag(self, texts: Sequence[str], types: Sequence[str], precision: Precision) -> Spans:
        """Spans of each text."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index].split()))
        ordered = [texts[index] for index in order]
        found = self._inference(ordered, types, precision, self.batch_size(ordered, types, precision))
        spans: Spans = [set() for _ in texts]
        for index, entities in zip(order, found, strict=True):
            spans[index] = {(e["start"], e["end"], e["label"]) for e in entities}
        return spans

    def tag_at_once(self, texts: Sequence[str], types: Sequence[str], precision: Precision) -> None:
        """Tag texts in one batch."""
        self._inference(texts, types, precision, len(texts))

    def batch_size(self, texts: Sequence[str], types: Sequence[str], precision: Precision) -> int:
        """The fastest on a sample of `texts`; found once for texts and types of that number and length."""
        key = (precision, len(types), max(len(text.split()) for text in texts))
        if key not in self._best:
            sample = texts[:: max(1, len(texts) // _TRIAL)]
            seconds = {
                size: timed(lambda n=size: self._inference(sample, types, precision, n)) for size in _BATCH_SIZES
            }
            self._best[key] = min(seconds, key=lambda size: seconds[size])
        return self._best[key]

    def _inference(self, texts: Sequence[str], types: Sequence[str], precision: str, batch_size: int) -> Any:
        return self._models[precision].inference(list(texts), list(types), threshold=0.5, batch_size=batch_size)


def timed(action: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
