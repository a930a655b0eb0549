"""Input files here and on an object store: found, named, opened, and told apart."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pyarrow.fs
import pytest
import zstandard
from object_store import put, s3_server

from kogner_ray.data.formats import FORMATS, read_documents, read_records, write_documents
from kogner_ray.data.sources import Position, Source, find_sources
from kogner_ray.data.spans import Document, Entity
from kogner_ray.errors import DataError, UnreadableRest

_LINE = b'{"id": "1", "text": "abc"}\n'
_DOCUMENTS = [Document(f"d{i}", f"aspirin {i} helps", (Entity(0, 7, "Chemical"),)) for i in range(30)]
_KEYS = [
    ".hidden.jsonl",
    "README.md",
    "a.jsonl",
    "sub/.git/d.jsonl",
    "sub/b.jsonl.gz",
    "sub/deep/c.TSV.zst",
    "z [1].txt",
]
_FOUND = ["a.jsonl", "sub/b.jsonl.gz", "sub/deep/c.TSV.zst", "z [1].txt"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        put("corpora", {f"in/{key}": _LINE for key in _KEYS} | {"in/folder/": b"", "odd//a.jsonl": _LINE})
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for key in _KEYS:
        (tmp_path / "in" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / key).write_bytes(_LINE)
    return tmp_path / "in"


@pytest.fixture(params=["local", "file", "s3"])
def root(request: pytest.FixtureRequest, folder: Path) -> str:
    """The same files at three kinds of place."""
    if request.param == "s3":
        request.getfixturevalue("server")
        return "s3://corpora/in"
    return str(folder) if request.param == "local" else f"file://{folder}"


def _names(paths: str | list[str], format: str | None = None) -> list[str]:
    return [source.name for source in find_sources(paths, format=format)]


def test_files_folders_and_globs(root: str) -> None:
    assert _names(root) == _names(f"{root}/") == _FOUND
    assert _names(root, "jsonl") == ["a.jsonl", "sub/b.jsonl.gz"]
    assert _names(root, "gliner_json") == _FOUND
    assert _names(f"{root}/sub/b.jsonl.gz") == ["b.jsonl.gz"]
    assert _names(f"{root}/*.jsonl") == [".hidden.jsonl", "a.jsonl"]
    assert _names(f"{root}/sub/*") == ["b.jsonl.gz"]
    assert _names(f"{root}/**/[bc].*") == ["sub/b.jsonl.gz", "sub/deep/c.TSV.zst"]
    assert _names(f"{root}/*/d*p/c*") == ["sub/deep/c.TSV.zst"]
    assert _names([f"{root}/sub", f"{root}/a.jsonl", f"{root}/sub/b.jsonl.gz"]) == [
        "b.jsonl.gz",
        "deep/c.TSV.zst",
        "a.jsonl",
    ]


def test_a_source_says_what_it_is(root: str) -> None:
    for source in find_sources(root):
        again = pickle.loads(pickle.dumps(source))
        assert again == source
        assert (source.size, source.sha256()) == (len(_LINE), hashlib.sha256(_LINE).hexdigest())
        assert source.modified is not None
        assert source.modified > 1_600_000_000 * 10**9
        assert str(source) == source.uri
        with again.open() as file:
            assert file.read() == _LINE
        [alone] = find_sources(source.uri) if source.local is None else [Source.of(source.local)]
        assert (alone.uri, alone.size, alone.modified) == (source.uri, source.size, source.modified)


def test_names_that_collide_are_told_apart_in_any_order(folder: Path) -> None:
    (folder / "sub" / "a.jsonl").write_bytes(_LINE)
    both = [str(folder / "a.jsonl"), str(folder / "sub")]
    one, other = find_sources(both), find_sources(both[::-1])
    assert sorted(one, key=str) == sorted(other, key=str)
    names = [source.name for source in one]
    assert len(set(names)) == len(names) == 4
    assert [name.split("/")[-1] for name in names] == ["a.jsonl", "a.jsonl", "b.jsonl.gz", "c.TSV.zst"]


def test_odd_names_become_safe_ones(tmp_path: Path) -> None:
    for name in (b"line\nbreak.jsonl", b"latin\xe9.jsonl", b"back\\slash.jsonl", b"x" * 240 + b".jsonl"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(_LINE)
    sources = find_sources(tmp_path)
    assert [source.name for source in sources][:3] == ["back%5Cslash.jsonl", "latin%E9.jsonl", "line%0Abreak.jsonl"]
    assert len(sources[3].name.encode()) < 200
    assert sources[3].name.endswith("xxx.jsonl")
    for source in sources:
        assert [document.text for document in read_documents(source)] == ["abc"]


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("s3://nowhere/x.jsonl", r"s3://nowhere/x.jsonl: cannot be listed: .*NO_SUCH_BUCKET"),
        ("s3://corpora/none.jsonl", r"expected corpus files, found no such file"),
        ("s3://corpora/in/folder", r"no folder with a corpus file"),
        ("s3://corpora/none/*.jsonl", r"found no match"),
        ("s3://c*/x", r"expected a bucket's name, without wildcards"),
        ("s3://", r"expected a bucket's name"),
        ("foo://x/y", r"foo://x/y: expected a URI such as s3://bucket/key .*foo"),
        ("s3://corpora/a b", r"expected a URI such as .*syntax error"),
        ("s3://corpora/in?colour=red", r"Unexpected query parameter in S3 URI: 'colour'"),
        ("s3://me:secret@corpora/in", r"s3://...@corpora/in: expected credentials in the environment"),
        ("/nowhere/x.jsonl", r"found no such file"),
        ("/nowhere/*.jsonl", r"found no match"),
    ],
)
def test_what_is_not_there_is_named(server: str, path: str, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        find_sources(path)
    assert "secret" not in str(caught.value)


def test_a_server_named_in_the_uri(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    sources = find_sources(f"s3://corpora/in?endpoint_override={server}&scheme=http")
    assert [source.name for source in sources] == _FOUND
    assert [document.text for source in sources[:1] for document in read_documents(source)] == ["abc"]


def test_refused_access_is_named(server: str) -> None:
    _demand_credentials(server, after=0)
    try:
        with pytest.raises(DataError, match="s3://corpora/in: cannot be listed: .*(ACCESS_DENIED|INVALID_ACCESS_KEY)"):
            find_sources("s3://corpora/in")
    finally:
        _demand_credentials(server, after=10**9)


def _demand_credentials(server: str, *, after: int) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    urlopen(Request(f"http://{server}/moto-api/reset-auth", data=str(after).encode(), headers=headers)).close()


def test_gs_goes_to_the_file_system_of_google() -> None:
    """By dispatch alone: there is no server of that kind to test with."""
    filesystem, path = Source("gs://bucket/a/b.jsonl", "b.jsonl", 1).filesystem()
    assert isinstance(filesystem, pyarrow.fs.GcsFileSystem)
    assert path == "bucket/a/b.jsonl"


@pytest.mark.parametrize("name", sorted(name for name, entry in FORMATS.items() if entry.write))
def test_every_format_reads_from_s3(name: str, server: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{FORMATS[name].endings[0]}"
    write_documents(_DOCUMENTS, path)
    bucket = f"formats-{name.replace('_', '-')}"
    put(bucket, {f"odd %+= name/{path.name}": path.read_bytes()})
    [source] = find_sources(f"s3://{bucket}/")
    position = Position()
    assert list(read_records(source, position=position)) == list(read_documents(path))
    assert position.n_bytes == source.size == path.stat().st_size
    path.write_bytes(path.read_bytes()[:-40])
    put(f"{bucket}-cut", {path.name: path.read_bytes()})
    [cut] = find_sources(f"s3://{bucket}-cut")
    local, remote = list(read_records(path)), list(read_records(cut))
    assert [str(r).replace(str(path), "") for r in local] == [str(r).replace(cut.uri, "") for r in remote]


@pytest.mark.parametrize(("key", "why"), [("gone.jsonl", "cannot be read: "), ("odd//a.jsonl", "cannot be opened: ")])
def test_an_object_that_cannot_be_opened(server: str, key: str, why: str) -> None:
    [error] = read_records(Source(f"s3://corpora/{key}", "a.jsonl", 1))
    assert isinstance(error, UnreadableRest)
    assert str(error).startswith(f"s3://corpora/{key}: {why}")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
def test_streams_after_each_other_are_one(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(pack(_LINE[:9]) + pack(_LINE[9:] + _LINE) + pack(b"") + pack(_LINE))
    assert len(list(read_documents(path))) == 3


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress], ids=["plain", "gzip", "zstd"]
)
def test_the_position_tells_the_share_that_was_read(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path, draw = tmp_path / "x.jsonl", random.Random(0)
    path.write_bytes(pack(b"".join(b'{"id": "1", "text": "%x"}\n' % draw.getrandbits(200_000) for _ in range(200))))
    source, position = Source.of(path), Position()
    shares = [position.n_bytes / source.size for _ in read_records(source, position=position)]
    assert len(shares) == 200
    assert shares == sorted(shares)
    assert shares[-1] == 1
    ahead = (3 << 20) / source.size  # what is read at once
    assert all((i + 1) / 200 - 0.01 <= share <= (i + 1) / 200 + ahead for i, share in enumerate(shares))
    assert position.n_bytes == source.size
