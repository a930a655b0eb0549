from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import descendants
from test_teacher import kg_folder, losses, place_of  # noqa: F401  the same small graph

from kogner_ray.errors import CheckpointError
from kogner_ray.kg.tables import read_kg
from kogner_ray.teacher.transr_step import Rates, Relations, train_step
from kogner_ray.train import active_parts, transr_loop
from kogner_ray.train.active_parts import UNTRAINED, ActiveParts, PartFiles
from kogner_ray.train.bucket_rounds import bucket_rounds
from kogner_ray.train.modalities import Modality, make_logic
from kogner_ray.train.session import stream_seed
from kogner_ray.train.transr import TransRConfig, TransRTask, untrained_model
from kogner_ray.train.transr_loop import make_sampler

WHOLE = TransRConfig(entity_dim=16, relation_dim=12, epochs=12, batch_size=64, block=16, negatives=16)
CUT = WHOLE.model_copy(update={"bucket_nodes": 80, "checkpoint_s": 0.0})  # 4 parts of 36 nodes, 6 buckets


def make(kg_folder: Path, output: Path, config: TransRConfig, *, seed: int = 0) -> Modality:  # noqa: F811
    return make_logic(read_kg(kg_folder), config, place_of(kg_folder, output, seed=seed))


def test_buckets_teach_as_well_as_the_whole(kg_folder: Path, tmp_path: Path) -> None:  # noqa: F811
    means = {}
    for name, config in (("whole", WHOLE), ("cut", CUT)):
        made = [make(kg_folder, tmp_path / f"{name}{seed}", config, seed=seed) for seed in range(3)]
        assert {m.metrics["parts"] for m in made} == {1 if name == "whole" else 4}
        means[name] = np.mean([m.metrics["mrr"] for m in made])
    assert means["cut"] > 0.9 * means["whole"]


