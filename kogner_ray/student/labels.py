"""Type prototypes by label text, each computed once.

Dimensions: C labels of T subtokens, D hidden.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch

from kogner_ray.errors import ConfigError

LabelEncoder: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Prototypes (C, D) from subtokens and their mask, both (C, T)."""

_CACHED_LABELS = 20_000
_LABELS_A_BATCH = 64


class LabelPrototypes:
    """Prototypes of label texts, the latest used kept."""

    def __init__(self, encode: LabelEncoder, tokenizer: Any) -> None:
        self._encode, self._tokenizer = encode, tokenizer
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()

    def __call__(self, label_texts: Sequence[str]) -> torch.Tensor:
        """Prototypes n_c, (C, D) in fp32.

        Raises:
            ConfigError: a label text longer than the label encoder can read.
        """
        new = [text for text in dict.fromkeys(label_texts) if text not in self._kept]
        for group in _of_equal_length(new, self._tokenizer):
            self._kept.update(zip(group, self._encode(*tokenised_labels(group, self._tokenizer)), strict=True))
        found_CD = torch.stack([self._kept[text] for text in label_texts])
        for text in label_texts:
            self._kept.move_to_end(text)
        while len(self._kept) > _CACHED_LABELS:
            self._kept.popitem(last=False)
        return found_CD


def tokenised_labels(label_texts: Sequence[str], tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Subtokens and their mask, both (C, T).

    Raises:
        ConfigError: a label text longer than the label encoder can read.
    """
    tokens = tokenizer(list(label_texts), padding=True, truncation=False, return_tensors="pt")
    longest = tokens["input_ids"].shape[1]
    if longest > tokenizer.model_max_length:
        raise ConfigError(f"a type's label text has {longest} subtokens; at most {tokenizer.model_max_length} fit")
    return tokens["input_ids"], tokens["attention_mask"]


def _of_equal_length(label_texts: list[str], tokenizer: Any) -> Iterator[list[str]]:
    """Groups without padding: which other types are asked for does not touch a type's prototype."""
    groups: dict[int, list[str]] = {}
    for text in label_texts:
        groups.setdefault(len(tokenizer(text, verbose=False)["input_ids"]), []).append(text)
    for group in groups.values():
        yield from (group[i : i + _LABELS_A_BATCH] for i in range(0, len(group), _LABELS_A_BATCH))
