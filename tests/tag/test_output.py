"""The output folder: files appear whole, here and on an object store."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from kogner_ray.errors import OutputError
from kogner_ray.tag.output import OutputFolder


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    output = pickle.loads(pickle.dumps(OutputFolder(str(tmp_path / "out"))))
    assert output.names() == []
    with pytest.raises(KeyError), output.writing("documents/a/b.parquet") as path:
        path.write_text("half")
        raise KeyError
    assert not output.has("documents/a/b.parquet")
    output.write_text("documents/a/b.parquet", "whole")
    assert output.names("documents") == ["a"]
    assert output.read_text("documents/a/b.parquet") == "whole"
    output.delete_folder(".chunks")
    assert output.names() == ["documents"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=r"out/manifest\.json: cannot be read or written"):
        OutputFolder(str(tmp_path / "out")).write_text("manifest.json", "{}")
