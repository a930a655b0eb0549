"""Leaks between splits: the same document id, or the same text, in two of them.

Texts are compared after Unicode NFKC, case folding and removal of all blanks, so that another tokenisation of a text
is the same text. Very short texts ("RESULTS .", "1 .") recur by nature: they are counted apart.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from kogner_ray.data.spans import Document
from kogner_ray.errors import DataError, quoted

_N_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class SplitLeak:
    """What two splits share.

    Attributes:
        first: name of one split.
        second: name of the other.
        n_same_id: documents of `second` whose id is in `first`.
        n_same_text: documents of `second` whose text is in `first`.
        n_short: the same for texts too short to count as a leak.
        n_documents: documents of `second`.
        examples: `(id in first, id in second, start of the text)` of the first few with the same text or id.
    """

    first: str
    second: str
    n_same_id: int
    n_same_text: int
    n_short: int
    n_documents: int
    examples: tuple[tuple[str, str, str], ...]

    def __str__(self) -> str:
        """One line, with the first example."""
        line = (
            f"{self.second} shares {self.n_same_text} texts and {self.n_same_id} ids with {self.first} "
            f"(of {self.n_documents} documents)"
        )
        if not self.examples:
            return line
        there, here, text = self.examples[0]
        return f"{line}, such as {here!r} = {there!r}: {quoted(text)}"


@dataclass(frozen=True, slots=True)
class LeakReport:
    """Leaks of every pair of splits, pairs in the order of the splits."""

    pairs: tuple[SplitLeak, ...]

    @property
    def leaks(self) -> tuple[SplitLeak, ...]:
        """The pairs that share an id or a text that is not short."""
        return tuple(pair for pair in self.pairs if pair.n_same_id or pair.n_same_text)

    def require_none(self) -> None:
        """Raise `DataError` with every leaking pair, if there is one."""
        if self.leaks:
            raise DataError("expected splits without common documents: " + "; ".join(map(str, self.leaks)))


class _Fingerprint(NamedTuple):
    id: str
    digest: bytes
    is_short: bool
    start: str


def find_leaks(splits: Mapping[str, Iterable[Document]], *, min_words: int = 5, strict: bool = False) -> LeakReport:
    """Compare every pair of splits.

    Args:
        splits: the documents of each split; read once, kept as digests.
        min_words: texts of fewer blank-separated words are short.
        strict: raise on a leak instead of only reporting it.

    Raises:
        DataError: `strict`, and two splits share a document; names splits, counts and an example.
    """
    prints = {name: [_fingerprint(d, min_words) for d in documents] for name, documents in splits.items()}
    report = LeakReport(tuple(_compare(one, other) for one, other in combinations(prints.items(), 2)))
    if strict:
        report.require_none()
    return report


def _fingerprint(document: Document, min_words: int) -> _Fingerprint:
    normal = "".join(unicodedata.normalize("NFKC", document.text).casefold().split())
    digest = hashlib.blake2b(normal.encode(errors="surrogatepass"), digest_size=16).digest()
    return _Fingerprint(document.id, digest, len(document.text.split()) < min_words, document.text[:60])


def _compare(one: tuple[str, list[_Fingerprint]], other: tuple[str, list[_Fingerprint]]) -> SplitLeak:
    (first, there), (second, here) = one, other
    id_of = {item.digest: item.id for item in there}
    ids = {item.id for item in there}
    same_text = [item for item in here if item.digest in id_of]
    same_id = [item for item in here if item.id in ids]
    long = [item for item in same_text if not item.is_short]
    examples = [(id_of[item.digest], item.id, item.start) for item in long[:_N_EXAMPLES]]
    examples += [(item.id, item.id, item.start) for item in same_id[: _N_EXAMPLES - len(examples)]]
    return SplitLeak(first, second, len(same_id), len(long), len(same_text) - len(long), len(here), tuple(examples))
