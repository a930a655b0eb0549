"""The student's training loop: as many workers as one likes, seeded, resumable, and it learns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray.data
import torch
from processes import descendants, wait_until
from small_corpus import make_checkpoint, make_documents, make_table

from kogner_ray.config import make_config
from kogner_ray.data.spans import Document, to_table
from kogner_ray.errors import CheckpointError, DataError
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.student.checkpoint import read_checkpoint, write_checkpoint
from kogner_ray.train.feed import feed
from kogner_ray.train.session import Workers, fit
from kogner_ray.train.settings import LossConfig, TrainConfig
from kogner_ray.train.student import student_loop

# 25 sentences in batches of 4: the last one holds a single sentence, and one rank of two has nothing to do.
UNLINKED = [Document(f"u{n}", "no one knows whether it remains .", (), ("Disease",)) for n in range(9)]
SENTENCES = make_documents(16) + UNLINKED
DEV = make_documents(7, seed=1, prefix="dev")
SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 4,
    "precision": "fp32",
    "freeze_word_embeddings": False,
    "optim": {"encoder_lr": 1e-3, "lr": 1e-3},
}

pytestmark = pytest.mark.usefixtures("ray_cluster")


_FED: dict[tuple[str, ...], ray.data.Dataset] = {}


def examples_of(documents: list[Document], start: Path) -> ray.data.Dataset:
    """Examples of `documents`, made once: it takes an actor to make them."""
    key = tuple(document.id for document in documents)
    if key not in _FED:
        _FED[key], _ = feed(ray.data.from_arrow(to_table(documents)), start=start, linker=LinkerConfig())
    return _FED[key]


Run = tuple[list[dict[str, Any]], dict[str, torch.Tensor]]
"""Metrics and final weights."""


@pytest.fixture(scope="module")
def start(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = make_checkpoint(tiny_encoder, table=make_table())
    return write_checkpoint(checkpoint, tmp_path_factory.mktemp("untrained") / "start")


def train(
    folder: Path, start: Path, train: list[Document], dev: list[Document], *, workers: int = 0, **settings: Any
) -> Run:
    """Metrics and final weights of a run."""
    config = make_config(TrainConfig, SETTINGS | settings)
    job = {"start": str(start), "train": config.model_dump(), "loss": LossConfig().model_dump()}
    datasets = {"train": examples_of(train, start), "dev": ray.data.from_arrow(to_table(dev))}
    result = fit(
        student_loop, job, folder=folder, workers=Workers(workers, cpus=0.5, max_failures=1), datasets=datasets
    )
    with result.checkpoint.as_directory() as newest:
        found = read_checkpoint(Path(newest) / "student")
    assert found.kg_head is not None
    return metrics(folder), found.student.state_dict() | {f"g.{k}": v for k, v in found.kg_head.state_dict().items()}


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def epochs_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if "lang" in record]


def assert_same_curve(found: list[dict[str, Any]], expected: list[dict[str, Any]], *, rel: float) -> None:
    assert [r["step"] for r in epochs_of(found)] == [r["step"] for r in epochs_of(expected)]
    for name in ("loss", "lang", "dist"):
        assert [r[name] for r in epochs_of(found)] == pytest.approx([r[name] for r in epochs_of(expected)], rel=rel)


def assert_same_weights(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.fixture(scope="module")
def alone(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("alone") / "run", start, SENTENCES, DEV)


def test_losses_fall_and_weights_move(alone: Run, start: Path) -> None:
    records, weights = alone
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert records[-1]["loss"] < records[0]["loss"]
    assert records[-1]["dist"] < records[0]["dist"]
    for record in records:
        assert record["loss"] == pytest.approx(0.8 * record["lang"] + 0.2 * record["dist"], rel=1e-5)
        assert {"dev_f1", "dev_precision", "dev_recall"} <= record.keys()
    before = read_checkpoint(start).student.state_dict()
    moved = {name for name, weight in before.items() if not torch.equal(weight, weights[name])}
    assert not any("labels_encoder" in name or "pooler" in name or name.startswith("rnn") for name in moved)
    assert {name.split(".")[0] for name in moved} == {"token_rep_layer", "span_rep_layer", "prompt_rep_layer"}


@pytest.mark.parametrize("settings", [{"accumulate": 3}, {"checkpoint_every": 2}])
def test_micro_batches_and_checkpoints_change_nothing(
    alone: Run, start: Path, tmp_path: Path, settings: dict[str, int]
) -> None:
    records, weights = train(tmp_path / "run", start, SENTENCES, DEV, **settings)
    assert_same_curve(records, alone[0], rel=1e-5)
    assert_same_weights(weights, alone[1])


def test_two_workers_do_what_one_does(alone: Run, start: Path, tmp_path: Path) -> None:
    records, weights = train(tmp_path / "run", start, SENTENCES, DEV, workers=2, accumulate=2)
    assert_same_curve(records, alone[0], rel=1e-5)
    assert_same_weights(weights, alone[1])
    assert [r["dev_f1"] for r in records] == [r["dev_f1"] for r in alone[0]]


def test_a_killed_worker_costs_nothing_but_time(start: Path, tmp_path: Path) -> None:
    settings = {"checkpoint_every": 4, "epochs": 16, "optim": {"encoder_lr": 2e-3, "lr": 2e-3}}
    expected, _ = train(tmp_path / "undisturbed", start, SENTENCES, DEV, **settings)
    folder, watched = tmp_path / "run", _Watch()
    watcher = threading.Thread(target=watched.kill_one_and_go_on, args=(folder,), daemon=True)
    watcher.start()
    try:
        found, _ = train(folder, start, SENTENCES, DEV, workers=2, **settings)
    finally:
        watched.stop.set()
        watcher.join(timeout=5)
    assert watched.killed, "the run ended before a worker was killed"
    assert watched.fewest >= watched.before - 1, "it began anew instead of going on from its checkpoint"
    assert found[-1]["loss"] == pytest.approx(expected[-1]["loss"], rel=1e-3)
    assert found[-1]["dev_f1"] == pytest.approx(expected[-1]["dev_f1"], abs=0.005)
    assert expected[-1]["dev_f1"] > 0.8
    assert_same_curve(found, expected, rel=1e-3)


class _Watch:
    """Kills one worker in mid-epoch and then watches that the record of metrics is not begun anew."""

    def __init__(self) -> None:
        self.stop, self.killed, self.before, self.fewest = threading.Event(), 0, 0, 1 << 30

    def kill_one_and_go_on(self, folder: Path) -> None:
        wait_until(lambda: self.stop.is_set() or _is_amid_epoch(folder), seconds=300)
        workers = descendants("ray::RayTrainWorker")
        if not workers:
            return
        os.kill(workers[-1], signal.SIGKILL)
        self.killed, self.before = workers[-1], len(metrics(folder))
        while not self.stop.wait(0.02):
            self.fewest = min(self.fewest, len(metrics(folder)))


def _is_amid_epoch(folder: Path) -> bool:
    path = folder / "metrics.jsonl"
    records = metrics(folder) if path.is_file() else []
    return len(records) > 4 and "lang" not in records[-1]


def test_one_batch_is_learnt_by_heart(start: Path, tmp_path: Path) -> None:
    eight = make_documents(8)
    settings = {"epochs": 60, "batch_size": 8, "evaluate_every": 60, "optim": {"encoder_lr": 3e-3, "lr": 3e-3}}
    records, _ = train(tmp_path / "run", start, eight, eight, **settings)
    assert records[-1]["dev_f1"] == 1.0
    assert records[-1]["lang"] < 0.05 * records[0]["lang"]


def test_a_seed_is_a_run(tmp_path: Path, tiny_encoder: Path) -> None:
    dropping = make_checkpoint(tiny_encoder, table=make_table(), dropout=0.3)
    start = write_checkpoint(dropping, tmp_path / "start")
    losses = [
        [r["loss"] for r in train(tmp_path / name, start, SENTENCES, DEV, seed=seed, epochs=1)[0]]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_dev_scores_choose_the_best_and_stop_the_run(start: Path, tmp_path: Path) -> None:
    hopeless = {"encoder_lr": 0.0, "lr": 1e-12}
    records, _ = train(tmp_path / "run", start, SENTENCES, DEV, epochs=9, patience=2, optim=hopeless)
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert records[-1]["done"]
    again, _ = train(tmp_path / "run", start, SENTENCES, DEV, epochs=9, patience=2, optim=hopeless)
    assert again == records


@pytest.mark.parametrize("dev", [[], [Document("x", "no mention here .")]])
def test_without_dev_annotation_the_newest_is_kept(start: Path, tmp_path: Path, dev: list[Document]) -> None:
    records, weights = train(tmp_path / "run", start, SENTENCES, dev, epochs=3, patience=1)
    assert len(records) == 3
    assert "dev_f1" not in records[-1]
    best = read_checkpoint(tmp_path / "run" / "best").student.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in best.items())


def test_a_finished_run_is_not_run_again(start: Path, tmp_path: Path) -> None:
    first = train(tmp_path / "run", start, SENTENCES, DEV, epochs=1)
    again = train(tmp_path / "run", start, SENTENCES, DEV, epochs=1)
    assert again[0] == first[0]
    assert_same_weights(again[1], first[1])


def test_a_checkpoint_that_was_being_written_is_passed_over(alone: Run, start: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(folder, start, SENTENCES, DEV)
    newest = max(folder.glob("checkpoint_*"))
    half = folder / f".{newest.name}.partial"
    newest.rename(half)
    (half / "student" / "model.safetensors").unlink()
    records, weights = train(folder, start, SENTENCES, DEV)
    assert_same_curve(records, alone[0], rel=1e-6)
    assert_same_weights(weights, alone[1])
    assert not half.exists()


def test_label_encoder_and_word_embeddings_can_be_trained_or_left(start: Path, tmp_path: Path) -> None:
    before = read_checkpoint(start).student.state_dict()
    for name, trained in (("labels_encoder", True), ("word_embeddings", False)):
        settings = {"train_labels_encoder": trained, "freeze_word_embeddings": not trained, "epochs": 1}
        _, weights = train(tmp_path / name, start, SENTENCES, [], **settings)
        of_labels = "token_rep_layer.labels_encoder.model.encoder.layer.0.output.dense.weight"
        of_words = "token_rep_layer.bert_layer.model.embeddings.word_embeddings.weight"
        assert torch.equal(weights[of_labels], before[of_labels]) != trained
        assert torch.equal(weights[of_words], before[of_words]) != trained


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_what_the_loop_refuses_reaches_the_user_as_itself(start: Path, tmp_path: Path, workers: int) -> None:
    with pytest.raises(DataError, match="holds no words"):
        train(tmp_path / "run", start, [Document("a", " \n")], DEV, workers=workers)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if (mounted := subprocess.run(mount, capture_output=True, check=False)).returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_ends_the_run_and_leaves_its_checkpoints_whole(start: Path, small_disk: Path) -> None:
    with pytest.raises(CheckpointError, match="could not be written"):
        train(small_disk / "run", start, SENTENCES, DEV, epochs=40)
    left = list((small_disk / "run").glob("checkpoint_*"))
    for folder in left:
        assert read_checkpoint(folder / "student").types
    assert not list((small_disk / "run").glob(".checkpoint_*"))
