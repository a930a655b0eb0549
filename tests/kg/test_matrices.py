"""Matrices on disk: whole or not there, standardised without being loaded, an entity table that is read in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from kogner_ray.errors import CheckpointError
from kogner_ray.kg import matrices
from kogner_ray.kg.embeddings import EntityTable, read_entity_table, standardise, write_entity_table
from kogner_ray.kg.matrices import (
    Moments,
    StandardisedRows,
    new_matrix,
    open_matrix,
    row_chunks,
    scratch_matrices,
    write_tensors,
)


def test_a_matrix_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "made" / "z.npy"
    with new_matrix(path, (5, 3)) as matrix:
        matrix[:] = torch.arange(15).view(5, 3)
        assert not path.exists()
    found = open_matrix(path)
    assert found.dtype == torch.float16 and found.tolist() == np.arange(15).reshape(5, 3).tolist()
    with pytest.raises(ZeroDivisionError), new_matrix(path, (9, 9)) as matrix:
        matrix[:] = 1 / 0
    assert open_matrix(path).shape == (5, 3)
    assert [entry.name for entry in path.parent.iterdir()] == ["z.npy"]


def test_reading_is_no_writing(tmp_path: Path) -> None:
    with new_matrix(tmp_path / "z.npy", (2, 2)) as matrix:
        matrix.zero_()
    open_matrix(tmp_path / "z.npy").fill_(7)
    assert open_matrix(tmp_path / "z.npy").sum() == 0


def test_an_empty_matrix(tmp_path: Path) -> None:
    with new_matrix(tmp_path / "z.npy", (0, 4)):
        pass
    assert open_matrix(tmp_path / "z.npy").shape == (0, 4)


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "z.npy").write_bytes(b"\x93NUMPY rubbish")
    for name in ("z.npy", "absent.npy"):
        with pytest.raises(CheckpointError, match=name):
            open_matrix(tmp_path / name)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="could not be written"), new_matrix(tmp_path / "file" / "z.npy", (1, 1)):
        pass


def test_scratch_matrices_are_gone_afterwards(tmp_path: Path) -> None:
    with scratch_matrices(tmp_path, (3, 2)) as (first, second):
        first.fill_(1)
        second.fill_(2)
        assert (first.sum(), second.sum(), first.dtype) == (6, 12, torch.float32)
        assert not list(tmp_path.iterdir())  # it never has a name, so that a kill leaves nothing either


def test_moments_in_chunks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(1000, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.0]) + torch.tensor([0.0, 900.0, 2.0])
    monkeypatch.setattr(matrices.row_chunks, "__defaults__", (64,))
    assert len(list(row_chunks(1000))) == 16
    expected = (matrix - matrix.mean(0)) / torch.tensor([*matrix[:, :2].std(0, correction=0), 1.0])
    torch.testing.assert_close(standardise(matrix), expected, rtol=1e-4, atol=1e-4)
    rows = torch.tensor([999, 0, 0, 64])
    lazy = StandardisedRows.of(matrix)
    torch.testing.assert_close(lazy.rows(rows), expected[rows], rtol=1e-4, atol=1e-4)
    assert (lazy.rows(rows)[:, 2] == 0).all() and (len(lazy), lazy.width) == (1000, 3)
    assert Moments.of(matrix.half()).standardised(matrix.half()).dtype == torch.float32


def test_tensors_are_written_as_safetensors_reads_them(tmp_path: Path) -> None:
    first, second = torch.arange(12.0).view(4, 3), torch.zeros(0, 2)
    write_tensors(tmp_path / "t.safetensors", {"a": (first.shape, first.split(3)), "b": (second.shape, [])})
    found = load_file(tmp_path / "t.safetensors")
    assert found["a"].equal(first.half()) and found["b"].shape == (0, 2)


def test_an_entity_table_is_standardised_on_the_way_and_read_in_place(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    raw = {name: 9 + 4 * torch.randn(300, width, generator=generator) for name, width in (("logic", 3), ("text", 5))}
    entities = pa.table({"id": [str(row) for row in range(300)]})
    write_entity_table(EntityTable(entities, raw, {"made": "here"}), tmp_path / "table", standardise=True)
    table = read_entity_table(tmp_path / "table")
    assert list(table.matrices) == ["text", "logic"] and table.provenance == {"made": "here"}
    expected = torch.cat([standardise(raw[name]) for name in ("text", "logic")], dim=1)
    torch.testing.assert_close(table.stacked(), expected, rtol=1e-3, atol=1e-3)
    rows = torch.tensor([7, 299, 7])
    assert table.rows(rows).equal(table.stacked()[rows]) and table.rows(rows).dtype == torch.float32
    assert table.rows(rows, ("logic",)).equal(table.stacked(("logic",))[rows])
    assert any("embeddings.safetensors" in line for line in Path("/proc/self/maps").read_text().splitlines())
    with pytest.raises(CheckpointError, match=r"no \['graph'\]"):
        table.rows(rows, ("graph",))

    write_entity_table(table, tmp_path / "again")  # as it is: what was standardised once stays
    assert read_entity_table(tmp_path / "again").stacked().equal(table.stacked())
