"""Broken files of every format end in a `DataError` that says where and what, never in another exception."""

from __future__ import annotations

import gzip
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.data.formats import FORMATS, read_documents, read_records, write_documents
from kogner_ray.data.formats.registry import detect
from kogner_ray.data.spans import Document, Entity
from kogner_ray.errors import DataError, UnreadableRest

FORMAT_NAMES = sorted(FORMATS)
_DOCUMENTS = [
    Document(f"d{i}", "aspirin eases migraine \U0001f9ec", (Entity(0, 7, "Chemical"), Entity(14, 22, "Disease")))
    for i in range(3)
]
_GLINER = '{"tokenized_text": ["aspirin", "eases", "migraine"], "ner": [[0, 0, "Chemical"], [2, 2, "Disease"]]}\n'


def _whole(name: str, folder: Path) -> bytes:
    path = folder / f"whole.{name}"
    if name == "gliner_json":
        path.write_text(_GLINER * 3)
    else:
        write_documents(_DOCUMENTS, path, name)
    return path.read_bytes()


@pytest.fixture(scope="module", params=FORMAT_NAMES)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes, Path]:
    """A format, a good file of it, and a folder."""
    folder = tmp_path_factory.mktemp("bad")
    return request.param, _whole(request.param, folder), folder


def _error(path: Path, name: str | None) -> DataError:
    with pytest.raises(DataError) as caught:
        list(read_documents(path, name))
    assert str(path) in str(caught.value)
    return caught.value


def test_damaged_files_raise_nothing_but_data_errors(whole: tuple[str, bytes, Path]) -> None:
    name, good, folder = whole
    path = folder / "damaged"

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, len(good) - 1), st.integers(0, 12), st.binary(max_size=6))
    def check(at: int, n_lost: int, new: bytes) -> None:
        path.write_bytes(good[:at] + new + good[at + n_lost :])
        errors = [record for record in read_records(path, name) if isinstance(record, DataError)]
        assert not any(isinstance(error, UnreadableRest) for error in errors[:-1])
        try:
            list(read_documents(path, name))
            assert errors == []
        except DataError as error:
            assert str(path) in str(error)
            assert errors[0].message.startswith(error.message)

    check()


