"""Distillation, whole: a run folder from a corpus and a KG, bad input refused by name, a killed driver goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from processes import end_all_in, living_in, wait_until
from small_corpus import DISEASES, DRUGS, make_documents, make_table, student_config

from kogner_ray.config import make_config
from kogner_ray.data.formats.registry import write_documents
from kogner_ray.data.spans import Document, Entity
from kogner_ray.errors import CheckpointError, ConfigError, DataError, EncoderNotFound
from kogner_ray.kg.embeddings import write_entity_table
from kogner_ray.student.checkpoint import read_checkpoint
from kogner_ray.student.gliner import write_gliner
from kogner_ray.tagger import Tagger
from kogner_ray.train.distill import DistillConfig, DistillReport, distill
from kogner_ray.train.start import find_start

SPLITS = {"train": make_documents(30), "dev": make_documents(9, seed=1, prefix="v")}
SPLITS["test"] = make_documents(9, seed=2, prefix="t")
TEXTS = [document.text for document in SPLITS["test"]]
FINISHED = {"compare": True, "train": {"epochs": 25, "batch_size": 4, "evaluate_every": 5}}
JOB = Path(__file__).parents[2] / "jobs" / "distill.py"


@dataclass(frozen=True)
class World:
    """Everything that a run reads."""

    folder: Path
    encoder: Path

    def values(self, output: Path, **changes: Any) -> dict[str, Any]:
        """Settings of a run of seconds; `changes` replace whole groups, or add to those that are mappings."""
        optim = {"encoder_lr": 2e-3, "lr": 2e-3}
        train = {"epochs": 4, "batch_size": 8, "precision": "fp32", "freeze_word_embeddings": False, "optim": optim}
        base: dict[str, Any] = {
            "output": str(output),
            "corpus": {split: [str(self.folder / f"{split}.jsonl")] for split in SPLITS},
            "kg": {"entity_table": str(self.folder / "table")},
            "student": student_config(self.encoder).model_dump(),
            "kg_head_width": 48,
            "train": train,
            "bootstrap": 20,
        }
        for name, value in changes.items():
            base[name] = base[name] | value if isinstance(base.get(name), dict) else value
        return base

    def config(self, output: Path, **changes: Any) -> DistillConfig:
        return make_config(DistillConfig, self.values(output, **changes))

    def corpus(self, folder: Path, name: str, documents: list[Document]) -> dict[str, list[str]]:
        """`corpus` settings of these documents as the split `name`."""
        write_documents(documents, folder / f"{name}.jsonl")
        return {name: [str(folder / f"{name}.jsonl")]}


@pytest.fixture(scope="module")
def world(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    for split, documents in SPLITS.items():
        write_documents(documents, folder / f"{split}.jsonl")
    write_entity_table(make_table(), folder / "table")
    return World(folder, tiny_encoder)


@pytest.fixture(scope="module")
def finished(world: World, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DistillReport]:
    output = tmp_path_factory.mktemp("runs") / "run"
    return output, distill(world.config(output, **FINISHED))


def test_the_run_folder_explains_itself(finished: tuple[Path, DistillReport], world: World) -> None:
    output, report = finished
    assert {path.name for path in output.iterdir()} == {"config.yaml", "student", "no_kg", "checkpoint", "report.json"}
    for run in ("student", "no_kg"):
        assert {"start", "best", "metrics.jsonl", "loss.png", "f1.png"} <= {p.name for p in (output / run).iterdir()}
        assert (output / run / "loss.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads((output / "report.json").read_text())
    assert stored["test"]["micro"]["f1"] == report.test.report.micro.f1 > 0.5
    assert stored["no_kg"]["micro"]["f1"] == report.baseline.report.micro.f1
    assert stored["census"] == dict(report.census)
    mentions = sum(len(document.entities) for document in SPLITS["train"])
    assert report.census == {"kept": mentions, "linked": mentions}
    assert stored["coverage"]["total"]["mention_share"] == report.coverage.total.mention_share == 1.0
    assert stored["provenance"]["config"]["output"] == str(output)
    assert set(stored["provenance"]["corpus_sha256"]) == {"train/train.jsonl", "dev/dev.jsonl", "test/test.jsonl"}
    assert yaml.safe_load((output / "config.yaml").read_text())["train"]["epochs"] == 25


def test_its_checkpoint_tags_and_links(finished: tuple[Path, DistillReport]) -> None:
    _, report = finished
    checkpoint = read_checkpoint(report.checkpoint)
    assert checkpoint.provenance["teacher"] == {"made": "by a test"}
    assert checkpoint.modalities == ("text", "graph")
    found = Tagger(checkpoint).tag([document.text for document in SPLITS["test"]])
    linked = [(entity.text, entity.kg_name) for entities in found for entity in entities if entity.kg_id]
    assert linked
    assert all(text == name for text, name in linked)


def test_running_again_gives_the_same_and_trains_nothing(finished: tuple[Path, DistillReport], world: World) -> None:
    output, report = finished
    before = (output / "student" / "metrics.jsonl").read_text()
    again = distill(world.config(output, **FINISHED))
    assert (again.test, again.baseline, again.census) == (report.test, report.baseline, report.census)
    assert (output / "student" / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"compare": False}, "compare"), ({"corpus": {"limit": 3}, "bootstrap": 0}, r"bootstrap, corpus\.limit")],
)
def test_a_run_folder_of_other_settings_is_refused(
    finished: tuple[Path, DistillReport], world: World, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=f"other settings of {named};"):
        distill(world.config(finished[0], **{**FINISHED, **changes}))


@pytest.mark.usefixtures("ray_cluster")
class TestStartFrom:
    """A run that goes on from a checkpoint."""

    def values(self, world: World, output: Path, start: Path, **changes: Any) -> dict[str, Any]:
        values = world.values(output, train={"epochs": 1}, **{"kg": {"entity_table": None}, **changes})
        return values | {"student": changes.get("student", {}), "start_from": str(start)}

    def test_the_first_step_is_that_checkpoint_and_the_last_loads(
        self, world: World, tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        exported = write_gliner(read_checkpoint(tiny_checkpoint), tmp_path / "gliner")
        values = self.values(world, tmp_path / "run", exported, kg={}, student={"dropout": 0.2, "max_tokens": 48})
        report = distill(make_config(DistillConfig, values))
        begun = Tagger.load(tmp_path / "run" / "student" / "start")
        assert begun.types == {"Chemical": "drug", "Disease": "disease"}
        found = begun.tag(TEXTS, link=False)
        assert sum(map(len, found)) > len(TEXTS)
        assert found == Tagger.load(exported).tag(TEXTS)
        before, after = read_checkpoint(tmp_path / "run" / "student" / "start"), read_checkpoint(report.checkpoint)
        assert (after.student.config.dropout, after.student.config.max_tokens) == (0.2, 48)
        assert after.student.config.max_width == 6
        assert after.kg_head is not None
        weights = after.student.state_dict()
        moved = {name.split(".")[0] for name, w in before.student.state_dict().items() if not w.equal(weights[name])}
        assert moved == {"token_rep_layer", "span_rep_layer", "prompt_rep_layer"}
        labels = [name for name in weights if "labels_encoder" in name]
        assert all(weights[name].equal(before.student.state_dict()[name]) for name in labels)
        assert report.test.report.micro.f1 > 0.8
        assert after.provenance["started_from"]["checkpoint"] == str(exported)

    def test_one_of_ours_with_types_of_its_own(self, world: World, tiny_checkpoint: Path, tmp_path: Path) -> None:
        corpus = {"types": {"Disease": "illness"}}
        values = self.values(world, tmp_path / "run", tiny_checkpoint, corpus=corpus)
        distill(make_config(DistillConfig, values))
        begun = Tagger.load(tmp_path / "run" / "student" / "start")
        assert begun.types == {"Disease": "illness"}
        asked = {"Disease": "disease", "Chemical": "drug"}
        assert begun.tag(TEXTS, asked) == Tagger.load(tiny_checkpoint).tag(TEXTS, asked, link=False)
        written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
        assert written["student"]["max_width"] == 6
        asked_again = make_config(DistillConfig, written)
        assert find_start(asked_again.student, asked_again.start_from).config == asked_again.student

    @pytest.mark.parametrize(
        ("student", "message"),
        [
            ({"max_width": 12}, r"student\.max_width: .*checkpoint has 6, got 12; .*takes its architecture"),
            ({"width": 64}, "has 32, got 64"),
            ({"encoder": "embedded"}, r"student\.encoder"),
            ({"labels_encoder": "embedded"}, r"student\.labels_encoder"),
            ({"max_tokens": 500}, "max_tokens: at most 128"),
        ],
    )
    def test_settings_that_contradict_it(
        self, world: World, tiny_checkpoint: Path, tmp_path: Path, student: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            distill(make_config(DistillConfig, self.values(world, tmp_path / "run", tiny_checkpoint, student=student)))
        assert not (tmp_path / "run").exists()

    def test_a_checkpoint_that_is_not_there(self, world: World, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="no such folder"):
            distill(make_config(DistillConfig, self.values(world, tmp_path / "run", tmp_path / "nowhere")))


@pytest.mark.usefixtures("ray_cluster")
class TestPoorInput:
    """A run goes on with less, and says so."""

    def test_a_kg_without_edges_teaches_by_text_alone(
        self, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        lines = [f"n{i}\t{name}\tthing" for i, name in enumerate((*DRUGS, *DISEASES))]
        (tmp_path / "nodes.tsv").write_text("\n".join(["id\tname\ttype", *lines]) + "\n")
        (tmp_path / "edges.tsv").write_text("head\trelation\ttail\n")
        text = {"encoder": str(world.encoder), "max_tokens": 32}
        kg = {"entity_table": None, "source": str(tmp_path / "edges.tsv"), "nodes": str(tmp_path / "nodes.tsv")}
        report = distill(world.config(tmp_path / "run", kg={**kg, "text": text}, train={"epochs": 1}))
        assert read_checkpoint(report.checkpoint).modalities == ("text",)
        assert "no edges" in caplog.text
        assert report.census["linked"] > 0

    def test_a_corpus_that_does_not_link_goes_on_without_l_dist(
        self, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        table = make_table()
        foreign = table.entities.set_column(1, "name", [[f"xyz {i}" for i in range(table.entities.num_rows)]])
        foreign = foreign.set_column(3, "synonyms", [[[] for _ in range(table.entities.num_rows)]])
        write_entity_table(replace(table, entities=foreign), tmp_path / "table")
        corpus = world.corpus(tmp_path, "test", [Document("x", "no mention .")])
        kg = {"entity_table": str(tmp_path / "table")}
        report = distill(world.config(tmp_path / "run", kg=kg, corpus=corpus, train={"epochs": 1}))
        records = [json.loads(line) for line in (tmp_path / "run" / "student" / "metrics.jsonl").open()]
        assert records[-1]["dist"] == 0
        assert records[-1]["loss"] > 0
        assert "no mention of the corpus links to the KG" in caplog.text
        assert "linked" not in report.census
        assert report.test is None
        assert "the test split has no mention of Chemical, Disease" in caplog.text

    def test_a_leak_is_reported_and_recorded(
        self, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        corpus = world.corpus(tmp_path, "test", SPLITS["train"][:3])
        with pytest.raises(DataError, match="splits without common documents"):
            distill(world.config(tmp_path / "run", corpus={**corpus, "strict_splits": True}))
        assert not (tmp_path / "run").exists()
        kg = {"entity_table": None}
        distill(world.config(tmp_path / "run", corpus=corpus, kg=kg, train={"epochs": 1}))
        assert "test shares 3 texts" in caplog.text
        assert (
            "test shares 3 texts"
            in json.loads((tmp_path / "run" / "report.json").read_text())["provenance"]["leaks"][0]
        )


@pytest.mark.usefixtures("ray_cluster")
class TestBadInput:
    """A run that cannot be is refused in one line, before it costs anything."""

    def refused(self, world: World, tmp_path: Path, kind: type[Exception], message: str, **changes: Any) -> None:
        with pytest.raises(kind, match=message) as raised:
            distill(world.config(tmp_path / "run", **changes))
        assert "\n" not in str(raised.value)
        assert "ray::" not in str(raised.value)

    def test_no_annotation(self, world: World, tmp_path: Path) -> None:
        bare = [document.with_entities([]) for document in SPLITS["train"]]
        corpus = world.corpus(tmp_path, "train", bare)
        self.refused(world, tmp_path, ConfigError, "expected an annotation in the training split", corpus=corpus)

    def test_types_that_do_not_occur(self, world: World, tmp_path: Path) -> None:
        corpus = {"types": {"Gene": "a gene"}}
        message = r"expected a mention of Gene in the training split, found \['Chemical', 'Disease'\]"
        self.refused(world, tmp_path, ConfigError, message, corpus=corpus)

    def test_an_empty_file(self, world: World, tmp_path: Path) -> None:
        (tmp_path / "train.jsonl").write_text("")
        corpus = {"train": [str(tmp_path / "train.jsonl")]}
        self.refused(world, tmp_path, DataError, "the training split holds no document", corpus=corpus)

    def test_a_malformed_line(self, world: World, tmp_path: Path) -> None:
        lines = (world.folder / "train.jsonl").read_text().splitlines()
        (tmp_path / "train.jsonl").write_text("\n".join([*lines[:7], lines[7][:30], *lines[8:]]))
        corpus = {"train": [str(tmp_path / "train.jsonl")]}
        self.refused(world, tmp_path, DataError, r"train\.jsonl:8: ", corpus=corpus)

    def test_no_such_file(self, world: World, tmp_path: Path) -> None:
        self.refused(
            world,
            tmp_path,
            ConfigError,
            "nowhere: expected .* no such file",
            corpus={"train": [str(tmp_path / "nowhere")]},
        )

    def test_an_encoder_that_is_not_here(self, world: World, tmp_path: Path) -> None:
        student = {"encoder": "microsoft/deberta-v3-large"}
        message = r"'microsoft/deberta-v3-large' was not found.*path of a downloaded model.*kogner-ray\[embedded\]"
        self.refused(world, tmp_path, EncoderNotFound, message, student=student)
        self.refused(world, tmp_path, EncoderNotFound, "nowhere", student={"labels_encoder": str(tmp_path / "nowhere")})
        assert not (tmp_path / "run").exists()

    def test_a_window_beyond_the_encoder(self, world: World, tmp_path: Path) -> None:
        self.refused(world, tmp_path, ConfigError, "max_tokens: at most 128", student={"max_tokens": 500})

    def test_modalities_that_the_table_lacks(self, world: World, tmp_path: Path) -> None:
        self.refused(world, tmp_path, ConfigError, r"expected some of \['text', 'graph'\]", modalities=["logic"])
        with pytest.raises(ConfigError, match="modalities"):
            world.config(tmp_path / "run", modalities=["txt"])

    def test_an_entity_table_that_is_not_there(self, world: World, tmp_path: Path) -> None:
        self.refused(
            world, tmp_path, CheckpointError, "not a complete entity table", kg={"entity_table": str(tmp_path)}
        )

    def test_a_kg_that_is_not_there(self, world: World, tmp_path: Path) -> None:
        kg = {"entity_table": None, "source": str(tmp_path / "nowhere")}
        self.refused(world, tmp_path, DataError, "nowhere: no such file or folder", kg=kg)

    def test_an_output_that_cannot_be_written(self, world: World, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("a file where the folder should be")
        self.refused(world, tmp_path, CheckpointError, "cannot be written")
        assert (tmp_path / "run").read_text() == "a file where the folder should be"


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_driver_goes_on_when_started_again(
    world: World, tmp_path: Path, ray_cluster: None, ray_folder: Path, num_workers: int
) -> None:
    train = {"epochs": 20, "batch_size": 4, "checkpoint_every": 3, "evaluate_every": 5}
    changes = {"train": train, "num_workers": num_workers, "cpus_per_worker": 0.5}
    undisturbed = distill(world.config(tmp_path / "undisturbed", **changes | {"num_workers": 0}))
    output = tmp_path / "run"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(world.values(output, **changes)))
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"RAY_TMPDIR": str(ray_folder)}
    command = [sys.executable, str(JOB), "--config", str(tmp_path / "run.yaml")]

    with (tmp_path / "first.log").open("w") as log:
        first = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        amid = wait_until(lambda: _records(output) >= 10 or first.poll() is not None, seconds=300)
        assert amid and first.poll() is None, (tmp_path / "first.log").read_text()
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert wait_until(lambda: not living_in(ray_folder), seconds=60) or end_all_in(ray_folder) is None
    done = _records(output)
    assert not (output / "report.json").exists(), "the run ended before it was killed"

    with (tmp_path / "second.log").open("w") as log:
        second = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        fewest = done
        while second.poll() is None:
            fewest = min(fewest, _records(output))
            wait_until(lambda: second.poll() is not None, seconds=0.05)
    assert second.returncode == 0, (tmp_path / "second.log").read_text()
    assert fewest >= done - 1, "it began anew instead of going on from its checkpoint"

    expected, found = (_last(folder / "student") for folder in (tmp_path / "undisturbed", output))
    assert found["step"] == expected["step"]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-3)
    assert found["dev_f1"] == pytest.approx(expected["dev_f1"], abs=0.005)
    f1 = json.loads((output / "report.json").read_text())["test"]["micro"]["f1"]
    assert f1 == pytest.approx(undisturbed.test.report.micro.f1, abs=0.005)
    assert f1 > 0.8


def _records(output: Path) -> int:
    path = output / "student" / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.is_file() else 0


def _last(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])


def test_a_mention_wider_than_the_student_is_counted(world: World, tmp_path: Path, ray_cluster: None) -> None:
    wide = Document("w", "gout of most patients after ten days of treatment", (Entity(0, 49, "Disease"),))
    split = Document("s", "lung and heart cancer", (Entity(0, 21, "Disease", fragments=((0, 4), (15, 21))),))
    corpus = world.corpus(tmp_path, "train", [*SPLITS["train"], wide, split])
    kg = {"entity_table": None}
    report = distill(world.config(tmp_path / "run", corpus=corpus, kg=kg, train={"epochs": 1}))
    mentions = sum(len(document.entities) for document in SPLITS["train"])
    assert report.census == {"kept": mentions, "wide": 1, "discontinuous": 1}
    assert ray.is_initialized()
