"""Public corpora and knowledge graphs by name: where their files are, what they hold, under which licence.

`catalog.json` lists every file by its upstream URL at a fixed commit, with size and sha256. Files go to
`<folder>/<name>/`, the folder being `$KOGNER_DATA` or `~/.cache/kogner_ray/data`. `$KOGNER_DATA_URL` (or `base_url`)
names a mirror that has the same files under the same host and path.
"""

from __future__ import annotations

import difflib
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from kogner_ray.config import Config, make_config
from kogner_ray.data.download import Download
from kogner_ray.data.formats.registry import read_documents
from kogner_ray.data.spans import Document, relabel
from kogner_ray.errors import ConfigError, DataError, DownloadError

_LOG = logging.getLogger(__name__)


class RemoteFile(Config):
    """One upstream file.

    Attributes:
        role: `train`, `dev` or `test` of a corpus; `nodes`, `edges`, `metaedges` or `ontology` of a graph; `licence`.
        url: where it is, at a fixed commit.
        n_bytes: its size.
        sha256: of its content.
    """

    role: str
    url: str = Field(pattern=r"^https://")
    n_bytes: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Entry(Config):
    """One data set.

    Attributes:
        name: as in `kogner data get NAME`.
        kind: a corpus of documents or a knowledge graph.
        format: of its files: a name in `formats.FORMATS`, or of a graph format.
        description: one line.
        licence: what may be done with it.
        non_commercial: whether some of it is for non-commercial use only.
        citation: whom to cite.
        types: entity types that a corpus annotates, after renaming.
        type_names: what the types of the file are called here.
        files: its files.
    """

    name: str
    kind: Literal["corpus", "graph"]
    format: str
    description: str
    licence: str
    non_commercial: bool = False
    citation: str
    types: tuple[str, ...] = ()
    type_names: dict[str, str] = {}
    files: tuple[RemoteFile, ...]


@cache
def entries() -> tuple[Entry, ...]:
    """All data sets of the catalog."""
    listed = json.loads(files("kogner_ray.data").joinpath("catalog.json").read_text(encoding="utf-8"))
    return tuple(make_config(Entry, values, where="catalog.json: ") for values in listed)


def find(name: str) -> Entry:
    """The entry called `name`.

    Raises:
        ConfigError: no such data set; suggests the nearest name.
    """
    known = {entry.name: entry for entry in entries()}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"unknown data set {name!r}; {hint}")
    return known[name]


def default_folder() -> Path:
    """`$KOGNER_DATA`, else `~/.cache/kogner_ray/data`."""
    return Path(os.environ.get("KOGNER_DATA") or Path.home() / ".cache" / "kogner_ray" / "data")


def get(
    name: str, folder: str | Path | None = None, *, base_url: str | None = None, progress: bool = False
) -> dict[str, Path]:
    """Download the files of a data set that are not there yet, and check them.

    Args:
        name: of the data set.
        folder: of all data sets; `default_folder()` when None.
        base_url: takes the place of `https://` in every URL: `file:///mirror`, `http://127.0.0.1:8000`, or a folder;
            `$KOGNER_DATA_URL` when None.
        progress: draw a progress bar.

    Returns:
        The file of each role.

    Raises:
        ConfigError: unknown name.
        DownloadError: a file cannot be fetched or is not the catalog's.
    """
    entry, base = find(name), base_url or os.environ.get("KOGNER_DATA_URL") or "https://"
    places = _places(entry, Path(folder) if folder else default_folder())
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with _alone(next(iter(places.values())).parent), Progress(*columns, disable=not progress) as bars:
        for file in entry.files:
            download = Download(_from(base, file.url), places[file.role], file.n_bytes, file.sha256)
            bar = bars.add_task(f"{name}: {download.target.name}", total=file.n_bytes)
            if not download.is_done():
                if download.target.exists():
                    _LOG.warning("%s is not the catalog's file (size or sha256); fetching it again", download.target)
                download.run(partial(_show, bars, bar))
            bars.update(bar, completed=file.n_bytes)
    return places


def corpus_files(name: str, folder: str | Path | None = None) -> dict[str, Path]:
    """The downloaded file of each split (or role of a graph), without the licence.

    Raises:
        ConfigError: unknown name.
        DataError: a file is not there yet.
    """
    entry = find(name)
    places = _places(entry, Path(folder) if folder else default_folder())
    for path in places.values():
        if not path.is_file():
            raise DataError(f"not downloaded yet; run `kogner data get {name}`", path=path)
    return {role: path for role, path in places.items() if role != "licence"}


def read_split(name: str, split: str, folder: str | Path | None = None) -> Iterator[Document]:
    """Documents of one split of a downloaded corpus, with the catalog's type names and annotated types.

    Raises:
        ConfigError: unknown name or split, or a graph.
        DataError: the file is not there yet, or is damaged.
    """
    entry = find(name)
    splits = corpus_files(name, folder) if entry.kind == "corpus" else {}
    if split not in splits:
        raise ConfigError(f"{name} has no split {split!r}; known: {', '.join(splits) or 'none, it is a graph'}")
    return (relabel(d, entry.type_names, entry.types) for d in read_documents(splits[split], entry.format))


def _places(entry: Entry, folder: Path) -> dict[str, Path]:
    return {file.role: folder / entry.name / file.url.rsplit("/", 1)[1] for file in entry.files}


def _from(base: str, url: str) -> str:
    rest = url.removeprefix("https://")
    if base == "https://":
        return url
    root = base if "://" in base else Path(base).expanduser().absolute().as_uri()
    return f"{root.rstrip('/')}/{rest}"


def _show(bars: Progress, bar: TaskID, done: int) -> None:
    bars.update(bar, completed=done)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two processes do not append to one partial file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise DownloadError(f"{folder}: cannot be written: {error.strerror or error}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