@pytest.mark.parametrize(
    ("where", "call"),
    [("train_step", 5), ("train_step", 30), ("write", 9), ("write", 20), ("report", 3), ("report", 7)],
)
def test_a_run_killed_anywhere_ends_as_an_undisturbed_one(
    where: str,
    call: int,
    kg_folder: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = CUT.model_copy(update={"epochs": 2})
    undisturbed = make(kg_folder, tmp_path / "whole", config)
    owner = {"train_step": transr_loop, "write": PartFiles, "report": transr_loop.Session}[where]
    with monkeypatch.context() as patch:
        patch.setattr(owner, where, dying(getattr(owner, where), call))
        with pytest.raises(Exception, match="killed"):
            make(kg_folder, tmp_path / "killed", config)
    (parts,) = (tmp_path / "killed").glob("*/parts")
    (parts / ".part-00000-00000099.f32.partial").write_bytes(b"half of a part")
    (parts / "part-00000-00000099.f32").write_bytes(b"of a round that no checkpoint knows")
    resumed = make(kg_folder, tmp_path / "killed", config)
    assert torch.equal(resumed.matrix, undisturbed.matrix)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert not list(parts.glob("*99.f32*"))


def dying(function: Callable[..., Any], calls: int) -> Callable[..., Any]:
    """`function` until its call number `calls`, which ends the process's work."""
    left = iter(range(calls))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(left, None) is None:
            raise RuntimeError("killed")
        return function(*args, **kwargs)

    return call


def test_old_parts_are_removed(kg_folder: Path, tmp_path: Path) -> None:  # noqa: F811
    make(kg_folder, tmp_path, CUT)
    files = list(tmp_path.glob("*/parts/*"))
    assert 4 <= len(files) <= 4 + 2 * 2


def test_a_lost_part_is_named(kg_folder: Path, tmp_path: Path) -> None:  # noqa: F811
    make(kg_folder, tmp_path, CUT)
    newest = max(tmp_path.glob("*/parts/*"), key=lambda path: path.name.split("-")[2])
    newest.write_bytes(newest.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=rf"{newest.name}: expected 36 nodes of width 16"):
        make(kg_folder, tmp_path, CUT)
    newest.unlink()
    with pytest.raises(CheckpointError, match=f"{newest.name}: the part could not be read"):
        make(kg_folder, tmp_path, CUT)


def test_no_more_than_two_parts_are_in_memory(tmp_path: Path) -> None:
    files = PartFiles(tmp_path, np.array([5, 3, 4, 0]), width=2, seed=0)
    active, versions = ActiveParts(files), np.full(4, UNTRAINED)
    assert active.rows.table.shape == (10, 4)
    active.activate((0, 1), versions)
    start = active.rows.weights[:5].clone()
    torch.testing.assert_close(start.norm(dim=1), torch.ones(5))
    active.rows.table[:5] += 1
    active.write([0], 7)
    versions[0] = 7
    active.activate((1, 2), versions)
    assert active.first_row(2) == 0
    active.activate((0, 3), versions)
    first = active.first_row(0)
    torch.testing.assert_close(active.rows.table[first : first + 5, :2], start + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000-00000007.f32"]


def test_an_unwritable_part_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("a file where the folder should be")
    files = PartFiles(tmp_path / "parts", np.array([5]), width=2, seed=0)
    with pytest.raises(CheckpointError, match="could not be written"):
        files.write(0, 1, torch.ones(5, 4))


def test_two_workers_and_a_killed_one(kg_folder: Path, tmp_path: Path, ray_cluster: None) -> None:  # noqa: F811
    """Two workers do what one process does in their place, although one of them is killed on the way."""
    config = WHOLE.model_copy(update={"checkpoint_s": 0.0})
    killed: list[int] = []
    threading.Thread(target=_kill_a_worker, args=(tmp_path, killed), daemon=True).start()
    kg = read_kg(kg_folder)
    made = make_logic(kg, config, place_of(kg_folder, tmp_path / "run", workers=2))
    assert killed, "the run ended before a worker was killed"
    expected = _two_ranks_by_hand(TransRTask.of(kg, config, seed=0), config, tmp_path / "hand")
    assert losses(tmp_path / "run") == pytest.approx(expected, rel=1e-3)
    assert made.metrics["parts"] == 4
    alone = make(kg_folder, tmp_path / "alone", WHOLE)
    assert made.metrics["mrr"] > 0.85 * alone.metrics["mrr"]


def _two_ranks_by_hand(task: TransRTask, config: TransRConfig, folder: Path) -> list[float]:
    buckets = task.cut(folder / "buckets", config, workers=2, seed=0)
    probabilities = torch.tensor(task.head_probabilities())
    relations = Relations.of(untrained_model(config, n_entities=0, n_relations=3, seed=0))
    files = PartFiles.of(buckets, folder, width=16, seed=0)
    versions, history = np.full(4, UNTRAINED), []
    rates = Rates(vectors=config.lr, projections=config.projection_lr)
    for epoch in range(config.epochs):
        total = 0.0
        for pairs in bucket_rounds(4, workers=2):
            changed, counts = [], []
            for pair in pairs:
                active, mine, index = ActiveParts(files), relations.copy(), buckets.pairs.index(pair)
                active.activate(pair, versions)
                sampler = make_sampler(buckets, index, active, probabilities, config)
                generator = torch.Generator().manual_seed(stream_seed(0, epoch, index))
                for blocks in sampler.batches(batch_size=config.batch_size, generator=generator):
                    total += train_step(active.rows, mine, blocks, margin=config.margin, rates=rates).item()
                active.write(pair, epoch)
                changed.append(mine)
                counts.append(torch.bincount(torch.from_numpy(buckets.of(index)[:, 1].astype(np.int64)), minlength=3))
            versions[:] = epoch
            shares = [(count / sum(counts)).nan_to_num().unsqueeze(1) for count in counts]
            for name in ("vectors", "projections"):
                table = getattr(relations, name).table
                width = table.shape[1] // 2
                changes = [getattr(mine, name).table - table for mine in changed]
                table[:, :width] += sum(s * c[:, :width] for s, c in zip(shares, changes, strict=True))
                table[:, width:] += sum(c[:, width:] for c in changes)
        history.append(total / (len(task.train) * config.negatives))
    return history


def _kill_a_worker(folder: Path, killed: list[int]) -> None:
    while not any(len(path.read_text().splitlines()) >= 3 for path in folder.glob("run/*/metrics.jsonl")):
        time.sleep(0.02)
    for pid in descendants("ray::RayTrainWorker")[:1]:
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)


def test_versions_and_partial_files_do_not_pile_up(tmp_path: Path) -> None:
    files = PartFiles(tmp_path, np.array([2, 2]), width=1, seed=0)
    for part, version in ((0, 1), (1, 1), (0, 2), (1, 5)):
        files.write(part, version, torch.zeros(2, 2))
    files.keep_only([np.array([2, 1])])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-00000-00000002.f32", "part-00001-00000001.f32"]
    assert active_parts.UNTRAINED == -1


def test_a_bucket_is_the_same_wherever_its_parts_lie(kg_folder: Path, tmp_path: Path) -> None:  # noqa: F811
    task = TransRTask.of(read_kg(kg_folder), CUT, seed=0)
    buckets = task.cut(tmp_path / "buckets", CUT, workers=1, seed=0)
    active = ActiveParts(PartFiles.of(buckets, tmp_path, width=16, seed=0))
    true = set(map(tuple, task.train.tolist()))
    places = set()
    for pair in [(0, 1), (1, 2), (0, 1), (0, 2), (2, 3)]:
        active.activate(pair, np.full(4, UNTRAINED))
        nodes = np.full(2 * buckets.meta.capacity, -1)
        for part in pair:
            first = active.first_row(part)
            nodes[first : first + len(buckets.part(part))] = buckets.part(part)
        places.add(active.first_row(pair[0]))
        sampler = make_sampler(buckets, buckets.pairs.index(pair), active, torch.full((3,), 0.5), CUT)
        for blocks in sampler.batches(batch_size=64, generator=torch.Generator().manual_seed(0)):
            rows = nodes[blocks.rows]
            assert (rows >= 0).all()
            size = blocks.valid_BG.shape[1]
            for relation, block, sign in zip(blocks.relations_B.tolist(), rows, blocks.signs_B.tolist(), strict=True):
                for kept, end in zip(block[:size], block[size : 2 * size], strict=True):
                    assert ((kept, relation, end) if sign > 0 else (end, relation, kept)) in true
                drawn = task.node_types[block[2 * size :]]
                assert np.isin(drawn, task.node_types[block[size : 2 * size]]).all()
    assert places == {0, buckets.meta.capacity}
