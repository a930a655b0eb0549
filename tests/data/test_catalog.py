"""The catalog's downloads through a real HTTP server (also a faulty one) and `file://` over the mirror."""

from __future__ import annotations

import csv
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kogner_ray.data import catalog
from kogner_ray.data.download import Download
from kogner_ray.errors import ConfigError, DataError, DownloadError

_CONTENT = bytes(range(256)) * 2000
_SHA = hashlib.sha256(_CONTENT).hexdigest()


class _Server(ThreadingHTTPServer):
    """Serves `content` with ranges.

    Attributes:
        requests: the Range header of each request, "" without one.
        drop_after: bytes after which the connection is closed, or None.
        ranges: whether ranges are honoured.
        failures: status codes to answer with before serving.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.ranges = _CONTENT, True
        self.drop_after: int | None = None
        self.requests: list[str] = []
        self.failures: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.requests.append(asked)
        if self.server.failures:
            self.send_error(self.server.failures.pop(0))
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        body = self.server.content
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        cut = self.server.drop_after
        self.wfile.write(body[start:] if cut is None else body[start : start + cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _download(server: _Server, folder: Path) -> Download:
    return Download(server.url, folder / "new" / "file.bin", len(_CONTENT), _SHA)


def _listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_download_shows_progress_and_is_whole(server: _Server, tmp_path: Path) -> None:
    seen: list[int] = []
    path = _download(server, tmp_path).run(seen.append)
    assert path.read_bytes() == _CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == len(_CONTENT)
    assert _listing(tmp_path) == ["file.bin"]
    assert server.requests == [""]


def test_a_partial_file_is_gone_on_with(server: _Server, tmp_path: Path) -> None:
    download = _download(server, tmp_path)
    download.partial.parent.mkdir()
    download.partial.write_bytes(_CONTENT[:1000])
    seen: list[int] = []
    assert download.run(seen.append).read_bytes() == _CONTENT
    assert server.requests == ["bytes=1000-"]
    assert seen[0] > 1000


def test_a_server_without_ranges_starts_over(server: _Server, tmp_path: Path) -> None:
    server.ranges = False
    download = _download(server, tmp_path)
    download.partial.parent.mkdir()
    download.partial.write_bytes(b"x" * 1000)
    assert download.run().read_bytes() == _CONTENT


def test_dropped_connections_are_resumed(server: _Server, tmp_path: Path) -> None:
    server.drop_after = 100_000
    assert _download(server, tmp_path).run(wait_s=0).read_bytes() == _CONTENT
    assert server.requests[:3] == ["", "bytes=100000-", "bytes=200000-"]


def test_giving_up_keeps_the_part_for_the_next_run(server: _Server, tmp_path: Path) -> None:
    server.drop_after, server.ranges = 100_000, False
    download = _download(server, tmp_path)
    with pytest.raises(DownloadError, match=r"closed early; got 100000 of 512000 bytes, kept for the next try"):
        download.run(attempts=2, wait_s=0)
    assert not download.target.exists()
    server.drop_after, server.ranges = None, True
    assert download.run().read_bytes() == _CONTENT
    assert server.requests[-1] == "bytes=100000-"


def test_wrong_bytes_are_refused_and_not_kept(server: _Server, tmp_path: Path) -> None:
    server.content = _CONTENT[:-1] + b"x"
    with pytest.raises(
        DownloadError, match=rf"file\.bin: expected sha256 {_SHA}, got [0-9a-f]{{64}}; nothing was kept"
    ):
        _download(server, tmp_path).run()
    assert _listing(tmp_path) == []


@pytest.mark.parametrize("content", [_CONTENT[:-10], _CONTENT + b"more", b"<html>moved</html>"])
def test_a_file_of_another_size_is_refused(server: _Server, tmp_path: Path, content: bytes) -> None:
    server.content = content
    with pytest.raises(DownloadError, match="expected sha256"):
        _download(server, tmp_path).run(attempts=2, wait_s=0)
    assert _listing(tmp_path) == []


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * len(_CONTENT), b"x" * (len(_CONTENT) + 5)])
def test_a_part_of_another_file_is_thrown_away(server: _Server, tmp_path: Path, left: bytes) -> None:
    download = _download(server, tmp_path)
    download.partial.parent.mkdir()
    download.partial.write_bytes(left)
    assert download.run().read_bytes() == _CONTENT


def test_busy_servers_are_asked_again_and_missing_files_are_not(server: _Server, tmp_path: Path) -> None:
    server.failures = [503, 429]
    _download(server, tmp_path).run(wait_s=0)
    assert len(server.requests) == 3
    server.failures = [404]
    with pytest.raises(DownloadError, match="HTTP 404"):
        _download(server, tmp_path / "other").run(wait_s=0)
    assert len(server.requests) == 4


def test_nobody_listening_and_an_unwritable_folder(server: _Server, tmp_path: Path) -> None:
    nobody = Download("http://127.0.0.1:9/x", tmp_path / "x", 1, _SHA)
    with pytest.raises(DownloadError, match="refused"):
        nobody.run(attempts=2, wait_s=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot be written"):
        _download(server, tmp_path / "file").run()
    with pytest.raises(DownloadError, match="none"):
        Download((tmp_path / "none").as_uri(), tmp_path / "y", 1, _SHA).run()


def test_two_processes_at_once_do_not_disturb_each_other(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = f"http://127.0.0.1:{server.server_port}"
    file = catalog.RemoteFile(role="test", url="https://h/file.bin", n_bytes=len(_CONTENT), sha256=_SHA)
    entry = catalog.find("bc5cdr").model_copy(update={"name": "tiny", "files": (file,)})
    monkeypatch.setattr(catalog, "entries", lambda: (entry,))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: catalog.get("tiny", tmp_path, base_url=host), range(4)))
    assert all(places["test"].read_bytes() == _CONTENT for places in results)
    assert server.requests == [""]


def test_every_catalog_file_is_the_one_in_the_mirrors_manifest(shared: Path) -> None:
    with (shared / "mirror" / "MANIFEST.tsv").open() as manifest:
        known = {row["url_path"]: row for row in csv.DictReader(manifest, delimiter="\t")}
    n_known = 0
    for entry in catalog.entries():
        for file in entry.files:
            row = known.get(file.url.removeprefix("https://"))
            if row is not None:
                n_known += 1
                assert (file.n_bytes, file.sha256) == (int(row["bytes"]), row["sha256"])
            else:
                assert "media.githubusercontent.com" in file.url  # kept in Git LFS
    assert n_known == 25


@pytest.mark.parametrize(
    ("name", "n_test"), [("bc5cdr", 9809), ("bc5cdr-pubtator", 9809), ("ncbi-disease-pubtator", 960), ("jnlpba", 8662)]
)
def test_corpora_from_the_mirror(
    shared: Path, name: str, n_test: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOGNER_DATA_URL", (shared / "mirror").as_uri())
    monkeypatch.setenv("KOGNER_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"not downloaded yet; run `kogner data get {name}`"):
        catalog.corpus_files(name)
    places = catalog.get(name)
    splits = catalog.corpus_files(name)
    assert list(splits) == ["train", "dev", "test"]
    assert splits.items() <= places.items()
    documents = list(catalog.read_split(name, "test"))
    assert sum(len(document.entities) for document in documents) == n_test
    types = catalog.find(name).types
    assert {e.type for d in documents for e in d.entities} == set(types)
    assert {d.annotated_types for d in documents} == {types}
    with pytest.raises(ConfigError, match=r"no split 'tset'; known: train, dev, test"):
        catalog.read_split(name, "tset")


def test_files_are_skipped_when_there_and_mended_when_changed(
    shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = str(shared / "mirror")
    places = catalog.get("hetionet-sample", tmp_path, base_url=mirror)
    assert set(places) == {"nodes", "edges"}
    before = places["nodes"].stat().st_mtime_ns
    places["edges"].write_bytes(b"changed")
    assert catalog.get("hetionet-sample", tmp_path, base_url=mirror) == places
    assert places["nodes"].stat().st_mtime_ns == before
    assert places["edges"].stat().st_size == 523_510
    assert "is not the catalog's file" in caplog.text
    for name in ("disease-ontology-slim", "cell-ontology-slim"):
        assert catalog.get(name, tmp_path, base_url=mirror)["ontology"].read_text().startswith("format-version: 1.2")


def test_entries_say_what_one_must_know() -> None:
    for entry in catalog.entries():
        assert entry.description
        assert entry.licence
        assert entry.citation
        assert all(len(file.url.split("/")[5]) == 40 or "media." in file.url for file in entry.files)
        assert entry.non_commercial == ("non-commercial" in entry.licence)
        assert (entry.kind == "corpus") == bool(entry.types)
    names = [entry.name for entry in catalog.entries()]
    assert len(names) == len(set(names)) == 9
    with pytest.raises(ConfigError, match="unknown data set 'bc5cd'; did you mean 'bc5cdr'"):
        catalog.find("bc5cd")
    with pytest.raises(ConfigError, match="it is a graph"):
        catalog.read_split("hetionet", "test")


def test_the_progress_bar_ends_at_the_end(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = catalog.RemoteFile(role="test", url="https://h/file.bin", n_bytes=len(_CONTENT), sha256=_SHA)
    entry = catalog.find("bc5cdr").model_copy(update={"name": "tiny", "files": (file,)})
    monkeypatch.setattr(catalog, "entries", lambda: (entry,))
    catalog.get("tiny", tmp_path, base_url=f"http://127.0.0.1:{server.server_port}", progress=True)
    assert "tiny: file.bin" in capsys.readouterr().out
