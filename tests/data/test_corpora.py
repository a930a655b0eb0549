"""Corpus files through Ray Data: the same documents as read directly, the same errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray.data
from object_store import put, s3_server

from kogner_ray.data.corpora import corpus_paths, plain_errors, read_corpus
from kogner_ray.data.formats import read_documents, write_documents
from kogner_ray.data.spans import SCHEMA, Document, Entity, document_from_row
from kogner_ray.errors import DataError


@pytest.fixture
def in_order(ray_cluster: None) -> Iterator[None]:
    options = ray.data.DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, True
    yield
    options.preserve_order = before


def _documents(prefix: str, n: int) -> list[Document]:
    entity = Entity(0, 7, "Chem", ("D001241",), id="T1", attributes={"score": "0.9"})
    return [
        Document(f"{prefix}{i}", f"aspirin {i} \U0001f9ec", (entity,), attributes={"year": "1999"}) for i in range(n)
    ]


def test_several_formats_read_as_directly(in_order: None, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    for i, name in enumerate(("a.jsonl", "b/c.parquet", "b/d.jsonl.gz", "e.xml")):
        write_documents(_documents(name, 700 if i == 0 else 3), folder / name)
    (folder / "b" / "README.md").write_text("not a corpus")
    (folder / ".hidden.jsonl").write_text("not a corpus")
    write_documents([], folder / "b" / "empty.jsonl")
    dataset = read_corpus(folder)
    direct = [document for path in corpus_paths(folder) for document in read_documents(path)]
    assert len(direct) == 709
    assert [document_from_row(row) for row in dataset.iter_rows()] == direct
    assert dataset.schema().base_schema.equals(SCHEMA)
    assert len(dataset.input_files()) == 5


def test_types_are_renamed_and_declared(in_order: None, tmp_path: Path) -> None:
    write_documents(_documents("d", 2), tmp_path / "x.jsonl")
    dataset = read_corpus(
        tmp_path / "*.jsonl", type_names={"Chem": "Chemical"}, annotated_types=["Chemical", "Disease"]
    )
    for row in dataset.take_all():
        document = document_from_row(row)
        assert document.entities[0].type == "Chemical"
        assert document.annotated_types == ("Chemical", "Disease")


def test_a_bad_line_keeps_its_type_and_place(ray_cluster: None, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "x.jsonl"
    write_documents(_documents("d", 2), good)
    bad.write_text('{"id": "1", "text": "abc"}\n{"id": "2"}\n')
    with pytest.raises(DataError) as caught:
        read_corpus([good, bad]).count()
    assert (caught.value.path, caught.value.line) == (bad, 2)
    with pytest.raises(DataError) as plain, plain_errors():
        read_corpus(bad).materialize()
    assert str(plain.value) == f"{bad}:2: text: Field required"


def test_missing_and_unknown_files_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.doc").write_text("Dear colleague,\n")
    for path, match in [
        (tmp_path / "none.tsv", "found no such file"),
        (tmp_path / "*.tsv", "found no match"),
        (tmp_path, "found a folder without a corpus file"),
        (tmp_path / "notes.doc", "unknown format"),
    ]:
        with pytest.raises(DataError, match=match):
            read_corpus(path)


def test_a_corpus_on_s3_reads_as_directly(in_order: None, tmp_path: Path) -> None:
    write_documents(_documents("x", 3), tmp_path / "x.jsonl")
    write_documents(_documents("y", 3), tmp_path / "y.parquet")
    with s3_server() as address:
        put("corpus", {f"in/{path.name}": path.read_bytes() for path in tmp_path.iterdir()}, acl="public-read")
        # the workers began before there was a server: they know it from the URI, and nothing of its credentials
        rows = read_corpus(f"s3://corpus/in?endpoint_override={address}&scheme=http").take_all()
    assert [document_from_row(row) for row in rows] == [*_documents("x", 3), *_documents("y", 3)]


def test_a_real_corpus(in_order: None, mirror: Path) -> None:
    [folder] = mirror.glob("*/*/*/**/NCBI-disease-IOB")
    rows = read_corpus(folder).take_all()
    direct = [d for split in ("devel", "test", "train") for d in read_documents(folder / f"{split}.tsv")]
    assert [document_from_row(row) for row in rows] == direct
