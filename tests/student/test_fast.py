"""The student packed for tagging gives what its plain forward gives; other precisions nearly so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpus import make_checkpoint, make_documents
from transformers import BertConfig, DistilBertConfig, PretrainedConfig

from kogner_ray.errors import ConfigError
from kogner_ray.student.batch import Batch, collate
from kogner_ray.student.checkpoint import Checkpoint, read_checkpoint
from kogner_ray.student.decode import Found
from kogner_ray.student.dense import Dense
from kogner_ray.student.fast import FastStudent
from kogner_ray.student.fused import FusedBert, PackedEncoder
from kogner_ray.student.model import StudentConfig, empty_student
from kogner_ray.student.spans import span_mask
from kogner_ray.student.windows import Windower
from kogner_ray.tagger import Tagger

LABELS = ["drug", "disease", "a rather long description of some other thing", "x"]


@pytest.fixture(scope="module")
def checkpoint(tiny_encoder: Path) -> Checkpoint:
    return make_checkpoint(tiny_encoder, seed=3)


def batch_of(checkpoint: Checkpoint, texts: list[str]) -> Batch:
    windower = Windower(checkpoint.tokenizer, max_tokens=checkpoint.student.config.max_tokens)
    tokenised = windower.tokenise(texts)
    return collate([windower.window(t, 0, windower.end_of_window(t, 0)) for t in tokenised], pad_id=0)


def plain(checkpoint: Checkpoint, batch: Batch, labels: list[str]) -> torch.Tensor:
    """Probabilities (K, W, C) of the student's own forward, 0 where a span leaves its text."""
    student = checkpoint.student
    logits_KWC = student(batch, student.encode_labels(labels, checkpoint.labels_tokenizer))
    mask_KW = span_mask(batch.text_of_word_W, student.config.max_width)
    return logits_KWC.sigmoid() * mask_KW.unsqueeze(2)


def dense_scores(found: Found, shape: torch.Size) -> torch.Tensor:
    scores = torch.zeros(shape)
    scores[found.ends - found.starts, found.starts, found.types] = torch.from_numpy(found.scores)
    return scores


