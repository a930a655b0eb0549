"""Files to a canonical folder, whole or not at all; the job over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kogner_ray.config import load_config, make_config
from kogner_ray.errors import CheckpointError, ConfigError, DataError
from kogner_ray.kg.build import BuildKgConfig, build_kg
from kogner_ray.kg.formats import read_any
from kogner_ray.kg.partition import PartitionConfig, read_meta, read_part
from kogner_ray.kg.tables import read_kg

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    nodes = "id\tname\ttype\nx\taspirin\tDrug\ny\tpain\tDisease\nz\tgout\tDisease\nx\tagain\tDrug\n"
    (folder / "nodes.tsv").write_text(nodes, encoding="utf-8")
    (folder / "edges.tsv").write_text("x\ttreats\ty\nx\ttreats\tnowhere\ny\tlike\ty\n", encoding="utf-8")
    return folder


def test_build_writes_tables_parts_and_report(source: Path, tmp_path: Path) -> None:
    config = BuildKgConfig(source=source, output=tmp_path / "kg", partition=PartitionConfig(n_parts=2))
    report = build_kg(config)
    kg = read_kg(tmp_path / "kg")
    assert kg.nodes["degree"].to_pylist() == [1, 3, 0]
    assert (report.node_types, report.relations) == ({"Disease": 2, "Drug": 1}, {"like": 1, "treats": 1})
    assert (report.isolated_nodes, report.read.count("dangling edge"), report.read.count("duplicate id")) == (1, 1, 1)
    assert read_meta(tmp_path / "kg/parts") == report.partition
    assert sum(read_part(tmp_path / "kg/parts", index).edges.num_rows for index in range(2)) == 2
    stored = json.loads((tmp_path / "kg/report.json").read_text(encoding="utf-8"))
    assert stored["config"]["partition"]["n_parts"] == 2
    assert stored["read"]["issues"][0]["first"] == [f"{source / 'nodes.tsv'}:5: id 'x'"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kg", "source"]


def test_the_embedded_graph_is_regular(tmp_path: Path) -> None:
    report = build_kg(make_config(BuildKgConfig, {"output": tmp_path / "kg", "strict": True}))
    assert report.read.issues == ()
    assert len(report.node_types) >= 6 and len(report.relations) >= 8 and report.read.edges >= 1500


def test_building_again_replaces_and_is_equal(source: Path, tmp_path: Path) -> None:
    build_kg(BuildKgConfig(source=source, output=tmp_path / "kg", partition=PartitionConfig(n_parts=2)))
    first = read_kg(tmp_path / "kg")
    build_kg(BuildKgConfig(source=tmp_path / "kg", output=tmp_path / "copy", strict=True))
    build_kg(BuildKgConfig(source=tmp_path / "copy", output=tmp_path / "kg"))
    again = read_kg(tmp_path / "kg")
    assert again.nodes.equals(first.nodes) and again.edges.equals(first.edges)
    assert not (tmp_path / "kg/parts").exists()


def test_a_failed_build_leaves_the_older_output(source: Path, tmp_path: Path) -> None:
    build_kg(BuildKgConfig(source=source, output=tmp_path / "kg"))
    with pytest.raises(DataError, match=r"nodes\.tsv:5: duplicate id"):
        build_kg(BuildKgConfig(source=source, output=tmp_path / "kg", strict=True))
    with pytest.raises(ConfigError, match="one part a node"):
        build_kg(BuildKgConfig(source=source, output=tmp_path / "kg", partition=PartitionConfig(n_parts=9)))
    assert read_kg(tmp_path / "kg").n_nodes == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kg", "source"]


@pytest.mark.parametrize("output", ["source", "."])
def test_the_source_is_never_overwritten(source: Path, tmp_path: Path, output: str) -> None:
    with pytest.raises(ConfigError, match="holds the source"):
        build_kg(BuildKgConfig(source=source / "edges.tsv", output=tmp_path / output))
    assert (source / "edges.tsv").is_file()


def test_a_folder_of_something_else_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(CheckpointError, match="expected a new or empty folder"):
        build_kg(BuildKgConfig(source=source, output=tmp_path / "precious"))
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["thesis.txt"]


def test_a_full_disk_leaves_no_half_written_output(source: Path, tmp_path: Path) -> None:
    # A limit on the size of written files is to the writer what a full disk is: write() fails with an OSError.
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from kogner_ray.kg.build import *; config = BuildKgConfig(source=Path(sys.argv[1]), output=Path(sys.argv[2]));"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); build_kg(config)"
    )
    done = _run("-c", code, str(source), str(tmp_path / "kg"))
    assert done.returncode == 1 and "CheckpointError" in done.stderr and "could not be written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_no_edges(tmp_path: Path) -> None:
    (tmp_path / "edges.tsv").write_text("head\trelation\ttail\n", encoding="utf-8")
    (tmp_path / "nodes.tsv").write_text("id\tname\ttype\na\t1\tGene\nb\t2\tGene\n", encoding="utf-8")
    config = BuildKgConfig(source=tmp_path, output=tmp_path.parent / "built", partition=PartitionConfig(n_parts=2))
    report = build_kg(config)
    assert report.relations == {} and report.isolated_nodes == 2
    assert report.partition is not None and (report.partition.nodes, report.partition.edges) == ([1, 1], [0, 0])
    assert read_any(config.output)[0].nodes["name"].to_pylist() == ["1", "2"]


def test_the_job_prints_the_report(source: Path, tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text(f"source: {source}\noutput: {tmp_path / 'kg'}\n", encoding="utf-8")
    done = _run("jobs/build_kg.py", "--config", str(tmp_path / "build.yaml"), "--set", "partition.n_parts=2")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["partition"]["nodes"] in ([1, 2], [2, 1])
    assert read_kg(tmp_path / "kg").n_edges == 2


def test_the_job_names_what_is_wrong(tmp_path: Path) -> None:
    done = _run("jobs/build_kg.py", "--set", f"output={tmp_path}/kg", "--set", "sorce=x")
    assert done.returncode == 1
    assert "error: unknown key 'sorce'; did you mean 'source'?" in done.stderr
    with pytest.raises(ConfigError, match="n_parts"):
        load_config(BuildKgConfig, None, ["output=x", "partition.n_parts=0"])


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