def test_a_file_cut_off_inside_a_record_is_an_error_or_shorter(whole: tuple[str, bytes, Path]) -> None:
    name, good, folder = whole
    path, complete = folder / "cut", 3
    for end in range(1, len(good), max(1, len(good) // 40)):
        path.write_bytes(good[:end])
        try:
            n_read = len(list(read_documents(path, name)))
        except DataError:
            continue
        assert n_read <= complete
        assert name not in ("parquet", "bioc_xml", "bioc_json")  # these say where they end


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"], ids=["empty", "blank", "BOM"])
@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_empty_files(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    if name in ("parquet", "bioc_xml", "bioc_json"):
        _error(path, name)
    else:
        assert list(read_documents(path, name)) == []


@pytest.mark.parametrize("name", sorted(set(FORMAT_NAMES) - {"parquet"}))
def test_other_encodings_are_refused_with_their_place(name: str, tmp_path: Path) -> None:
    good, path = _whole(name, tmp_path), tmp_path / "latin"
    broken = good.replace(b"eases", b"ea\xe9es")
    path.write_bytes(broken)
    error = _error(path, name)
    assert error.line is not None
    if name != "bioc_xml":  # the XML library names the line alone
        assert f"0xe9 at byte offset {broken.index(0xE9)}" in str(error)
        assert error.line == broken[: broken.index(0xE9)].count(b"\n") + 1
    if name == "jsonl":
        path.write_bytes(good.decode().encode("utf-16"))
        assert "looks like UTF-16" in str(_error(path, name))


@pytest.mark.parametrize("name", sorted(set(FORMAT_NAMES) - {"parquet"}))
def test_bom_and_crlf_change_nothing(name: str, tmp_path: Path) -> None:
    good, path = _whole(name, tmp_path), tmp_path / "whole.windows"
    path.write_bytes(b"\xef\xbb\xbf" + good.replace(b"\n", b"\r\n"))
    expected = list(read_documents(tmp_path / f"whole.{name}", name))
    found = list(read_documents(path, name))
    assert [(d.text, d.entities) for d in found] == [(d.text, d.entities) for d in expected]


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_gzip_is_seen_through_and_its_damage_named(name: str, tmp_path: Path) -> None:
    packed, path = gzip.compress(_whole(name, tmp_path)), tmp_path / "x.gz"
    if FORMATS[name].packs:
        path.write_bytes(packed)
        assert len(list(read_documents(path, name))) == 3
    path.write_bytes(packed[: len(packed) // 2])
    _error(path, name)


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_a_megabyte_in_one_line(name: str, tmp_path: Path) -> None:
    n = 200_000
    if name == "gliner_json":
        path = tmp_path / "x.json"
        path.write_text(json.dumps({"tokenized_text": ["gene"] * n, "ner": [[n - 1, n - 1, "G"]]}))
    else:
        path = tmp_path / f"x{FORMATS[name].endings[0]}"
        write_documents([Document("d", " ".join(["gene"] * n), (Entity(5 * n - 5, 5 * n - 1, "G"),))], path)
    [document] = read_documents(path)
    assert len(document.text) == 5 * n - 1
    assert document.surface(document.entities[0]) == "gene"


@pytest.mark.parametrize(
    ("name", "content", "line", "match"),
    [
        ("conll", "a\tO\nb\n", 2, r"expected a token, a tab or space, and a tag, got 'b'"),
        ("conll", "a\tO\n\tO\n", 2, r"expected a token"),
        ("conll", "a\tNN\tO\nb\tO\n", 2, r"expected 3 columns as in the lines before, got 2"),
        ("conll", "a\tB\n", 1, r"expected the tag O or B-.*got 'B'"),
        ("conll", "a\tQ-X\n", 1, r"got 'Q-X'"),
        ("pubtator", "1|a|x\n", 1, r"expected `id\|t\|title` first"),
        ("pubtator", "1|t|abc\n1\t1\t3\tab\tX\t-\n", 2, r"mention 'ab' at \[1, 3\): .*'bc', got 'ab'"),
        ("pubtator", "1|t|abc\n\n1\t1\t9\tbc\tX\t-\n", 3, r"mention 'bc' at \[1, 9\) is outside the text .*<= 3"),
        ("pubtator", "1|t|abc\n1\t1\t1\t\tX\t-\n", 2, r"is outside the text"),
        ("pubtator", "1|t|abc\n2\t0\t3\tabc\tX\t-\n", 2, r"expected a line of document '1', got one of '2'"),
        ("pubtator", "1|t|abc\nwhat is this\n", 2, r"expected `id\|t\|title`, .* got 'what is this'"),
        ("pubtator", "1|t|abc\n1\t0\t3\n", 2, r"a mention \(6 tab-separated columns\)"),
        ("pubtator", "1|t|abc\n1\tx\t3\tabc\tX\t-\n", 2, r"a mention \(6 tab-separated columns\)"),
        ("pubtator", "1|t|abc\n1\t0\t3\tabc\t\t-\n", 2, r"has no type"),
        ("pubtator", "1|t|abc\n1|a|d\n1|a|d\n", 3, r"expected its one abstract line"),
        ("jsonl", '{"id": "1", "text": "abc"}\n{"id": "2"}\n', 2, r"text: Field required"),
        ("jsonl", '{"id": "1", "text": "abc"\n', 1, r"Invalid JSON"),
        ("jsonl", '{"id": "1", "text": "abc", "entites": []}\n', 1, r"unknown field 'entites' .*one of .*entities"),
        ("jsonl", '{"id": "1", "text": "a", "entities": [{"start": "0", "end": 1, "type": "X"}]}\n', 1,
         r"entities\.0\.start: .*valid integer, got '0'"),
        ("jsonl", '{"id": "1", "text": "a", "entities": [{"start": 0, "end": 2, "type": "X"}]}\n', 1,
         r"document '1': entity X \[0, 2\) is outside the text"),
        ("jsonl", '{"id": "1", "text": "\\ud83d"}\n', 1, r"surrogate|hex escape"),
        ("gliner_json", '[{"tokenized_text": ["a"], "ner": []},\n{"tokenized_text": ["a"], "ner": [[0, 1, "X"]]}]', 2,
         r"entity X \[0, 1\] is outside the tokens \(expected 0 <= first <= last < 1\)"),
        ("gliner_json", '[{"tokenized_text": ["a"],\n "ner": [}]', 2, r"not JSON"),
        ("gliner_json", '{"ner": []}', 1, r"Field required"),
        ("bioc_json", '{"documents":\n [}', 2, r"not JSON"),
        ("bioc_json", '{"docs": []}', None, r"expected a list under 'documents' or 'passages'"),
        ("bioc_json", '{"id": "1", "passages": [{"text": "a"}]}', 1, r"document '1' is not BioC: KeyError: 'offset'"),
        ("bioc_json", '{"documents": [{"passages": []}]}', 1, r"expected a document with an id"),
        ("bioc_json", '{"documents": ["x"]}', 1, r"is not BioC"),
        ("bioc_json", '{"id": "1", "passages": [{"offset": 0, "text": "\\ud83d"}]}', 1, r"'1': UTF-8 cannot hold"),
        ("bioc_xml", "<collection>\n<document><id>1</id>\n<passage></document>", 3, r"not well-formed XML"),
        ("bioc_xml", "<html></html>", 1, r"expected BioC's <collection>, got <html>"),
        ("bioc_xml", "<collection>\n\n<document><id>1</id><passage/></document></collection>", 3, r"'1' is not BioC"),
        ("parquet", "PAR1 and no more", None, r"cannot be read as Parquet"),
    ],
)  # fmt: skip
def test_messages_say_where_and_what(name: str, content: str, line: int | None, match: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content.encode())
    with pytest.raises(DataError, match=match) as caught:
        list(read_documents(path, name))
    assert (caught.value.path, caught.value.line) == (path, line)


_BIOC = """<collection><source/><date/><key/>
<document><id>1</id><passage><offset>0</offset><text>aspirin</text>
<annotation id="T1">{}</annotation></passage></document></collection>"""


@pytest.mark.parametrize(
    ("annotation", "match"),
    [
        (
            '<infon key="type">X</infon><location offset="0" length="9"/><text/>',
            r"annotation 'T1' at \[0, 9\) is outside",
        ),
        (
            '<infon key="type">X</infon><location offset="-1" length="2"/><text/>',
            r"annotation 'T1' at \[-1, 1\) is outside",
        ),
        (
            '<infon key="type">X</infon><location offset="0" length="2"/><text>sp</text>',
            r"expected the text .*'as', got 'sp'",
        ),
        ('<location offset="0" length="2"/><text>as</text>', r"expected an infon 'type'"),
        ('<infon key="type">X</infon><text>as</text>', r"and 0 locations"),
        ('<infon key="type">X</infon><location offset="x" length="2"/>', r"document '1' is not BioC: ValueError"),
    ],
)
def test_bioc_annotations_that_do_not_fit(annotation: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text(_BIOC.format(annotation))
    with pytest.raises(DataError, match=match) as caught:
        list(read_documents(path))
    assert caught.value.line == 2


def test_overlapping_bioc_passages_are_refused(tmp_path: Path) -> None:
    passages = [{"offset": 0, "text": "abc"}, {"offset": 2, "text": "c"}]
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"id": "1", "passages": passages}))
    assert "expected a passage at offset >= 3" in str(_error(path, None))


def test_formats_are_found_by_look_before_ending(tmp_path: Path) -> None:
    for name in FORMAT_NAMES:
        path = tmp_path / "corpus.txt"
        path.write_bytes(_whole(name, tmp_path))
        assert detect(path).name == name
    for content, ending, expected in [
        ("<\tO\n", ".tsv", "conll"),
        ("EU NNP B-NP B-ORG\n", "", "conll"),
        ('{"text": "x", "id": 1, "passages": [{"start": 0, "end": 1}]}', "", "jsonl"),
        ("", ".jsonl", "jsonl"),
        ("{", ".ndjson.gz", "jsonl"),
    ]:
        path = tmp_path / f"y{ending}"
        path.write_text(content)
        assert detect(path).name == expected


def test_unknown_formats_and_files(tmp_path: Path) -> None:
    path = tmp_path / "notes.doc"
    path.write_text("Dear colleague,\n")
    assert "unknown format: expected one of bioc" not in str(_error(path, None))
    assert "it begins with b'Dear colleague,'" in str(_error(path, None))
    with pytest.raises(DataError, match="unknown format 'pubtater'; did you mean 'pubtator'"):
        read_documents(path, "pubtater")
    assert "No such file" in str(_error(tmp_path / "none.tsv", None))
    assert "cannot be read" in str(_error(tmp_path, "jsonl"))
    with pytest.raises(DataError, match="no format to write it in"):
        write_documents([], tmp_path / "x.doc")
    with pytest.raises(DataError, match="no format to write it in"):
        write_documents([], tmp_path / "x.json", "gliner_json")
    with pytest.raises(DataError, match="compressed in itself"):
        write_documents([], tmp_path / "x.parquet.gz")


@contextmanager
def _disk_of(n_bytes: int) -> Iterator[None]:
    """Files beyond `n_bytes` fail to grow, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", sorted(name for name, entry in FORMATS.items() if entry.write))
def test_a_full_disk_leaves_the_old_file_and_nothing_else(name: str, tmp_path: Path) -> None:
    path = tmp_path / "corpus"
    path.write_text("old")
    text = "".join(chr(0x4E00 + i * 7919 % 20000) for i in range(200_000))  # does not compress away
    with _disk_of(50_000), pytest.raises(DataError, match="corpus: cannot be written"):
        write_documents([Document("d", text)], path, name)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["corpus"]


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/x\.jsonl: cannot be written"):
        write_documents(_DOCUMENTS, tmp_path / "file" / "x.jsonl")


def test_a_source_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def failing() -> Iterator[Document]:
        yield _DOCUMENTS[0]
        raise RuntimeError("upstream")

    for name in sorted(name for name, entry in FORMATS.items() if entry.write):
        with pytest.raises(RuntimeError, match="upstream"):
            write_documents(failing(), tmp_path / "x", name)
    assert list(tmp_path.iterdir()) == []
