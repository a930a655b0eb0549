"""Jobs: scripts over the same functions as the command, submitted to a Ray that runs already."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from processes import end_all_in
from small_corpus import make_documents, make_table, student_config

from kogner_ray.data.formats.registry import write_documents
from kogner_ray.kg.embeddings import write_entity_table
from kogner_ray.tagger import Tagger

ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).with_name("ray"))


@pytest.mark.parametrize("name", ["build_kg", "merge_kg", "annotate_kg", "train_teacher", "distill", "evaluate", "tag"])
def test_each_job_explains_itself(name: str) -> None:
    shown = subprocess.run(
        [sys.executable, ROOT / "jobs" / f"{name}.py", "--help"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert "Usage" in shown.stdout


def test_the_evaluation_job_scores_a_checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> None:
    write_documents(make_documents(5, seed=4), tmp_path / "corpus.jsonl")
    command = [sys.executable, ROOT / "jobs" / "evaluate.py", tiny_checkpoint, tmp_path / "corpus.jsonl"]
    done = subprocess.run([*command, "--output", tmp_path / "scores.json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "micro F1" in done.stdout
    assert json.loads((tmp_path / "scores.json").read_text())["micro"]["f1"] > 0.9


@pytest.fixture
def ray_head() -> Iterator[dict[str, str]]:
    """A Ray with a job server, started as the README says; the environment to reach it."""
    folder = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))  # short: it holds sockets
    port, dashboard, agent = (_free_port() for _ in range(3))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(folder)}
    ports = [f"--port={port}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    command = [RAY, "start", "--head", "--num-cpus=6", "--disable-usage-stats", f"--temp-dir={folder}", *ports]
    try:
        started = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=180)
        assert started.returncode == 0, started.stdout + started.stderr
        yield environment | {"RAY_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    finally:
        end_all_in(folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_submitted_job_trains_on_the_cluster(ray_head: dict[str, str], tiny_encoder: Path, tmp_path: Path) -> None:
    for number, split in enumerate(("train", "dev", "test")):
        write_documents(make_documents(24, seed=number, prefix=split), tmp_path / f"{split}.jsonl")
    write_entity_table(make_table(), tmp_path / "table")
    student = student_config(tiny_encoder).model_dump(mode="json")
    (tmp_path / "student.yaml").write_text(yaml.safe_dump({"student": student}))
    settings = {
        "output": tmp_path / "run",
        **{f"corpus.{split}": f"[{tmp_path / split}.jsonl]" for split in ("train", "dev", "test")},
        "corpus.name": "null",
        "kg.source": "null",
        "kg.entity_table": tmp_path / "table",
        "num_workers": 2,
        "cpus_per_worker": 0.5,
        "train.epochs": 2,
        "bootstrap": 0,
        "compare": "false",
    }
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    job = ["python", "jobs/distill.py", "--config", str(tmp_path / "student.yaml"), *overrides]
    command = [RAY, "job", "submit", "--working-dir", ".", "--", *job]

    def submit() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=ROOT, env=ray_head, capture_output=True, text=True, check=False, timeout=500)

    for _ in range(20):
        done = submit()
        if "No available agent" not in done.stderr:
            break
        time.sleep(2)  # the head takes its time to start everything
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    assert len((tmp_path / "run" / "student" / "metrics.jsonl").read_text().splitlines()) == 2
    assert Tagger.load(tmp_path / "run" / "checkpoint").types == {"Chemical": "Chemical", "Disease": "Disease"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
