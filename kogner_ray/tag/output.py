"""The output folder, on a disk that all nodes share or on an object store; its files appear whole or not at all.

manifest.json                 who claimed the folder, and what is done
documents/INPUT.parquet       an input's tagged documents; that it is there means that the input is done
failures/INPUT.parquet        an input's other documents, each with its reason, when there are any
jsonl/INPUT.jsonl ...         converted from documents/, when asked for
.chunks/HASH/00000012.parquet pieces of inputs that are not done
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.fs

from kogner_ray.data.listing import URI, filesystem_of
from kogner_ray.errors import OutputError

MANIFEST = "manifest.json"
CHUNKS = ".chunks"
SCRATCH = "writing"  # within CHUNKS


def documents_file(name: str) -> str:
    """Where the tagged documents of the input `name` go."""
    return f"documents/{name}.parquet"


def failures_file(name: str) -> str:
    """Where the failures of the input `name` go."""
    return f"failures/{name}.parquet"


def chunks_folder(name: str) -> str:
    """Where the chunks of the input `name` wait; by hash, since names may hold slashes and one may begin another."""
    return f"{CHUNKS}/{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def chunk_file(name: str, number: int) -> str:
    """Where a chunk goes."""
    return f"{chunks_folder(name)}/{number:08d}.parquet"


@dataclass(frozen=True)
class OutputFolder:
    """A folder by its path or URI; can be sent to other processes, each of which connects by itself."""

    uri: str

    @cached_property
    def _place(self) -> tuple[Any, str]:
        if URI.fullmatch(self.uri):
            filesystem, path = filesystem_of(self.uri)
            return filesystem, path.rstrip("/")
        return pyarrow.fs.LocalFileSystem(), str(Path(self.uri).absolute())

    def __reduce__(self) -> tuple[object, ...]:
        """Without the connection."""
        return OutputFolder, (self.uri,)

    @property
    def _local(self) -> bool:
        return isinstance(self._place[0], pyarrow.fs.LocalFileSystem)

    def _path(self, name: str) -> str:
        return f"{self._place[1]}/{name}" if name else self._place[1]

    def where(self, name: str) -> str:
        """Path or URI of a file, for a message."""
        base, query, rest = self.uri.partition("?")
        return f"{base.rstrip('/')}/{name}{query}{rest}"

    def names(self, folder: str = "") -> list[str]:
        """What lies in a folder, sorted; empty when there is none.

        Raises:
            OutputError: it cannot be listed, or is a file.
        """
        selector = pyarrow.fs.FileSelector(self._path(folder), allow_not_found=True)
        with self._explained(folder):
            return sorted(info.base_name for info in self._place[0].get_file_info(selector))

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        with self._explained(name):
            return bool(self._place[0].get_file_info(self._path(name)).is_file)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file for reading.

        Raises:
            OutputError: it cannot be read.
        """
        with self._explained(name), self._place[0].open_input_file(self._path(name)) as file:
            yield file

    def sha256(self, name: str) -> str:
        """Hex digest of a file."""
        digest = hashlib.sha256()
        with self.open(name) as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A local path to write to, which becomes the file `name` when the block ends well.

        Raises:
            OutputError: the file cannot be written.
        """
        with self._explained(name), tempfile.TemporaryDirectory(dir=self._scratch()) as folder:
            path = Path(folder) / name.rpartition("/")[2]
            yield path
            if self._local:
                target = Path(self._path(name))
                target.parent.mkdir(parents=True, exist_ok=True)
                _synced(path).replace(target)
            else:
                self._upload(path, name)

    def write_text(self, name: str, text: str) -> None:
        """Write a small file."""
        with self.writing(name) as path:
            path.write_text(text, encoding="utf-8")

    def read_text(self, name: str) -> str:
        """Read a small file."""
        with self.open(name) as file:
            return file.read().decode("utf-8")

    def delete_folder(self, name: str) -> None:
        """Delete a folder with all that it holds, if it is there."""
        with self._explained(name):
            if self._place[0].get_file_info(self._path(name)).type == pyarrow.fs.FileType.Directory:
                self._place[0].delete_dir(self._path(name))

    def _scratch(self) -> Path | None:
        """A folder on the same disk, which goes away with the chunks; None, for any, when the output is remote."""
        if not self._local:
            return None
        scratch = Path(self._path(CHUNKS)) / SCRATCH
        scratch.mkdir(parents=True, exist_ok=True)
        return scratch

    def _upload(self, path: Path, name: str) -> None:
        filesystem, size = self._place[0], path.stat().st_size
        # a multipart upload cannot be given up from Python, so a broken one may leave a short object: checked and taken
        # away below, and no Parquet file in any case, for want of a footer
        with path.open("rb") as source, filesystem.open_output_stream(self._path(name)) as sink:
            while block := source.read(8 << 20):
                sink.write(block)
        found = filesystem.get_file_info(self._path(name)).size
        if found != size:
            filesystem.delete_file(self._path(name))
            raise OutputError(f"{self.where(name)}: expected {size} bytes after the upload, found {found}")

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"{self.where(name)}: cannot be read or written: {reason}") from error


def _synced(path: Path) -> Path:
    """`path`, once it is on the disk: a name that outlives a power cut must not outlive its content."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path
