from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.encoder import load_encoder, load_tokenizer
from kogner_ray.teacher.text import encode_texts, entity_texts, length_batches, window


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return load_tokenizer("embedded")


def _nodes(*rows: tuple[str, list[str] | None, str | None]) -> pa.Table:
    names, synonyms, descriptions = zip(*rows, strict=True)
    return pa.table({"name": names, "synonyms": pa.array(synonyms, pa.list_(pa.string())), "description": descriptions})


def test_an_entity_is_its_name_synonyms_and_description(tokenizer: object) -> None:
    nodes = _nodes(("aspirin", ["ASA", "Aspirin", "", "acetylsalicylic acid"], "An analgesic."), ("TP53", None, None))
    texts = entity_texts(nodes, tokenizer, max_tokens=64)
    assert texts.texts == ["aspirin; ASA; acetylsalicylic acid. An analgesic.", "TP53"]
    assert (texts.n_synonyms_left_out, texts.n_cut) == (0, 0)


def test_what_does_not_fit_is_counted(tokenizer: object) -> None:
    many = [f"synonym number {i}" for i in range(40)]
    texts = entity_texts(_nodes(("a", many, "b"), ("c " * 50, ["d"], "e")), tokenizer, max_tokens=32)
    kept = texts.texts[0].count("synonym")
    assert 0 < kept < 40
    assert texts.n_synonyms_left_out == 40 - kept + 1
    assert texts.lengths[0] <= 32 < texts.lengths[1]
    assert texts.n_cut == 1


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=20), st.lists(st.text(max_size=30), max_size=8), st.text(max_size=40)),
        min_size=1,
        max_size=6,
    )
)
def test_any_text_fits_or_is_counted(rows: list[tuple[str, list[str], str]]) -> None:
    texts = entity_texts(_nodes(*rows), load_tokenizer("embedded"), max_tokens=24)
    assert len(texts.texts) == len(rows)
    assert texts.n_cut == (texts.lengths > 24).sum()
    bare = entity_texts(_nodes(*[(n, [], d) for n, _, d in rows]), load_tokenizer("embedded"), max_tokens=24)
    # synonyms never push a text over the window
    assert ((texts.lengths <= 24) | (bare.lengths > 24)).all()


@given(st.lists(st.integers(1, 200), max_size=60), st.integers(50, 500))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(length_batches(np.array(lengths, dtype=np.int64), batch_tokens=budget))
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= budget for b in batches)


def test_padding_and_bf16_change_next_to_nothing(tokenizer: object) -> None:
    encoder = load_encoder("embedded").eval()
    texts = ["aspirin", "a much longer description of a protein kinase that needs padding beside the first one"]
    together = encode_texts(encoder, tokenizer, texts, max_tokens=64)
    apart = torch.cat([encode_texts(encoder, tokenizer, [text], max_tokens=64) for text in texts])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(2))
    rough = encode_texts(encoder, tokenizer, texts, max_tokens=64, bf16=True)
    assert (rough * together).sum(1).min() > 0.999


def test_the_window_is_the_encoders_own_or_narrower(tokenizer: object) -> None:
    assert window(tokenizer) == 512
    assert window(tokenizer, 100) == 100
    assert window(tokenizer, 10_000) == 512
