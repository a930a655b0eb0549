from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from kogner_ray.config import load_config, make_config
from kogner_ray.errors import CheckpointError, ConfigError, DataError
from kogner_ray.kg.embeddings import read_entity_table
from kogner_ray.kg.partition import PartitionConfig, write_partitions
from kogner_ray.kg.sampling import BlockSampler
from kogner_ray.kg.tables import EDGE_SCHEMA, NODE_SCHEMA, KnowledgeGraph, read_kg
from kogner_ray.train.graph import GraphConfig
from kogner_ray.train.modalities import RunPlace, make_graph, make_logic
from kogner_ray.train.ownership import Ownership
from kogner_ray.train.session import Session
from kogner_ray.train.teacher import TeacherConfig, train_teacher
from kogner_ray.train.text import TextConfig
from kogner_ray.train.transr import TransRConfig, TransRTask

TRANSR = TransRConfig(entity_dim=16, relation_dim=12, epochs=12, batch_size=64, block=16, negatives=16)
GRAPH = GraphConfig(hidden=16, heads=2, fanouts=(4, 4), epochs=8, batch_size=32, lr=5e-3, baselines=True)
NO_TEXT = TextConfig(enabled=False)


@pytest.fixture(scope="module")
def kg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drugs bind genes of their own group, genes cause diseases of theirs: 4 groups of 12 nodes of 3 types."""
    rng = np.random.default_rng(0)
    nodes, edges = [], []
    for kind, words in (("drug", "statin inhibitor"), ("gene", "kinase receptor"), ("disease", "syndrome disorder")):
        for i in range(48):
            name = f"{words.split()[i % 2]} {kind[:2]}{i}"
            nodes.append(
                {"id": f"{kind}{i}", "name": name, "type": kind, "synonyms": [f"alias {i}"], "description": ""}
            )
    for relation, head, tail in (
        ("binds", "drug", "gene"),
        ("causes", "gene", "disease"),
        ("interacts", "gene", "gene"),
    ):
        for i in range(48):
            others = 4 * rng.choice(12, 6, replace=False) + i % 4
            edges += [{"head": f"{head}{i}", "relation": relation, "tail": f"{tail}{j}"} for j in others]
    curies = pa.array([f"X:{row}" for row in range(len(nodes))])
    table = pa.Table.from_pylist(nodes, NODE_SCHEMA).append_column("curie", curies)
    return KnowledgeGraph(table, pa.Table.from_pylist(edges, EDGE_SCHEMA)).write(tmp_path_factory.mktemp("kg"))


def place_of(kg_folder: Path, output: Path, *, seed: int = 0, workers: int = 0, n_parts: int = 0) -> RunPlace:
    return RunPlace(kg_folder, {}, output, n_parts, workers, seed)


def make(modality: str, kg_folder: Path, place: RunPlace) -> Any:
    kg = read_kg(kg_folder)
    return make_logic(kg, TRANSR, place) if modality == "logic" else make_graph(kg, GRAPH, place, text=None)


def losses(output: Path) -> list[float]:
    (path,) = output.glob("*/metrics.jsonl")
    return [json.loads(line)["loss"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("modality", ["graph", "logic"])
class TestTrainedTeacher:
    """The contract of both trained teachers."""

    def test_learns_what_is_there(self, modality: str, kg_folder: Path, tmp_path: Path) -> None:
        made = make(modality, kg_folder, place_of(kg_folder, tmp_path))
        history = losses(tmp_path)
        assert history[-1] < 0.7 * history[0]
        assert made.matrix.shape == (144, 16)
        if modality == "graph":
            assert made.metrics["accuracy"] > made.metrics["baselines"]["majority"]["accuracy"] + 0.3
        else:
            task = TransRTask.of(read_kg(kg_folder), TRANSR, seed=0)
            assert made.metrics["mrr"] > 2 * task.evaluate(task.model(TRANSR, seed=0)).metrics()["mrr"]

    def test_is_seeded(self, modality: str, kg_folder: Path, tmp_path: Path) -> None:
        first, again, other = (
            make(modality, kg_folder, place_of(kg_folder, tmp_path / name, seed=seed))
            for name, seed in (("a", 1), ("b", 1), ("c", 2))
        )
        assert torch.equal(first.matrix, again.matrix)
        assert first.metrics == again.metrics
        assert not torch.equal(first.matrix, other.matrix)

    def test_goes_on_where_it_was_stopped(self, modality: str, kg_folder: Path, tmp_path: Path) -> None:
        place = place_of(kg_folder, tmp_path)
        undisturbed, history = make(modality, kg_folder, place), losses(tmp_path)
        (newest,) = tmp_path.glob(f"*/checkpoint_{len(history):06d}")
        shutil.rmtree(newest)  # as if killed in the last epoch
        (newest.parent / f".{newest.name}.partial").mkdir()  # while writing
        resumed = make(modality, kg_folder, place)
        assert torch.equal(undisturbed.matrix, resumed.matrix)
        assert losses(tmp_path) == history

    def test_a_finished_run_is_not_run_again(self, modality: str, kg_folder: Path, tmp_path: Path) -> None:
        first = make(modality, kg_folder, place_of(kg_folder, tmp_path))
        (metrics,) = tmp_path.glob("*/metrics.jsonl")
        seconds = metrics.read_text()
        again = make(modality, kg_folder, place_of(kg_folder, tmp_path))
        assert torch.equal(first.matrix, again.matrix)
        assert metrics.read_text() == seconds

    def test_parts_teach_too(self, modality: str, kg_folder: Path, tmp_path: Path) -> None:
        made = make(modality, kg_folder, place_of(kg_folder, tmp_path, n_parts=3))
        history = losses(tmp_path)
        assert history[-1] < 0.7 * history[0]
        assert torch.isfinite(made.matrix).all()


@pytest.mark.parametrize("n_parts", [None, 5])
def test_every_node_has_one_owner(n_parts: int | None, kg_folder: Path, tmp_path: Path) -> None:
    kg = read_kg(kg_folder)
    if n_parts:
        write_partitions(kg, tmp_path / "parts", PartitionConfig(n_parts=n_parts, add_reverse=True))
    folder = str(tmp_path / "parts") if n_parts else None
    ranks = [Ownership(kg, Session(tmp_path, rank, 2, local=True), parts=folder) for rank in range(2)]
    nodes = np.arange(kg.n_nodes)
    assert sorted(np.concatenate([rank.nodes(nodes) for rank in ranks])) == nodes.tolist()
    for rank in ranks:  # a rank has all in-edges of its own nodes
        graph, whole = rank.graph(), np.concatenate([kg.triples[:, 2], kg.triples[:, 0]])
        mine = rank.nodes(nodes)
        np.testing.assert_array_equal(graph.in_degrees(torch.from_numpy(mine)), np.bincount(whole, minlength=144)[mine])


def test_the_entity_table_holds_all_three_and_says_how(kg_folder: Path, tmp_path: Path) -> None:
    config = TeacherConfig(kg=kg_folder, output=tmp_path / "run", graph=GRAPH, transr=TRANSR)
    report = train_teacher(config)
    table = read_entity_table(report.table)
    assert {name: tuple(m.shape) for name, m in table.matrices.items()} == {
        "text": (144, 384),
        "graph": (144, 16),
        "logic": (144, 16),
    }
    assert table.entities["id"].to_pylist() == read_kg(kg_folder).ids
    assert table.entities["curie"][143].as_py() == "X:143"
    assert not report.skipped
    assert set(report.metrics["graph"]["baselines"]) == {"majority", "relations_only", "text_only"}
    assert table.provenance["config"]["transr"]["epochs"] == TRANSR.epochs
    assert table.provenance["metrics"]["logic"]["mrr"] == report.metrics["logic"]["mrr"]
    assert load_config(TeacherConfig, tmp_path / "run" / "config.yaml") == config
    assert len(list((tmp_path / "run").glob("*/loss.png"))) == 2
    assert set(table.provenance["kg_sha256"]) == {"nodes.parquet", "edges.parquet"}
    started = time.perf_counter()
    again = train_teacher(config)
    assert again.metrics == report.metrics
    assert time.perf_counter() - started < 10
    assert torch.equal(read_entity_table(again.table).stacked(), table.stacked())


def test_a_node_without_edges_is_no_noise_in_z(tmp_path: Path, kg_folder: Path) -> None:
    kg = read_kg(kg_folder)
    lonely = kg.nodes.slice(0, 1).set_column(0, "id", pa.array(["lonely"]))
    KnowledgeGraph(pa.concat_tables([kg.nodes, lonely]), kg.edges).write(tmp_path / "kg")
    made = make("logic", tmp_path / "kg", place_of(tmp_path / "kg", tmp_path / "run"))
    torch.testing.assert_close(made.matrix[-1], made.matrix[:-1].mean(0))
    assert made.metrics["unlinked"] == 1


def test_one_type_leaves_out_the_graph_alone(
    tmp_path: Path, kg_folder: Path, tiny_encoder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kg = read_kg(kg_folder)
    types = pa.array(["thing"] * kg.n_nodes)
    KnowledgeGraph(kg.nodes.set_column(2, "type", types), kg.edges).write(tmp_path / "kg")
    text = TextConfig(encoder=str(tiny_encoder))
    report = train_teacher(TeacherConfig(kg=tmp_path / "kg", output=tmp_path / "run", text=text, transr=TRANSR))
    assert list(read_entity_table(report.table).matrices) == ["text", "logic"]
    assert "at least two classes" in report.skipped["graph"]
    assert "graph is left out" in caplog.text


def test_loops_parallel_edges_and_lonely_nodes_are_learned_from(tmp_path: Path, kg_folder: Path) -> None:
    kg = read_kg(kg_folder)
    loops = kg.edges.slice(0, 40).set_column(2, "tail", kg.edges["head"].slice(0, 40))
    lonely = kg.nodes.slice(0, 9).set_column(0, "id", pa.array([f"lonely{i}" for i in range(9)]))
    odd = KnowledgeGraph(
        pa.concat_tables([kg.nodes, lonely]), pa.concat_tables([kg.edges, kg.edges.slice(0, 50), loops])
    )
    odd.write(tmp_path / "kg")
    made = make("graph", tmp_path / "kg", place_of(tmp_path / "kg", tmp_path / "run", n_parts=2))
    assert made.matrix.shape == (153, 16) and torch.isfinite(made.matrix).all()
    assert made.matrix[-9:].float().std(0).max() < 1e-3  # without edges and texts, there is nothing to tell them by
    history = losses(tmp_path / "run")
    assert history[-1] < 0.7 * history[0]


def test_a_rank_without_a_part_owns_nothing(tmp_path: Path, kg_folder: Path) -> None:
    kg = read_kg(kg_folder)
    write_partitions(kg, tmp_path / "parts", PartitionConfig(n_parts=1, add_reverse=True))
    idle = Ownership(kg, Session(tmp_path, 1, 2, local=True), parts=str(tmp_path / "parts"))
    assert len(idle.nodes(np.arange(kg.n_nodes))) == 0
    assert (idle.graph().num_nodes(), idle.graph().num_edges()) == (kg.n_nodes, 0)
    (block,) = BlockSampler(idle.graph(), [3]).sample(torch.arange(5), seed=0)
    assert (block.n_targets, len(block.linked), block.runs) == (5, 0, ())


def test_no_edges_leave_the_text(tmp_path: Path, kg_folder: Path) -> None:
    kg = read_kg(kg_folder)
    KnowledgeGraph(kg.nodes.slice(0, 20), kg.edges.slice(0, 0)).write(tmp_path / "kg")
    report = train_teacher(TeacherConfig(kg=tmp_path / "kg", output=tmp_path / "run"))
    assert list(read_entity_table(report.table).matrices) == ["text"]
    assert report.skipped["logic"] == report.skipped["graph"] == "the knowledge graph has no edges"


def test_nothing_to_teach_is_an_error(tmp_path: Path, kg_folder: Path) -> None:
    off = {"enabled": False}
    config = make_config(TeacherConfig, {"kg": kg_folder, "output": tmp_path, "text": off, "graph": off, "transr": off})
    with pytest.raises(DataError, match="no modality is left"):
        train_teacher(config)


def test_an_unwritable_output_leaves_nothing_behind(tmp_path: Path, kg_folder: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    config = TeacherConfig(kg=kg_folder, output=tmp_path / "run", text=NO_TEXT, graph=GRAPH, transr=TRANSR)
    with pytest.raises(CheckpointError, match="run"):
        train_teacher(config)


def test_settings_are_strict(tmp_path: Path) -> None:
    base = ["kg=a", "output=b"]
    with pytest.raises(ConfigError, match="did you mean 'margin'"):
        load_config(TeacherConfig, overrides=[*base, "transr.margn=1"])
    with pytest.raises(ConfigError, match="one fanout a layer"):
        load_config(TeacherConfig, overrides=[*base, "graph.fanouts=[5]"])
