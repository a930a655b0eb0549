"""From S3 to S3, by the job, in processes of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
from object_store import put, s3_server
from small_corpus import make_documents

from kogner_ray.data.formats.registry import read_documents, write_documents
from kogner_ray.tag.output import OutputFolder
from kogner_ray.tagger import Tagger

JOB = Path(__file__).parents[2] / "jobs" / "tag.py"


def test_a_bucket_is_tagged_into_another(tiny_checkpoint: Path, tmp_path: Path) -> None:
    objects = {}
    for seed, name in enumerate(("a.jsonl", "deep/b.pubtator.gz")):
        write_documents(make_documents(30, seed=seed), tmp_path / name, strict=False)
        objects[f"in/{name}"] = (tmp_path / name).read_bytes()
    objects["in/a.jsonl"] += b'{"id": "cut off\n'
    with s3_server():
        put("corpus", objects)
        put("tagged", {"else/where.txt": b"of someone else"})
        command = [sys.executable, str(JOB), "s3://corpus/in", "s3://tagged/out", "--checkpoint", str(tiny_checkpoint)]
        command += ["--to", "jsonl", "--set", "chunks.records=8", "--types", "Disease"]
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "s3://tagged/out" in done.stdout

        output = OutputFolder("s3://tagged/out")
        manifest = json.loads(output.read_text("manifest.json"))
        assert manifest["status"] == "complete"
        assert output.names() == ["documents", "failures", "jsonl", "manifest.json"]
        assert manifest["inputs"]["a.jsonl"]["sha256"] == hashlib.sha256(objects["in/a.jsonl"]).hexdigest()
        assert manifest["totals"]["documents"] == 60
        tagger = Tagger.load(tiny_checkpoint)
        for seed, name in enumerate(("a.jsonl", "deep/b.pubtator.gz")):
            texts = [document.text for document in make_documents(30, seed=seed)]
            with output.open(f"documents/{name}.parquet") as file:
                rows = pq.read_table(file).to_pylist()
            assert [row["text"] for row in rows] == texts
            found = tagger.tag(texts, ["Disease"])
            spans = [[(e["start"], e["end"], e["type"]) for e in row["entities"]] for row in rows]
            assert spans == [[(e.start, e.end, e.type) for e in entities] for entities in found]
            (tmp_path / "converted.jsonl").write_text(output.read_text(f"jsonl/{name}.jsonl"))
            assert [document.text for document in read_documents(tmp_path / "converted.jsonl")] == texts
        with output.open("failures/a.jsonl.parquet") as file:
            assert pq.read_table(file)["record"].to_pylist() == [30]