def fast_scores(checkpoint: Checkpoint, batch: Batch, labels: list[str], **settings: Any) -> torch.Tensor:
    fast = FastStudent(checkpoint.student, checkpoint.labels_tokenizer, **settings)
    found = fast.find(fast.halves(batch), batch, fast.fold(labels), [0.0] * len(labels))
    shape = (checkpoint.student.config.max_width, len(batch.text_of_word_W), len(labels))
    return dense_scores(found, torch.Size(shape))


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    n_labels=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_scores_equal_the_plain_forward(checkpoint: Checkpoint, lengths: list[int], n_labels: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    words = ["aspirin", "gout", "of", "the", "metformin", "(", "thrombocytopenia", "type", "2"]
    texts = [" ".join(generator.choice(words, n)) for n in lengths]
    batch, labels = batch_of(checkpoint, texts), LABELS[:n_labels]
    with torch.inference_mode():
        expected = plain(checkpoint, batch, labels)
        torch.testing.assert_close(fast_scores(checkpoint, batch, labels), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("precision", "near"), [("bf16", 0.05), ("int8", 0.1)])
def test_other_precisions_are_near(checkpoint: Checkpoint, precision: str, near: float) -> None:
    batch = batch_of(checkpoint, [document.text for document in make_documents(20)])
    with torch.inference_mode():
        expected = plain(checkpoint, batch, LABELS)
        found = fast_scores(checkpoint, batch, LABELS, precision=precision)
    assert 0 < float((found - expected).abs().max()) < near


def test_thresholds_are_kept_a_type(checkpoint: Checkpoint) -> None:
    batch = batch_of(checkpoint, ["aspirin for gout", "metformin"])
    fast = FastStudent(checkpoint.student, checkpoint.labels_tokenizer)
    with torch.inference_mode():
        scores = plain(checkpoint, batch, LABELS[:2])
        middle = [float(scores[..., c][scores[..., c] > 0].median()) + 1e-5 for c in range(2)]
        found = fast.find(fast.halves(batch), batch, fast.fold(LABELS[:2]), middle)
        nothing = fast.find(fast.halves(batch), batch, fast.fold(LABELS[:2]), [1.0, 1.0])
    for c, limit in enumerate(middle):
        assert (found.types == c).sum() == int((scores[..., c] > limit).sum()) > 0
    assert not len(nothing.starts)


def test_a_prototype_is_computed_once_and_whatever_else_is_asked_for(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, n_encoded = FastStudent(checkpoint.student, checkpoint.labels_tokenizer), []
    original = checkpoint.student.token_rep_layer.labels

    def counted(ids_CT: torch.Tensor, mask_CT: torch.Tensor) -> torch.Tensor:
        n_encoded.append(len(ids_CT))
        return original(ids_CT, mask_CT)

    monkeypatch.setattr(checkpoint.student.token_rep_layer, "labels", counted)
    with torch.inference_mode():
        halves = fast.halves(batch_of(checkpoint, ["aspirin for gout"]))
        alone = fast.fold(["drug"])[0](halves)
        among = fast.fold([*LABELS, "drug two"])[0](halves)
        again = fast.fold(["x", "drug"])[0](halves)
    torch.testing.assert_close(among[..., :1], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(again[..., 1:], alone, atol=1e-5, rtol=0)
    assert sum(n_encoded) == len([*LABELS, "drug two"])


def test_ten_thousand_types_change_nothing_of_the_two_that_matter(tiny_checkpoint: Path) -> None:
    tagger, text = Tagger.load(tiny_checkpoint), "metformin reduces type 2 diabetes in most patients ."
    many = {name: f"{name} of no kind" for name in map("filler {}".format, range(9_998))}
    types = {"Chemical": "drug", **many, "Disease": "disease"}
    found = tagger.tag(text, types, per_type_thresholds=dict.fromkeys(many, 1.0))
    expected = tagger.tag(text)
    assert [(e.text, e.type) for e in found] == [(e.text, e.type) for e in expected] != []
    assert [e.score for e in found] == pytest.approx([e.score for e in expected], abs=1e-5)


@pytest.mark.parametrize(("kind", "expected"), [(BertConfig, FusedBert), (DistilBertConfig, PackedEncoder)])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_bert_is_fused_and_any_other_encoder_packed(
    tiny_encoder: Path, kind: type[PretrainedConfig], expected: type, precision: Any
) -> None:
    base = make_checkpoint(tiny_encoder)
    sizes = {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 64} if kind is DistilBertConfig else {}
    sizes = sizes or {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
    torch.manual_seed(1)
    encoder = kind(vocab_size=len(base.tokenizer), max_position_embeddings=128, **sizes)
    student = empty_student(StudentConfig(encoder="x", max_tokens=64), text=encoder, labels=encoder).eval()
    other = Checkpoint(student, base.tokenizer, base.tokenizer, {})
    batch = batch_of(other, ["aspirin for gout", "metformin", "in patients with gout for ten days"])
    with torch.inference_mode():
        fast = FastStudent(student, base.tokenizer, precision=precision)
        assert isinstance(fast._encode, expected)
        near = {"fp32": 1e-5, "bf16": 0.05, "int8": 0.1}[precision]
        scores = fast_scores(other, batch, LABELS, precision=precision)
        torch.testing.assert_close(scores, plain(other, batch, LABELS), atol=near, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_dense_is_the_linear_layer(precision: Any, activation: Any) -> None:
    torch.manual_seed(0)
    linear, x, residual = torch.nn.Linear(24, 40), torch.randn(3, 5, 24), torch.randn(3, 5, 40)
    after = {"none": lambda y: y, "relu": torch.relu, "gelu": torch.nn.functional.gelu}[activation]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    with torch.inference_mode():
        expected = after(linear(x))
        dense = Dense.of(linear, precision=precision, activation=activation)
        near = 1e-5 if precision == "fp32" else 0.05
        torch.testing.assert_close(dense(x.to(dtype)).float(), expected, atol=near, rtol=0)
        torch.testing.assert_close(
            dense(x.to(dtype), residual.to(dtype)).float(), expected + residual, atol=near, rtol=0.01
        )


def test_unknown_precisions_are_refused_by_name(tiny_checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="expected fp32, bf16 or int8, got 'fp8'"):
        Tagger(read_checkpoint(tiny_checkpoint), precision="fp8")  # type: ignore[arg-type]
