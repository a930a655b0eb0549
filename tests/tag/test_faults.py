"""Whatever dies while a corpus is tagged, each document comes out once, as it does undisturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from processes import descendants, end_all_in, living_in, wait_until
from small_corpus import make_documents

from kogner_ray.data.formats.registry import write_documents
from kogner_ray.tag.corpus import TagConfig, tag_corpus
from kogner_ray.tagger import Tagger

JOB = Path(__file__).parents[2] / "jobs" / "tag.py"
SIZES = {"a.jsonl": 400, "b.jsonl.gz": 100}
ACTOR = "ray::MapWorker(MapBatches(TagWorker))"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for name, n in SIZES.items():
        write_documents(make_documents(n, prefix=name[0], seed=n), folder / name)
    return folder


def check_against_the_tagger(output: Path, checkpoint: Path) -> None:
    """One record a document; ids, spans and types those of the Tagger, but where a score is at the threshold."""
    tagger = Tagger.load(checkpoint)
    for name, n in SIZES.items():
        rows = pq.read_table(output / "documents" / f"{name}.parquet").to_pylist()
        documents = make_documents(n, prefix=name[0], seed=n)
        assert [(row["record"], row["id"]) for row in rows] == [(i, d.id) for i, d in enumerate(documents)]
        for row, entities in zip(rows, tagger.tag([d.text for d in documents], threshold=0.5 - 1e-5), strict=True):
            expected = {(e.start, e.end, e.type): e for e in entities}
            found = {(e["start"], e["end"], e["type"]): dict(e["attributes"]) for e in row["entities"]}
            assert found.keys() <= expected.keys()
            for place in expected.keys() - found.keys():
                assert expected[place].score < 0.5 + 1e-5
            for place, attributes in found.items():
                assert float(attributes["score"]) == pytest.approx(expected[place].score, abs=1e-5)
    assert sorted(path.name for path in output.iterdir()) == ["documents", "manifest.json"]
    assert json.loads((output / "manifest.json").read_text())["status"] == "complete"


def n_chunks(output: Path) -> int:
    return sum(1 for _ in (output / ".chunks").glob("*/????????.parquet"))


def start(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("w") as file:
        return subprocess.Popen(command, env=environment, stdout=file, stderr=file)


def test_a_killed_driver_goes_on_when_started_again(
    corpus: Path, tiny_checkpoint: Path, ray_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"RAY_TMPDIR": str(ray_folder)}
    command = [sys.executable, str(JOB), str(corpus), str(output), "--checkpoint", str(tiny_checkpoint)]
    command += ["--set", "chunks.records=2", "--workers", "2"]  # 250 chunks
    after = random.SystemRandom().randrange(1, 90)

    first = start(command, environment, tmp_path / "first.log")
    amid = wait_until(lambda: n_chunks(output) >= after or first.poll() is not None, seconds=300)
    assert amid and first.poll() is None, (tmp_path / "first.log").read_text()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert wait_until(lambda: not living_in(ray_folder), seconds=60) or end_all_in(ray_folder) is None
    there = {path: path.stat().st_mtime_ns for path in (output / ".chunks").glob("*/????????.parquet")}
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["status"] == "running", f"the run ended before it was killed after {after} chunks"

    second = start(command, environment, tmp_path / "second.log")
    changed = []
    while second.poll() is None:
        for path, modified in there.items():
            if path.exists() and path.stat().st_mtime_ns != modified:
                changed.append(path)
        wait_until(lambda: second.poll() is not None, seconds=0.2)
    assert second.returncode == 0, (tmp_path / "second.log").read_text()
    assert not changed, "chunks that were there were tagged again"
    check_against_the_tagger(output, tiny_checkpoint)


@pytest.mark.usefixtures("ray_cluster")
def test_killed_actors_lose_and_double_nothing(corpus: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    output, outcome = tmp_path / "out", {}
    values: dict[str, Any] = {"inputs": [str(corpus)], "output": str(output), "checkpoint": str(tiny_checkpoint)}
    config = TagConfig.model_validate(values | {"chunks": {"records": 5}, "workers": {"min": 2, "max": 2}})

    def run() -> None:
        outcome["report"] = tag_corpus(config)

    thread = threading.Thread(target=run)
    thread.start()
    killed = []
    for after in (3, 40):
        assert wait_until(lambda: n_chunks(output) >= after or not thread.is_alive(), seconds=120)  # noqa: B023
        killed += [pid for pid in descendants(ACTOR) if pid not in killed][:1]
        os.kill(killed[-1], signal.SIGKILL)
    thread.join(300)
    assert outcome["report"].counts.documents == sum(SIZES.values())
    assert len(killed) == 2
    check_against_the_tagger(output, tiny_checkpoint)


@pytest.mark.slow
def test_a_lost_node_loses_and_doubles_nothing(
    corpus: Path, tiny_checkpoint: Path, ray_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    settings: dict[str, Any] = {"inputs": [str(corpus)], "output": str(output), "checkpoint": str(tiny_checkpoint)}
    settings |= {"chunks": {"records": 1}, "workers": {"min": 2, "max": 2}}
    script = Path(__file__).with_name("lose_a_node.py")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"RAY_TMPDIR": str(ray_folder), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, str(script), json.dumps(settings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["lost"] >= 1, said
    assert said["counts"]["documents"] == sum(SIZES.values())
    check_against_the_tagger(output, tiny_checkpoint)
