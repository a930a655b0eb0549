"""A corpus, tagged whole: what comes out, what is refused, what fails without stopping the rest."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from small_corpus import make_documents

from kogner_ray.data.formats.registry import read_documents, write_documents
from kogner_ray.data.spans import Document
from kogner_ray.errors import CheckpointError, ConfigError, DataError, OutputError, TooManyFailures
from kogner_ray.tag.corpus import TagConfig, TagReport, tag_corpus
from kogner_ray.tagger import Tagger

NAMES = {"a.jsonl": 40, "b.pubtator.gz": 11, "deep/c.xml": 8, "deep/d.parquet": 9, "e.jsonl.zst": 1, "f.json": 5}
BROKEN = {"g.jsonl": [5, 8]}
CHUNKS = {"records": 7}


@dataclass(frozen=True)
class World:
    """Inputs of several formats, with what they hold."""

    folder: Path
    checkpoint: Path
    documents: dict[str, list[Document]]

    def config(self, output: Path, **changes: Any) -> TagConfig:
        values = {"inputs": [str(self.folder)], "output": str(output), "checkpoint": str(self.checkpoint)}
        return TagConfig.model_validate(values | {"chunks": CHUNKS} | changes)


@pytest.fixture(scope="module")
def world(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("inputs")
    documents = {}
    for seed, (name, n) in enumerate(NAMES.items()):
        (folder / name).parent.mkdir(exist_ok=True)
        documents[name] = make_documents(n, seed=seed, prefix=name[0])
        write_documents(documents[name], folder / name, strict=False)
    lines = [json.dumps({"id": d.id, "text": d.text}) for d in make_documents(10, seed=9, prefix="g")]
    lines[4], lines[7] = lines[4][:20], '{"id": "g007", "text": 5}'
    (folder / "g.jsonl").write_text("\n".join(lines) + "\n")
    documents["g.jsonl"] = make_documents(10, seed=9, prefix="g")
    return World(folder, tiny_checkpoint, documents)


@pytest.fixture(scope="module")
def finished(world: World, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TagReport]:
    output = tmp_path_factory.mktemp("outputs") / "out"
    return output, tag_corpus(world.config(output, to=["jsonl", "pubtator", "bioc_xml", "bioc_json"]))


def test_each_document_has_one_record_with_what_the_tagger_finds(
    finished: tuple[Path, TagReport], world: World
) -> None:
    output, _ = finished
    tagger = Tagger.load(world.checkpoint)
    n_entities = 0
    for name, documents in world.documents.items():
        rows = pq.read_table(output / "documents" / f"{name}.parquet").to_pylist()
        expected = [(n, d) for n, d in enumerate(documents) if name != "g.jsonl" or n not in (4, 7)]
        assert [(row["input"], row["record"], row["id"], row["text"]) for row in rows] == [
            (name, number, document.id, document.text) for number, document in expected
        ]
        found = tagger.tag([document.text for _, document in expected])
        for row, entities in zip(rows, found, strict=True):
            assert row["annotated_types"] == ["Chemical", "Disease"]
            assert [(e["start"], e["end"], e["type"], e["concepts"]) for e in row["entities"]] == [
                (e.start, e.end, e.type, [e.kg_id] if e.kg_id else []) for e in entities
            ]
            for stored, entity in zip(row["entities"], entities, strict=True):
                attributes = dict(stored["attributes"])
                assert float(attributes["score"]) == pytest.approx(entity.score, abs=1e-5)
                assert attributes.get("kg_name") == entity.kg_name
            n_entities += len(entities)
    assert n_entities > 100
    assert not (output / ".chunks").exists()


def test_what_cannot_be_read_is_a_failure_with_its_place(finished: tuple[Path, TagReport]) -> None:
    output, report = finished
    assert {path.name for path in (output / "failures").iterdir()} == {"g.jsonl.parquet"}
    rows = pq.read_table(output / "failures" / "g.jsonl.parquet").to_pylist()
    assert [(row["input"], row["record"], row["line"]) for row in rows] == [("g.jsonl", 4, 5), ("g.jsonl", 7, 8)]
    assert "text: Input should be a valid string" in rows[1]["reason"]
    assert (report.counts.failures, report.counts.documents) == (2, sum(NAMES.values()) + 8)


def test_the_manifest_counts_and_hashes_what_is_there(finished: tuple[Path, TagReport], world: World) -> None:
    output, report = finished
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["totals"] == report.counts.as_dict()
    assert set(manifest["inputs"]) == set(world.documents)
    files = {}
    for name, entry in manifest["inputs"].items():
        assert entry["sha256"] == hashlib.sha256((world.folder / name).read_bytes()).hexdigest()
        assert entry["documents"] + entry["failures"] == len(world.documents[name])
        assert entry["n_bytes"] == (world.folder / name).stat().st_size
        files |= entry["files"]
    there = [path for path in output.rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert files == {str(p.relative_to(output)): hashlib.sha256(p.read_bytes()).hexdigest() for p in there}
    assert manifest["versions"]["ray"]


@pytest.mark.parametrize("format", ["jsonl", "pubtator", "bioc_xml", "bioc_json"])
def test_conversions_hold_the_same_entities(finished: tuple[Path, TagReport], world: World, format: str) -> None:
    output, report = finished
    assert report.refused == {}
    ending = {"bioc_xml": "xml", "bioc_json": "json"}.get(format, format)
    for name in world.documents:
        canonical = list(read_documents(output / "documents" / f"{name}.parquet"))
        converted = list(read_documents(output / format / f"{name}.{ending}", format))
        assert [document.id for document in converted] == [document.id for document in canonical]
        for ours, theirs in zip(canonical, converted, strict=True):
            spans = [(e.start, e.end, e.type, e.concepts) for e in ours.entities]
            assert [(e.start, e.end, e.type, e.concepts) for e in theirs.entities] == spans
    dropped = json.loads((output / "manifest.json").read_text())["inputs"]["a.jsonl"]["conversions"][format]["dropped"]
    assert ("entity.attributes" in dropped) == (format == "pubtator")


def test_again_it_does_nothing_but_what_is_new(finished: tuple[Path, TagReport], world: World, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(finished[0], output)
    shutil.rmtree(output / "pubtator")
    manifest = json.loads((output / "manifest.json").read_text())
    for entry in manifest["inputs"].values():
        del entry["conversions"]["pubtator"]
    (output / "manifest.json").write_text(json.dumps(manifest))
    before = {path: path.stat().st_mtime_ns for path in (output / "documents").rglob("*.parquet")}
    report = tag_corpus(world.config(output, to=["pubtator"], max_failures=0.3, workers={"max": 3}))
    assert report.counts == finished[1].counts
    assert {path: path.stat().st_mtime_ns for path in (output / "documents").rglob("*.parquet")} == before
    assert len(list(read_documents(output / "pubtator" / "a.jsonl.pubtator"))) == 40
    entry = json.loads((output / "manifest.json").read_text())["inputs"]["a.jsonl"]
    assert set(entry["conversions"]) == {"jsonl", "pubtator", "bioc_xml", "bioc_json"}
    assert len(entry["files"]) == 5
    assert tag_corpus(world.config(output)).counts == report.counts


class TestRefusals:
    """An output folder is one run's, and what cannot be tagged is said before it costs anything."""

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"threshold": 0.4}, r"settings\.threshold"),
            ({"types": ["Chemical"]}, r"settings\.types"),
            ({"chunks": {"records": 8}}, r"settings\.chunks\.records"),
        ],
    )
    def test_other_settings(
        self, finished: tuple[Path, TagReport], world: World, changes: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(ConfigError, match=rf"manifest\.json: .* differs in {named}; give the same .* another out"):
            tag_corpus(world.config(finished[0], **changes))

    def test_another_model(self, finished: tuple[Path, TagReport], world: World, tmp_path: Path) -> None:
        shutil.copytree(world.checkpoint, tmp_path / "moved")
        same = replace(world, checkpoint=tmp_path / "moved")
        assert tag_corpus(same.config(finished[0])).counts == finished[1].counts
        (tmp_path / "moved" / "student.json").open("a").write("\n")
        with pytest.raises(ConfigError, match="differs in model;"):
            tag_corpus(same.config(finished[0]))

    def test_other_inputs(self, finished: tuple[Path, TagReport], world: World, tmp_path: Path) -> None:
        shutil.copytree(world.folder, tmp_path / "in")
        with pytest.raises(ConfigError, match=r"differs in inputs\.a\.jsonl, .* and 2 more;"):
            tag_corpus(world.config(finished[0], inputs=[str(tmp_path / "in")]))

    def test_a_folder_of_something_else(self, world: World, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("")
        with pytest.raises(OutputError, match=r"expected a new or empty folder, .*; found thesis\.tex"):
            tag_corpus(world.config(tmp_path))
        (tmp_path / "manifest.json").write_text("[1]")
        with pytest.raises(OutputError, match="is no manifest of a tagging run"):
            tag_corpus(world.config(tmp_path))

    def test_nothing_to_tag(self, world: World, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such file"):
            tag_corpus(world.config(tmp_path / "out", inputs=[str(tmp_path / "nowhere.jsonl")]))
        assert not (tmp_path / "out").exists()

    @pytest.mark.usefixtures("ray_cluster")
    def test_bad_types_are_refused_and_leave_the_folder_free(self, world: World, tmp_path: Path) -> None:
        inputs = [str(world.folder / "e.jsonl.zst")]
        with pytest.raises(ConfigError, match="expected names, each once, got 'Gene' 2 times") as raised:
            tag_corpus(world.config(tmp_path / "out", inputs=inputs, types=["Gene", "Gene"]))
        assert "ray::" not in str(raised.value)
        assert tag_corpus(world.config(tmp_path / "out", inputs=inputs, types=["Disease"])).counts.documents == 1

    @pytest.mark.slow
    @pytest.mark.usefixtures("ray_cluster")
    def test_no_checkpoint(self, world: World, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError):
            tag_corpus(world.config(tmp_path / "out", checkpoint=str(world.folder)))


@pytest.mark.usefixtures("ray_cluster")
def test_too_many_failures_stop_the_run_which_can_go_on(world: World, tmp_path: Path) -> None:
    good = [json.dumps({"id": str(n), "text": d.text}) for n, d in enumerate(make_documents(400))]
    lines = [line if n % 3 else "{" for n, line in enumerate(good)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    config = world.config(
        tmp_path / "out", inputs=[str(tmp_path / "in.jsonl")], max_failures=0.3, chunks={"records": 60}
    )
    with pytest.raises(TooManyFailures, match=r"documents failed, more than max_failures=0\.3 of them; in\.jsonl: .*"):
        tag_corpus(config)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["status"] == "stopped"
    assert manifest["totals"]["documents"] == 0, "it did not stop before the end"
    report = tag_corpus(config.model_copy(update={"max_failures": 0.4}))
    assert (report.counts.documents, report.counts.failures) == (266, 134)
    with pytest.raises(TooManyFailures, match="134 of 400 documents failed"):
        tag_corpus(config)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["status"] == "complete"


@pytest.mark.usefixtures("ray_cluster")
def test_odd_texts_come_out_as_they_went_in(world: World, tmp_path: Path) -> None:
    texts = ["", " \n\t ", "gout\x00 and asthma", "\u202egout\u0301 עברית", "x" * 300_000 + " gout ."]
    lines = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts)]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines, '{"id": "s", "text": "gout \\ud800 ."}']) + "\n")
    report = tag_corpus(world.config(tmp_path / "out", inputs=[str(tmp_path / "in.jsonl")]))
    documents = list(read_documents(tmp_path / "out" / "documents" / "in.jsonl.parquet"))
    assert [document.text for document in documents] == texts
    assert (report.counts.documents, report.counts.failures) == (5, 1)
    assert documents[0].entities == documents[1].entities == ()
    found = Tagger.load(world.checkpoint).tag(texts)
    assert [[(e.start, e.end) for e in d.entities] for d in documents] == [[(e.start, e.end) for e in f] for f in found]
    assert any(found)
