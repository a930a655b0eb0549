"""Reading goes on after a bad record: as many documents and errors as the file has records, whatever the format."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.data.formats import FORMATS, read_documents, read_records, write_documents
from kogner_ray.data.sources import Source
from kogner_ray.data.spans import Document, Entity
from kogner_ray.errors import DataError, UnreadableRest

_N = 9
_BAD = (0, 4, 5, 8)
_DOCUMENTS = [Document(f"d{i}", f"aspirin {i} helps", (Entity(0, 7, "Chemical"),)) for i in range(_N)]
_BREAKS = {
    "bioc_json": (b'"offset": 0, "length": 7', b'"offset": 0, "length": 99'),
    "bioc_xml": (b'offset="0" length="7"', b'offset="x" length="7"'),
    "conll": (b"B-Chemical", b"Q-Chemical"),
    "gliner_json": (b"[0, 0,", b"[0, 7,"),
    "jsonl": (b'"start": 0', b'"start": "0"'),
    "pubtator": (b"\t0\t7\t", b"\t0\t6\t"),
}


def _whole(name: str, path: Path) -> bytes:
    if name == "gliner_json":
        items = [{"id": d.id, "tokenized_text": d.text.split(), "ner": [[0, 0, "Chemical"]]} for d in _DOCUMENTS]
        path.write_text(json.dumps(items))
    else:
        write_documents(_DOCUMENTS, path, name)
    return path.read_bytes()


def _kinds(records: list[Document | DataError]) -> list[str]:
    return [r.id if isinstance(r, Document) else type(r).__name__ for r in records]


@pytest.mark.parametrize("as_source", [False, True])
@pytest.mark.parametrize("name", sorted(_BREAKS))
def test_only_the_bad_records_are_lost(name: str, as_source: bool, tmp_path: Path) -> None:
    path = tmp_path / "x"
    good, bad = _BREAKS[name]
    pieces = _whole(name, path).split(good)
    assert len(pieces) == _N + 1
    path.write_bytes(b"".join(p + (bad if i in _BAD else good) for i, p in enumerate(pieces[:-1])) + pieces[-1])
    records = list(read_records(Source.of(path) if as_source else path))
    assert _kinds(records) == ["DataError" if i in _BAD else f"d{i}" for i in range(_N)]
    errors = [record for record in records if isinstance(record, DataError)]
    assert all(str(error).startswith(f"{path}:{error.line}: ") for error in errors)
    assert len({error.line for error in errors}) in (len(_BAD), 1)  # a JSON or XML file may be one line
    with pytest.raises(DataError) as caught:
        list(read_documents(path))
    assert str(caught.value) == str(errors[0]) == str(pickle.loads(pickle.dumps(errors[0])))
    assert [r for r in records if isinstance(r, Document)] == [d for i, d in enumerate(_DOCUMENTS) if i not in _BAD]


def test_bad_rows_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    text = [b"bad \xff" if i % 500 == 7 else b"abc" for i in range(2500)]
    entities = [[{"start": 0, "end": 9 if i % 500 == 8 else 1, "type": "X"}] for i in range(2500)]
    texts = pa.array(text, pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": [f"d{i}" for i in range(2500)], "text": texts, "entities": entities}), path)
    records = list(read_records(path))
    assert [r.line - 1 for r in records if isinstance(r, DataError) and r.line] == [
        i for i in range(2500) if i % 500 in (7, 8)
    ]
    assert _kinds(records) == ["DataError" if i % 500 in (7, 8) else f"d{i}" for i in range(2500)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([None, b"\xff\xfe{}", b"{", b"x" * 99, b'{"id": 1}', b"\x00", b"[1]\r"]), max_size=40),
    st.sampled_from([bytes, gzip.compress, zstandard.ZstdCompressor().compress]),
)
def test_each_broken_line_is_one_error(
    tmp_path_factory: pytest.TempPathFactory, breaks: list[bytes | None], pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "broken.jsonl"
    lines = [broken or b'{"id": "%d", "text": "\xc3\xa9"}' % i for i, broken in enumerate(breaks)]
    first_is_utf16 = bool(lines) and lines[0].startswith(b"\xff\xfe")
    path.write_bytes(pack(b"\n".join(lines)))
    records = list(read_records(path, "jsonl"))
    if first_is_utf16:
        assert _kinds(records) == ["UnreadableRest"]
    else:
        assert _kinds(records) == [str(i) if broken is None else "DataError" for i, broken in enumerate(breaks)]
        assert [r.line for r in records if isinstance(r, DataError)] == [i for i, b in enumerate(breaks, 1) if b]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("name", sorted(name for name, entry in FORMATS.items() if entry.packs and entry.write))
def test_what_is_before_the_cut_is_read(name: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "x"
    long = " helps" * 200
    many = [Document(f"d{i}", f"aspirin {i}{long}", (Entity(0, 7, "Chemical"),)) for i in range(400)]
    write_documents(many, path, name)
    packed = pack(path.read_bytes())
    path.write_bytes(packed[:-6])
    *records, last = read_records(path, name)
    assert isinstance(last, UnreadableRest)
    assert "stream, found a truncated or damaged one" in str(last)
    assert f"(cannot be read on after {len(records)} records)" in str(last)
    assert records == many[: len(records)]
    n_blocks_lost = 0 if pack is gzip.compress else 1  # zstd packs 128 KiB at a time
    assert len(records) > 397 - 130 * n_blocks_lost or name == "bioc_json"
    with pytest.raises(DataError, match="truncated or damaged"):
        list(read_documents(path, name))


def test_the_format_of_a_small_file_shows_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(_whole("jsonl", path))[:-6])
    assert _kinds(list(read_records(path)))[-3:] == ["d7", "d8", "UnreadableRest"]


def test_what_cannot_be_read_at_all_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear colleague,\n")
    (tmp_path / "x.parquet").write_text("PAR1 and no more")
    (tmp_path / "x.xml").write_text("<collection><document>")
    (tmp_path / "x.json").write_text("{" * 100_000)
    (tmp_path / "y.json").write_text("[" * 100_000)
    for path, format in [
        (tmp_path / "none.jsonl", None),
        (tmp_path, "jsonl"),
        *((path, None) for path in tmp_path.iterdir()),
        (tmp_path / "y.json", "gliner_json"),
    ]:
        [error] = read_records(path, format)
        assert isinstance(error, UnreadableRest)
        assert str(error).startswith(f"{path}:")
    with pytest.raises(DataError, match="unknown format 'jsnl'; did you mean 'jsonl'"):
        read_records(tmp_path / "letter", "jsnl")


def _read(tmp_path: Path, name: str, content: bytes) -> list[str]:
    path = tmp_path / "x"
    path.write_bytes(content)
    return [kind for kind, _ in groupby(_kinds(list(read_records(path, name))))]


@pytest.mark.parametrize(
    ("content", "kinds"),
    [
        (b"1|t|a b\n1|a|c\n\n2|x|bad\n2|a|c\n2\t0\t1\tb\tX\t-\n\n3|t|c\n", ["1", "DataError", "3"]),
        (b"1|t|a\n\n2|t|\xff\n2|a|c\n\n3|t|c\n", ["1", "DataError", "3"]),
        (b"1|t|a\n2|t|b\n2\t0\t9\tb\tX\t-\n2|a|late\n3|t|c\n", ["1", "DataError", "3"]),
        (b"1|t|a\n\n1\t0\t9\ta\tX\t-\n\n\n2|t|b\n", ["DataError", "2"]),
        (b"no title\n\n1|t|a\n", ["DataError", "1"]),
        (b"1|t|a\n1|a|b\n\nno title\nof any kind\n", ["1", "DataError"]),
    ],
)
def test_pubtator_goes_on_with_the_next_block(content: bytes, kinds: list[str], tmp_path: Path) -> None:
    assert _read(tmp_path, "pubtator", content) == kinds


@pytest.mark.parametrize(
    ("content", "kinds"),
    [
        (b"a O\nb\nc O\n\nd O\n", ["DataError", "x:5"]),
        (b"bad\na O\n\nb O\n", ["DataError", "x:4"]),
        (b"a X Y O\nb O\n\nc O\nd O\n", ["DataError", "x:4"]),
        (b"###MEDLINE:7\n\na O\n\nb \xff\n\nc O\n", ["7", "DataError", "7:3"]),
        (b"###MEDLINE:7\n\na\n\n###MEDLINE:8\n\nb O\n", ["DataError", "8"]),
    ],
)
def test_conll_goes_on_with_the_next_sentence(content: bytes, kinds: list[str], tmp_path: Path) -> None:
    assert [kind.replace(f"{tmp_path.name}/", "") for kind in _read(tmp_path, "conll", content)] == kinds


def test_bioc_json_goes_on_with_the_next_collection(tmp_path: Path) -> None:
    good = '{"documents": [{"id": "%s", "passages": []}]}'
    content = f'[{good % 1}, {{"docs": []}}, {good % 2}] {{"documents": ["x"]}} {good % 3}'
    assert _read(tmp_path, "bioc_json", content.encode()) == ["1", "DataError", "2", "DataError", "3"]
