"""Trigram neighbours against a plain computation of the same cosine."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.kg.index.grams import LEAST_COSINE, GramIndex
from kogner_ray.kg.index.strings import Strings

NAMES = [
    "nephrotoxicity",
    "hepatotoxicity",
    "neurotoxicity",
    "renal failure",
    "heart failure",
    "aspirin",
    "α tocopherol",
]


def grams(name: str) -> set[bytes]:
    data = f" {name} ".encode()
    return {data[i : i + 3] for i in range(len(data) - 2)}


def cosine(mention: str, name: str) -> float:
    counts = Counter(gram for other in NAMES for gram in grams(other))
    weights = {gram: math.log1p(len(NAMES) / n) ** 2 for gram, n in counts.items()}
    dot = sum(weights[gram] for gram in grams(mention) & grams(name))
    lengths = [math.sqrt(sum(weights.get(gram, 0) for gram in grams(text))) for text in (mention, name)]
    return dot / (lengths[0] * lengths[1]) if dot else 0.0


@pytest.mark.parametrize("mention", ["nephrotoxic", "hepatotoxic", "aspirins", "cardiac failure", "tocopherol", *NAMES])
def test_cosines_are_those_of_idf_weighted_trigrams(mention: str) -> None:
    index = GramIndex.build(Strings.of(NAMES))
    owners, names, cosines = index.nearest([mention], most=10)
    expected = {i: cosine(mention, name) for i, name in enumerate(NAMES) if cosine(mention, name) >= LEAST_COSINE}
    assert dict(zip(names.tolist(), cosines.tolist(), strict=True)) == pytest.approx(expected, abs=1e-5)
    assert cosines.tolist() == sorted(cosines.tolist(), reverse=True) and not owners.any()


def test_a_mention_does_not_depend_on_those_beside_it() -> None:
    index = GramIndex.build(Strings.of(NAMES))
    together = index.nearest(["nephrotoxic", "", "aspirine"], most=2)
    alone = [index.nearest([mention], most=2) for mention in ("nephrotoxic", "aspirine")]
    assert together[0].tolist() == [0, 0, 2][: len(together[0])]
    np.testing.assert_array_equal(together[1], np.concatenate([found[1] for found in alone]))
    np.testing.assert_array_equal(together[2], np.concatenate([found[2] for found in alone]))


def test_trigrams_of_too_many_names_are_left_out() -> None:
    index = GramIndex.build(Strings.of(["xxa", "xxb", "xxc", "xxd"]), most_names=3)
    _, names, cosines = index.nearest(["xxd"], most=4)
    assert names.tolist() == [3] and cosines.tolist() == [1]
    assert len(index.nearest(["xx"], most=4)[1]) == 0
    assert len(GramIndex.build(Strings.of([])).nearest(["xx"], most=4)[1]) == 0


@settings(max_examples=30)
@given(st.lists(st.text(max_size=12), max_size=8))
def test_strings_come_back(strings: list[str]) -> None:
    kept = Strings.of(strings)
    expected = [string.encode("utf-8", "replace").decode() for string in strings]
    assert [kept[i] for i in range(len(kept))] == expected
