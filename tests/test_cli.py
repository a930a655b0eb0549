"""The `kogner` command in a process of its own."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kogner_ray.cli.kg import app as kg_app
from kogner_ray.data.formats.registry import read_documents, write_documents
from kogner_ray.data.spans import Document, Entity
from kogner_ray.errors import ConfigError


def kogner(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kogner_ray.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, input=text, check=False, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), ["distill", "evaluate", "train-teacher", "tag", "export", "data", "kg"]),
        (("distill",), ["--config", "--set"]),
        (("evaluate",), ["checkpoint", "threshold"]),
        (("tag",), ["--checkpoint", "--to", "--max-failures", "--config"]),
        (("data",), ["list", "get", "convert"]),
        (("kg",), ["build", "coverage", "stats", "plot", "merge", "neighbours", "annotate"]),
        (("kg", "annotate"), ["RAW...", "--gold", "--types", "--ids"]),
        (("kg", "merge"), ["KG...", "--collapse", "--synonyms"]),
    ],
)
def test_help(arguments: tuple[str, ...], said: list[str]) -> None:
    shown = kogner(*arguments, "--help")
    assert shown.returncode == 0
    assert all(word in shown.stdout for word in said)


def test_data_list_states_names_and_licences() -> None:
    shown = kogner("data", "list")
    assert shown.returncode == 0, shown.stderr
    assert "bc5cdr" in shown.stdout
    assert "CC" in shown.stdout


def test_convert_and_coverage(tmp_path: Path) -> None:
    document = Document("1", "Aspirin causes ulcers.", (Entity(0, 7, "Chemical"), Entity(15, 21, "Disease")))
    write_documents([document], tmp_path / "a.jsonl")
    assert kogner("data", "convert", str(tmp_path / "a.jsonl"), str(tmp_path / "a.parquet")).returncode == 0
    assert list(read_documents(tmp_path / "a.parquet")) == [document]

    built = kogner("kg", "build", "--set", f"output={tmp_path / 'kg'}")
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)
    shown = kogner("kg", "coverage", str(tmp_path / "kg"), str(tmp_path / "a.jsonl"))
    assert shown.returncode == 0, shown.stderr
    assert "Chemical" in shown.stdout


def test_kg_commands(tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> str:
        done = CliRunner().invoke(kg_app, [*map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    kg, merged = tmp_path / "kg", tmp_path / "merged"
    ontology = 'format-version: 1.2\n\n[Term]\nid: DOID:1\nname: gout\nsynonym: "podagra" NARROW []\n'
    (tmp_path / "a.obo").write_text(ontology, encoding="utf-8")
    built = json.loads(run("build", tmp_path / "a.obo", kg, "--set", "ontology.scopes=[NARROW]"))
    assert built["node_types"] == {"Disease": 1}

    report = json.loads(run("merge", kg, kg, merged, "--collapse"))
    assert (report["nodes"], report["same_ids"]) == (1, 1)

    assert json.loads(run("stats", merged, "--json", "--page", tmp_path / "a.html"))["nodes"] == 1
    assert "Disease" in run("stats", merged) and (tmp_path / "a.html").is_file()
    run("plot", kg, tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()

    (entry,) = json.loads(run("neighbours", merged, "Podagra", "--json"))
    assert entry["node"]["id"] == "DOID:1" and "gout" in run("neighbours", merged, "doid:1")
    with pytest.raises(ConfigError, match="no entity has the id, name or synonym 'nothing'"):
        run("neighbours", kg, "nothing")

    gold = Document("g", "Gout hurts.", (Entity(0, 4, "Disease"),))
    write_documents([gold], tmp_path / "gold.jsonl")
    output = tmp_path / "silver.pubtator.txt"
    given = ("--gold", tmp_path / "gold.jsonl", "--types", "Disease", "--set", "bootstrap=10")
    assert json.loads(run("annotate", kg, tmp_path / "gold.jsonl", output, *given))["quality"]["micro"]["f1"] == 1
    (document,) = read_documents(output)
    assert document.entities[0].concepts == ("DOID:1",)
    with pytest.raises(ConfigError, match="expected KG RAW"):
        run("annotate", kg, output)


def test_export_then_tag(tiny_checkpoint: Path, tmp_path: Path) -> None:
    exported = kogner("export", str(tiny_checkpoint), str(tmp_path / "gliner"))
    assert exported.returncode == 0, exported.stderr
    text = "In patients with gout , metformin was given for ten days ."
    shown = kogner("tag", text, "--checkpoint", str(tmp_path / "gliner"), "--types", "drug,disease")
    assert [json.loads(line)["text"] for line in shown.stdout.splitlines()] == ["gout", "metformin"], shown.stderr


SENTENCE = "In patients with gout , metformin was given for ten days ."


def test_tag_reads_stdin_and_keeps_its_offsets(tiny_checkpoint: Path) -> None:
    text = f"é\r\n{SENTENCE}\r\n"
    shown = kogner("tag", "-", "--checkpoint", str(tiny_checkpoint), text=text)
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [text[e["start"] : e["end"]] for e in found] == [e["text"] for e in found] == ["gout", "metformin"]


def test_tag_colours_where_asked_or_on_a_terminal(tiny_checkpoint: Path) -> None:
    asked = kogner("tag", SENTENCE, "--checkpoint", str(tiny_checkpoint), "--color")
    assert asked.returncode == 0, asked.stderr
    plain = re.sub(r"\x1b\[[\d;]*m", "", asked.stdout)
    assert plain != asked.stdout
    assert re.search(r"with \[gout Disease \d\.\d\d → disease:1 gout\] , \[metformin Chemical", plain)
    for options, expected in (((), asked.stdout), (("--json",), "{")):
        assert on_a_terminal("tag", SENTENCE, "--checkpoint", str(tiny_checkpoint), *options).startswith(expected)


def on_a_terminal(*arguments: str) -> str:
    """What the command writes when its standard output is a terminal."""
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "kogner_ray.cli", *arguments]
    process = subprocess.Popen(command, stdout=its, stderr=subprocess.DEVNULL)
    os.close(its)
    written = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end was closed
        while piece := os.read(ours, 4096):
            written += piece
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("distill", "--set", "train.epoch=1"), "did you mean 'epochs'"),
        (("distill", "--config", "nowhere.yaml"), "nowhere.yaml"),
        (("data", "get", "bc5cd"), "bc5cdr"),
        (("evaluate", "nowhere", "nothing.txt"), "nothing.txt"),
        (("export", "nowhere", "somewhere", "--format", "onx"), "expected gliner or onnx, got onx"),
        (("export", "nowhere", "somewhere", "--precision", "int8"), "only --format onnx has one"),
        (("tag", "text", "--checkpoint", "nowhere"), "nowhere"),
        (("tag", "text", "--checkpoint", "nowhere", "--json", "--color"), "expected one of them"),
    ],
)
def test_a_users_error_is_one_line_and_exit_code_1(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    failed = kogner(*arguments)
    assert failed.returncode == 1
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
    assert len([line for line in failed.stderr.splitlines() if "error:" in line]) == 1
