"""A checkpoint folder: whole, self-explaining, or refused by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_corpus import make_checkpoint, make_documents, save_encoder

from kogner_ray.encoder import load_tokenizer
from kogner_ray.errors import CheckpointError
from kogner_ray.student.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from kogner_ray.student.model import Student, pretrained_student
from kogner_ray.tagger import Tagger

TEXTS = [document.text for document in make_documents(6, seed=5)]


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))


def test_a_round_trip_keeps_weights_and_predictions(tiny_checkpoint: Path, tmp_path: Path) -> None:
    first = read_checkpoint(tiny_checkpoint)
    second = read_checkpoint(write_checkpoint(first, tmp_path / "again"))
    for one, other in ((first.student, second.student), (first.kg_head, second.kg_head)):
        assert one is not None
        assert other is not None
        state, same = one.state_dict(), other.state_dict()
        assert state.keys() == same.keys()
        assert all(torch.equal(state[name], same[name]) for name in state)
    assert second.student.config == first.student.config
    assert (dict(second.types), second.modalities) == (dict(first.types), first.modalities)
    assert not second.student.training
    found = Tagger(first).tag(TEXTS, threshold=0.2)
    assert any(entity.kg_id for entities in found for entity in entities)
    assert Tagger(second).tag(TEXTS, threshold=0.2) == found


def test_the_folder_is_as_documented(tiny_checkpoint: Path) -> None:
    assert {path.name for path in tiny_checkpoint.iterdir()} == {
        "model.safetensors",
        "student.json",
        "tokenizer",
        "kg_head.safetensors",
        "entities",
        "provenance.json",
    }
    description = json.loads((tiny_checkpoint / "student.json").read_text())
    assert description["types"] == {"Chemical": "drug", "Disease": "disease"}
    assert description["student"]["max_width"] == 6
    assert description["kg"] == {"modalities": ["text", "graph"]}


def test_another_label_encoder_brings_its_tokenizer(tiny_encoder: Path, tmp_path: Path) -> None:
    labels = save_encoder(tmp_path / "labels", seed=1)
    plain = make_checkpoint(tiny_encoder)
    student = pretrained_student(plain.student.config.model_copy(update={"labels_encoder": str(labels)})).eval()
    both = Checkpoint(student, plain.tokenizer, load_tokenizer(str(labels)), plain.types)
    folder = write_checkpoint(both, tmp_path / "checkpoint")
    shutil.rmtree(labels)  # a checkpoint needs nothing beside itself
    assert (folder / "labels_tokenizer").is_dir()
    assert Tagger.load(folder).tag(TEXTS, threshold=0.3) == Tagger(both).tag(TEXTS, threshold=0.3)
    shutil.rmtree(folder / "labels_tokenizer")
    with pytest.raises(CheckpointError, match="labels_tokenizer is missing"):
        read_checkpoint(folder)


FILES = [
    "model.safetensors",
    "student.json",
    "tokenizer/tokenizer.json",
    "kg_head.safetensors",
    "entities/entities.parquet",
    "entities/embeddings.safetensors",
    "provenance.json",
]


@pytest.mark.parametrize("name", [*FILES, "tokenizer", "entities"])
def test_a_missing_part_is_named(copy: Path, name: str) -> None:
    path = copy / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(CheckpointError, match=str(copy)):
        read_checkpoint(copy)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_part_is_named(copy: Path, name: str, share: float) -> None:
    os.truncate(copy / name, int((copy / name).stat().st_size * share))
    with pytest.raises(CheckpointError, match=str(copy)):
        read_checkpoint(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99, this version reads 1"),
        ({"student": {"encoder": "x", "max_widht": 3}}, "not a complete checkpoint"),
        ({"student": {"encoder": "x", "max_width": 6, "width": 64}}, "not a complete checkpoint"),
        ({"encoder_config": {"model_type": "no such model"}}, "not a complete checkpoint"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(copy: Path, change: dict[str, object], message: str) -> None:
    description = json.loads((copy / "student.json").read_text())
    (copy / "student.json").write_text(json.dumps(description | change))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(copy)


def test_no_folder_and_no_json_object(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        read_checkpoint(tmp_path / "nowhere")
    (copy / "student.json").write_text("[1, 2]")
    with pytest.raises(CheckpointError, match="not a complete checkpoint"):
        read_checkpoint(copy)


def test_a_new_checkpoint_takes_the_old_ones_place(copy: Path) -> None:
    changed = replace(read_checkpoint(copy), types={"Chemical": "a chemical"}, kg_head=None, entities=None)
    write_checkpoint(changed, copy)
    assert dict(read_checkpoint(copy).types) == {"Chemical": "a chemical"}
    assert not (copy / "kg_head.safetensors").exists()
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_a_place_that_cannot_be_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="could not be written"):
        write_checkpoint(read_checkpoint(tiny_checkpoint), tmp_path / "file" / "checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_leaves_the_older_checkpoint(tiny_checkpoint: Path, full_disk: Path) -> None:
    older = write_checkpoint(replace(read_checkpoint(tiny_checkpoint), kg_head=None, entities=None), full_disk / "best")
    before = Tagger.load(older).tag(TEXTS, link=False)
    (full_disk / "ballast").write_bytes(bytes(300_000))
    with pytest.raises(CheckpointError, match="could not be written"):
        write_checkpoint(read_checkpoint(tiny_checkpoint), older)
    assert {path.name for path in full_disk.iterdir()} == {"best", "ballast"}
    assert Tagger.load(older).tag(TEXTS, link=False) == before


def test_students_have_no_other_weights_than_their_file(tiny_checkpoint: Path) -> None:
    student = read_checkpoint(tiny_checkpoint).student
    assert isinstance(student, Student)
    assert not [name for name, _ in student.named_buffers() if name not in student.state_dict() and "ids" not in name]
