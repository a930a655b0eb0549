"""Answers of an instruction model: read, aligned and scored; the whole script with a tiny model of random weights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from small_corpus import save_encoder
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from kogner_ray.data.spans import Document, Entity

FOLDER = Path(__file__).parents[2] / "benchmarks" / "kg_gain"
sys.path[:0] = [str(FOLDER.parent), str(FOLDER)]
llm = pytest.importorskip("llm")

TYPES = {"Chemical": "drug", "Disease": "disease"}


@pytest.mark.parametrize(
    ("answer", "found", "lost"),
    [
        ('[{"text": "aspirin", "type": "Chemical"}]', [("aspirin", "Chemical")], {}),
        ('Sure!\n```json\n[{"text": "a", "type": "b"}]\n```\nAny [more]?', [("a", "b")], {}),
        ("[]", [], {}),
        ("There are none.", [], {"unreadable": 1}),
        ('[{"text": "a", "type": "b"}, {"text": "c", "ty', [("a", "b")], {}),  # cut at its longest
        ('[{"text": "a", "type": "b"},]', [("a", "b")], {}),
        ('[{"text": "a", "type": "b"}, {\'text\': "c"}]', [("a", "b")], {"unreadable": 1}),
        ('[{"text": "a"}, "b", {"text": 3, "type": "c"}, {"text": "d", "type": "e"}]', [("d", "e")], {"unreadable": 3}),
        ('{"entities": [{"text": "β-blocker", "type": "Chemical"}]}', [("β-blocker", "Chemical")], {}),
    ],
)
def test_what_stands_in_an_answer_is_read(answer: str, found: list[tuple[str, str]], lost: dict[str, int]) -> None:
    counted: Counter[str] = Counter()
    assert llm.mentions(answer, counted) == found
    assert counted == lost


def test_mentions_take_their_places_from_left_to_right() -> None:
    text = "Gout and goutlike gout; (S)-warfarin."
    counted: Counter[str] = Counter()
    asked = [("gout", "disease "), ("gout", "Disease"), ("(S)-warfarin", "CHEMICAL"), ("gout", "Disease")]
    asked += [("asthma", "Disease"), ("", "Disease"), ("Gout", "Gene"), ("goutl", "Disease")]
    spans = llm.aligned(text, asked, TYPES, counted)
    assert {(text[i:j], type_) for i, j, type_ in spans} == {
        ("Gout", "Disease"),
        ("gout", "Disease"),
        ("(S)-warfarin", "Chemical"),
    }
    assert (18, 22, "Disease") in spans
    assert counted == {"not in the sentence": 4, "of another type": 1}


def test_scores_are_strict() -> None:
    document = Document("d", "aspirin for gout", (Entity(0, 7, "Chemical"), Entity(12, 16, "Disease")))
    right, wrong = '[{"text": "aspirin", "type": "Chemical"}]', '[{"text": "for gout", "type": "Disease"}]'
    counts, lost = llm.scored([document, document], TYPES, [right, wrong])
    assert (counts.n_correct, counts.n_predicted, counts.n_gold) == (1, 2, 4)
    assert not lost


def test_the_script_with_a_tiny_model_and_without_one(shared: Path, tmp_path: Path) -> None:
    save_encoder(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").unlink()
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=1024, n_embd=16, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "model")
    report = tmp_path / "REPORT.md"
    command = [sys.executable, str(FOLDER / "llm.py"), "--report", str(report), "--new-tokens", "8", "--limit", "3"]
    run = {"check": True, "capture_output": True, "env": {**os.environ, "KOGNER_SHARED": str(shared)}}
    subprocess.run([*command, "--corpora", "NCBI-disease", "--model", str(tmp_path / "model")], **run)
    assert "| NCBI-disease, 3 sentences | 0.0 | 0.0 | 0.0 | 3 unreadable |" in report.read_text()
    subprocess.run(command, **run)
    assert "Not run: no such model" in report.read_text()
    assert "3 sentences" not in report.read_text()
