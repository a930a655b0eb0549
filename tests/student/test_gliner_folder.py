"""Checkpoints go to the gliner package and come from it, and find the same there and here."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from small_corpus import make_documents, teach

from kogner_ray.data.formats import read_documents
from kogner_ray.encoder import load_tokenizer
from kogner_ray.errors import CheckpointError, ConfigError
from kogner_ray.student.checkpoint import Checkpoint, read_checkpoint
from kogner_ray.student.gliner import CONFIG, read_gliner, write_gliner
from kogner_ray.student.model import StudentConfig, pretrained_student
from kogner_ray.tagger import TaggedEntity, Tagger

gliner = pytest.importorskip("gliner", reason="the peer is in the test extra")

TEXTS = [document.text for document in make_documents(20, seed=11)]
LABELS = ["drug", "disease"]


def same(found: list[list[TaggedEntity]], expected: list[list[dict[str, Any]]]) -> None:
    ours = [[(e.start, e.end, e.type) for e in entities] for entities in found]
    assert ours == [[(e["start"], e["end"], e["label"]) for e in entities] for entities in expected]
    scores = [entity.score for entities in found for entity in entities]
    assert scores == pytest.approx([entity["score"] for entities in expected for entity in entities], abs=1e-4)


@pytest.fixture(scope="module")
def exported(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gliner(read_checkpoint(tiny_checkpoint), tmp_path_factory.mktemp("gliner") / "model")


@pytest.fixture(scope="module")
def peer(exported: Path) -> Any:
    return gliner.GLiNER.from_pretrained(str(exported), local_files_only=True).eval()


def test_gliner_finds_the_same_in_what_we_wrote(exported: Path, peer: Any, tiny_checkpoint: Path) -> None:
    expected = peer.inference(TEXTS, LABELS, threshold=0.5)
    assert sum(map(len, expected)) > len(TEXTS)
    same(Tagger.load(tiny_checkpoint).tag(TEXTS, LABELS, link=False), expected)
    assert Tagger.load(exported).types == {"Chemical": "drug", "Disease": "disease"}


@pytest.mark.parametrize("safe", [True, False])
def test_we_find_the_same_in_what_gliner_wrote(peer: Any, tmp_path: Path, safe: bool) -> None:
    peer.save_pretrained(tmp_path / "model", safe_serialization=safe)
    tagger = Tagger.load(tmp_path / "model")
    same(tagger.tag(TEXTS, LABELS), peer.inference(TEXTS, LABELS, threshold=0.5))


@pytest.mark.slow
def test_500_sentences_of_bc5cdr_both_ways(mirror: Path, tmp_path: Path) -> None:
    """Heads on the embedded encoder, a minute old: unsure of much, so that scores lie everywhere."""
    (test,) = mirror.glob("cambridgeltl/*/*/data/BC5CDR-IOB/test.tsv")
    torch.manual_seed(0)
    student = pretrained_student(StudentConfig(dropout=0.0))
    student.token_rep_layer.requires_grad_(False)
    tokenizer, types = load_tokenizer("embedded"), ["Chemical", "Disease"]
    untaught = Checkpoint(student, tokenizer, tokenizer, dict(zip(types, types, strict=True)))
    checkpoint = teach(untaught, list(read_documents(test.with_name("train.tsv")))[:800], steps=60)
    texts = [document.text for document in list(read_documents(test))[:500]]

    folder = write_gliner(checkpoint, tmp_path / "ours")
    there = gliner.GLiNER.from_pretrained(str(folder), local_files_only=True).eval()
    expected = there.inference(texts, types, threshold=0.2, batch_size=16)
    assert sum(map(len, expected)) > 300
    same(Tagger(checkpoint).tag(texts, threshold=0.2), expected)
    there.save_pretrained(tmp_path / "theirs")
    same(Tagger.load(tmp_path / "theirs").tag(texts, types, threshold=0.2), expected)


class TestRefused:
    """By name, and without running what a pickle holds."""

    def changed(self, exported: Path, folder: Path, **settings: Any) -> Path:
        (folder / "model").mkdir()
        for path in exported.iterdir():
            (folder / "model" / path.name).symlink_to(path)
        config = json.loads((exported / CONFIG).read_text()) | settings
        (folder / "model" / CONFIG).unlink()
        (folder / "model" / CONFIG).write_text(json.dumps(config))
        return folder / "model"

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"labels_encoder": None}, "expected a bi-encoder"),
            ({"span_mode": "markerV1"}, "span_mode: expected 'markerV0', found 'markerV1'"),
            ({"subtoken_pooling": "mean"}, "subtoken_pooling"),
            ({"labels_decoder": "gpt2"}, "labels_decoder"),
            ({"hidden_size": 48}, "weights are missing, foreign or of another shape"),
        ],
    )
    def test_another_architecture(self, exported: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(CheckpointError, match=message):
            Tagger.load(self.changed(exported, tmp_path, **settings))

    def test_weights_that_are_cut_off_or_missing(self, exported: Path, tmp_path: Path) -> None:
        folder = self.changed(exported, tmp_path)
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").unlink()
        with pytest.raises(CheckpointError, match="not a complete GLiNER checkpoint"):
            read_gliner(folder)
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CheckpointError, match="not a complete GLiNER checkpoint"):
            read_gliner(folder)

    def test_a_pickle_that_holds_code(self, exported: Path, tmp_path: Path) -> None:
        folder = self.changed(exported, tmp_path)
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": _Bomb(str(tmp_path / "exploded"))}))
        with pytest.raises(CheckpointError, match="not a complete GLiNER checkpoint"):
            read_gliner(folder)
        torch.save({"a": _Bomb(str(tmp_path / "exploded"))}, folder / "pytorch_model.bin")
        with pytest.raises(CheckpointError, match="not a complete GLiNER checkpoint"):
            read_gliner(folder)
        assert not (tmp_path / "exploded").exists()

    def test_a_checkpoint_without_types_asks_for_some(self, exported: Path, tmp_path: Path) -> None:
        tagger = Tagger.load(self.changed(exported, tmp_path, types=None))
        with pytest.raises(ConfigError, match="name some"):
            tagger.tag("aspirin")
        assert tagger.tag("aspirin", ["drug"])[0].text == "aspirin"


class _Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)
