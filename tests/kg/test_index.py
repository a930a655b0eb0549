"""The linking index: what it holds, and that its folder is whole, mapped, and of the tables beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_links import ROWS, make_directions, make_nodes, row

from kogner_ray.errors import CheckpointError
from kogner_ray.kg.index.files import MANIFEST
from kogner_ray.kg.index.index import LinkIndex
from kogner_ray.kg.index.neighbours import FEWEST_ROWS, Neighbours, is_available, write_neighbours
from kogner_ray.kg.linking import Linker
from kogner_ray.kg.ranking.chooser import Chooser
from kogner_ray.kg.ranking.finder import Query
from kogner_ray.kg.ranking.links import Links, make_links, read_links, write_links
from kogner_ray.kg.ranking.pool import Group
from kogner_ray.kg.ranking.ranker import Ranker

GROUPS = [
    Group(i, Query(text), type)
    for i, (text, type) in enumerate(
        [("aspirin", "Chemical"), ("HF", "Disease"), ("nephrotoxic", "Disease"), ("nothing like it", "Disease")]
    )
]


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "entities"
    folder.mkdir()
    pq.write_table(make_nodes(), folder / "entities.parquet")
    return folder


@pytest.fixture
def links() -> Links:
    return Links(LinkIndex.build(make_nodes(), directions=make_directions()), Ranker())


def test_what_an_index_holds() -> None:
    index = LinkIndex.build(make_nodes())
    assert len(index) == len(ROWS) and index.n_concepts == len(ROWS) - 2
    assert [index.ids[i] for i in range(len(index))] == [entry[0] for entry in ROWS]
    assert index.names[row("DOID:557")] == "kidney disease"
    kidney = int(index.concepts[row("DOID:557")])
    assert sorted(index.members_of(kidney).tolist()) == [row("MESH:D007674"), row("DOID:557")]
    assert index.vocabularies[0] == "mesh" and set(index.vocabularies) == {"mesh", "chebi", "drugbank", "doid", "omim"}
    bits = int(index.vocabulary_bits[kidney])
    assert {name for i, name in enumerate(index.vocabularies) if bits >> i & 1} == {"mesh", "doid"}
    assert index.row_of("DOID:557") == row("DOID:557") and index.row_of("557") is None


def test_a_folder_gives_what_was_written(tmp_path: Path, tables: Path, links: Links) -> None:
    write_links(links, tmp_path / "index", entities=tables)
    read = read_links(tmp_path / "index", entities=tables)
    assert isinstance(read.index.exact.names.hashes.base, np.memmap) or isinstance(
        read.index.exact.names.hashes, np.memmap
    )
    points = make_directions(seed=1)[: len(GROUPS)].astype(np.float32)
    own, theirs = (Chooser(found.index, found.ranker).link(GROUPS, points) for found in (links, read))
    np.testing.assert_array_equal(own[0], theirs[0])
    np.testing.assert_allclose(own[1], theirs[1], rtol=1e-6)
    assert own[0][0] == row("MESH:D001241")
    again = write_links(read, tmp_path / "again", entities=tables)
    files = json.loads((again / MANIFEST).read_text())["files"]
    assert all((again / name).read_bytes() == (tmp_path / "index" / name).read_bytes() for name in files)


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest", "format", "ranker", "array"])
def test_a_damaged_index_is_refused(tmp_path: Path, tables: Path, links: Links, damage: str) -> None:
    folder = write_links(links, tmp_path / "index", entities=tables)
    manifest = json.loads((folder / MANIFEST).read_text())
    victim = folder / "grams.names.npy"
    if damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-4])
    elif damage == "gone":
        victim.unlink()
    elif damage == "manifest":
        (folder / MANIFEST).write_text("{")
    elif damage == "format":
        (folder / MANIFEST).write_text(json.dumps(manifest | {"format": 99}))
    elif damage == "ranker":
        (folder / "ranker.json").write_text('{"format": 1, "features": ["name"]}')
    else:
        victim.write_bytes(b"\0" * victim.stat().st_size)
    with pytest.raises(CheckpointError, match="index"):
        read_links(folder, entities=tables)


def test_an_index_of_other_entities_is_refused(tmp_path: Path, tables: Path, links: Links) -> None:
    folder = write_links(links, tmp_path / "index", entities=tables)
    pq.write_table(make_nodes().slice(1), tables / "entities.parquet")
    with pytest.raises(CheckpointError, match="another entity table"):
        read_links(folder, entities=tables)
    assert len(read_links(folder).index) == len(ROWS)


def test_an_index_replaces_an_index_and_nothing_else(tmp_path: Path, tables: Path, links: Links) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    with pytest.raises(CheckpointError, match="nothing written"):
        write_links(links, tmp_path / "mine", entities=tables)
    folder = write_links(links, tmp_path / "index", entities=tables)
    write_links(make_links(make_nodes().slice(0, 3)), folder, entities=tables)
    assert len(read_links(folder).index) == 3


def test_an_empty_table_links_nothing() -> None:
    links = make_links(make_nodes().slice(0, 0))
    assert Chooser(links.index, links.ranker).link(GROUPS)[0].tolist() == [-1] * len(GROUPS)


@pytest.mark.skipif(not is_available(), reason="needs faiss")
def test_neighbours_of_many_rows_are_nearly_all_found(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    wide = generator.normal(size=(FEWEST_ROWS + 1000, 16)).astype(np.float32)
    directions = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    assert write_neighbours(directions, tmp_path / "lists.faiss")
    points = directions[::100].astype(np.float32)
    found = Neighbours(directions, tmp_path / "lists.faiss").nearest(points, most=8)
    exact = np.argsort(-(points @ directions.T.astype(np.float32)), axis=1)[:, :8]
    assert (found[:, 0] == np.arange(len(directions))[::100]).all()
    assert np.mean([len(set(a) & set(b)) / 8 for a, b in zip(found.tolist(), exact.tolist(), strict=True)]) > 0.8
    write_neighbours(directions, tmp_path / "again.faiss")
    assert (tmp_path / "again.faiss").read_bytes() == (tmp_path / "lists.faiss").read_bytes()
    with pytest.raises(CheckpointError, match="expected lists"):
        Neighbours(directions[1:], tmp_path / "lists.faiss").nearest(points, most=8)
    assert (Neighbours(directions).nearest(points, most=8) == -1).all()


def test_neighbours_of_few_rows_are_exact() -> None:
    directions = make_directions()
    found = Neighbours(directions).nearest(directions.astype(np.float32), most=len(ROWS) + 2)
    assert found[:, 0].tolist() == list(range(len(ROWS))) and (found[:, len(ROWS) :] == -1).all()


def test_the_linker_of_exact_names_works_on_the_mapped_index(tmp_path: Path, tables: Path, links: Links) -> None:
    read = read_links(write_links(links, tmp_path / "index", entities=tables))
    assert Linker(read.index.exact).candidates("hf", ["Disease"]) == Linker(links.index.exact).candidates(
        "hf", ["Disease"]
    )
