"""Encoded texts by what they were made of: found again, in any order, in any KG, and never half a chunk."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from kogner_ray.errors import CheckpointError
from kogner_ray.kg.matrices import open_matrix
from kogner_ray.teacher.text_store import EncodedTexts, TextStore, text_keys


def nodes(*names: str | None, synonyms: list[str] | None = None, description: str | None = None) -> pa.Table:
    columns = {"synonyms": pa.array([synonyms] * len(names), pa.list_(pa.string()))}
    return pa.table({"name": pa.array(names, pa.string()), **columns, "description": [description or ""] * len(names)})


def encoded(first: int, n: int) -> EncodedTexts:
    numbers = torch.arange(first, first + n)
    return EncodedTexts(numbers.half().unsqueeze(1).repeat(1, 2), numbers.int(), 10 * numbers.int())


def test_a_key_is_all_that_a_text_is_made_of_and_no_more() -> None:
    variants = [nodes("a"), nodes("b"), nodes("a", synonyms=["x"]), nodes("a", description="x"), nodes("a x")]
    assert len({key for table in variants for key in text_keys(table).to_pylist()}) == 5
    assert (
        len(
            {*text_keys(nodes("a", synonyms=["x, y"])).to_pylist()}
            | {*text_keys(nodes("a", synonyms=["x", "y"])).to_pylist()}
        )
        == 2
    )
    assert text_keys(nodes(None)).equals(text_keys(nodes("", synonyms=[])))
    assert text_keys(nodes("a", "b").append_column("id", pa.array(["1", "2"])))[1] == text_keys(nodes("b"))[0]


def test_what_is_there_is_found_in_any_order(tmp_path: Path) -> None:
    store, keys = TextStore(tmp_path / "store"), text_keys(nodes("a", "b", "c", "d", "e"))
    assert store.missing(keys).tolist() == [0, 1, 2, 3, 4]
    store.add(keys.take(pa.array([4, 1])), encoded(0, 2))
    store.add(keys.take(pa.array([2, 0, 3])), encoded(2, 3))
    assert store.missing(keys).tolist() == []
    wanted = text_keys(nodes("a", "e", "a", "d"))
    found = store.collect(wanted, tmp_path / "z.npy")
    assert open_matrix(tmp_path / "z.npy").tolist() == [[3, 3], [0, 0], [3, 3], [4, 4]]
    assert (found.lengths.tolist(), found.left_out.tolist()) == ([3, 0, 3, 4], [30, 0, 30, 40])


def test_only_new_texts_are_missing_each_once(tmp_path: Path) -> None:
    store = TextStore(tmp_path)
    store.add(text_keys(nodes("a", "b")), encoded(0, 2))
    assert store.missing(text_keys(nodes("new", "a", "other", "new", "b"))).tolist() == [0, 2]
    assert store.missing(text_keys(nodes())).tolist() == []
    with pytest.raises(CheckpointError, match="1 of 2 texts are not encoded"):
        store.collect(text_keys(nodes("a", "c")), tmp_path / "z.npy")
    assert not (tmp_path / "z.npy").exists()


def test_the_same_chunk_is_one_file(tmp_path: Path) -> None:
    store = TextStore(tmp_path)
    for _ in range(2):
        store.add(text_keys(nodes("a", "b")), encoded(0, 2))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_chunk_is_named_and_can_be_deleted(tmp_path: Path) -> None:
    store, keys = TextStore(tmp_path), text_keys(nodes("a", "b"))
    store.add(keys, encoded(0, 2))
    (chunk,) = tmp_path.iterdir()
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=f"{chunk.name}: not a complete chunk.*delete it"):
        store.missing(keys)
    chunk.unlink()
    assert store.missing(keys).tolist() == [0, 1]


def test_leftovers_of_killed_runs_are_swept_those_of_others_stay(tmp_path: Path) -> None:
    store = TextStore(tmp_path)
    store.add(text_keys(nodes("a")), encoded(0, 1))
    old, new = tmp_path / ".chunk-1.safetensors.7.partial", tmp_path / ".chunk-2.safetensors.8.partial"
    for path in (old, new):
        path.write_bytes(b"half")
    now = time.time()
    os.utime(old, (now - 60, now - 60))
    store.sweep(before=now - 30)
    assert not old.exists() and new.exists() and store.missing(text_keys(nodes("a"))).tolist() == []


def test_an_unwritable_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="could not be written"):
        TextStore(tmp_path / "file").add(text_keys(nodes("a")), encoded(0, 1))
