"""From characters to encoder input: words, subtokens, and windows that fit the encoder.

A window is a run of whole words with the special tokens around it. Texts that fit are one window; longer ones become
several, cut between words. Nothing is truncated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np
import numpy.typing as npt

from kogner_ray.data.words import Words, split_words
from kogner_ray.errors import ConfigError

IntArray = npt.NDArray[np.int32]

_REMEMBERED = 2_000_000  # characters of words
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class TokenisedText:
    """A text as words and subtokens.

    Attributes:
        words: its words with character offsets.
        ids: subtoken ids of all words, without special tokens.
        bounds: (n_words + 1,) first subtoken of each word, then the number of subtokens.
    """

    words: Words
    ids: IntArray
    bounds: IntArray


@dataclass(frozen=True)
class Window:
    """Words `first_word .. first_word + n_words - 1` of a text, ready for the encoder.

    Attributes:
        first_word: index of the first word within its text.
        input_ids: (T,) subtokens with special tokens.
        first_tokens: (n_words,) position in `input_ids` of each word's first subtoken.
    """

    first_word: int
    input_ids: IntArray
    first_tokens: IntArray

    @property
    def n_words(self) -> int:
        """Number of words."""
        return len(self.first_tokens)

    @property
    def n_tokens(self) -> int:
        """Number of subtokens, special ones included."""
        return len(self.input_ids)


class Windower:
    """Turns texts into windows for one tokenizer."""

    def __init__(self, tokenizer: Any, *, max_tokens: int) -> None:
        """`max_tokens`: longest window, special tokens included.

        Raises:
            ConfigError: the tokenizer is not a fast one, or `max_tokens` is more than the encoder can take.
        """
        if not tokenizer.is_fast:
            raise ConfigError("the encoder's tokenizer has no fast version; words cannot be traced to subtokens")
        if max_tokens > tokenizer.model_max_length:
            raise ConfigError(f"max_tokens: at most {tokenizer.model_max_length} for this encoder, got {max_tokens}")
        self._tokenizer = tokenizer
        self._ids_of: dict[str, Sequence[int]] = {}
        self._n_remembered = 0
        self._prefix, self._suffix = _special_tokens(tokenizer)
        self.capacity = max_tokens - len(self._prefix) - len(self._suffix)

    def tokenise(self, texts: Sequence[str]) -> list[TokenisedText]:
        """Words and subtokens of each text; a word without a subtoken of its own borrows the one before it."""
        # A lone half of a surrogate pair (JSON can hold one) is no Unicode: tokenizers refuse it.
        words = [split_words(_SURROGATE.sub("\ufffd", text)) for text in texts]
        if not words:
            return []
        ids_of = self._subtokens({word for text in words for word in text.texts})
        return [_tokenised(text, [ids_of[word] for word in text.texts]) for text in words]

    def _subtokens(self, words: set[str]) -> Mapping[str, Sequence[int]]:
        """Subtoken ids of (at least) these words. Tokenizers split each word by itself; what they say is remembered."""
        ids_of = self._ids_of
        new = [word for word in words if word not in ids_of]
        if new:
            encoded = self._tokenizer(
                [[word] for word in new],
                is_split_into_words=True,
                add_special_tokens=False,
                truncation=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )
            ids_of.update(zip(new, encoded["input_ids"], strict=True))
            self._n_remembered += sum(map(len, new))
        if self._n_remembered > _REMEMBERED:
            self._ids_of, self._n_remembered = {}, 0
        return ids_of

    def window(self, text: TokenisedText, first_word: int, end_word: int) -> Window:
        """The window of words `[first_word, end_word)`; a single word beyond capacity keeps its first subtokens."""
        low = int(text.bounds[first_word])
        ids = text.ids[low : min(int(text.bounds[end_word]), low + self.capacity)]
        first = text.bounds[first_word:end_word] - low + len(self._prefix)
        n_tokens = len(self._prefix) + len(ids) + len(self._suffix)
        # A word that the tokenizer drops (a lone control character) has no subtoken: point at the one before it.
        first = np.minimum(first, max(n_tokens - len(self._suffix) - 1, 0)).astype(np.int32)
        return Window(first_word, np.concatenate([self._prefix, ids, self._suffix]), first)

    def end_of_window(self, text: TokenisedText, first_word: int) -> int:
        """One past the last word that fits a window starting at `first_word` (at least one word)."""
        limit = int(text.bounds[first_word]) + self.capacity
        end = int(np.searchsorted(text.bounds, limit, side="right")) - 1
        return min(max(end, first_word + 1), len(text.words))


def _tokenised(words: Words, ids_of_words: list[Sequence[int]]) -> TokenisedText:
    ids = np.fromiter(chain.from_iterable(ids_of_words), dtype=np.int32)
    bounds = np.fromiter(accumulate(map(len, ids_of_words), initial=0), dtype=np.int32, count=len(words) + 1)
    return TokenisedText(words, ids, bounds)


def _special_tokens(tokenizer: Any) -> tuple[IntArray, IntArray]:
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    dressed = tokenizer("a")["input_ids"]
    at = next(i for i in range(len(dressed)) if dressed[i : i + len(bare)] == bare)
    return np.asarray(dressed[:at], dtype=np.int32), np.asarray(dressed[at + len(bare) :], dtype=np.int32)
