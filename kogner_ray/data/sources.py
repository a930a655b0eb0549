"""Input files, here or on an object store: found by file, folder or glob, and opened where they are read.

A path is local, or a URI that `pyarrow.fs` knows: `s3://bucket/key`, `gs://bucket/key`, `file:///folder`. In a URI,
odd characters are percent-encoded, `?` begins the query, and globs know `*`, `**` and `[...]`.

S3 finds its credentials, region and server as every AWS client does: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
`AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL` (or `AWS_ENDPOINT_URL_S3`), `~/.aws`, or the machine's role; the
processes that read need them too. A URI may say `?region=...`, `?endpoint_override=host:port&scheme=http` instead.
`gs://` finds Google's default credentials (`GOOGLE_APPLICATION_CREDENTIALS`), or none as `gs://anonymous@bucket/key`.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.fs

from kogner_ray.data.formats.endings import ENDINGS, known_format
from kogner_ray.data.listing import URI, Found, filesystem_of, listed
from kogner_ray.errors import DataError

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\\udc80-\udcff]")  # the last are a local name's bytes that are not UTF-8
_LONGEST_PART = 200  # bytes; file systems end at 255, and what is made of an input is named after it
_BLOCK = 1 << 20  # an object store answers each read with a request


@dataclass
class Position:
    """How far an input has been read.

    Attributes:
        n_bytes: bytes of the file itself that were taken (packed ones, when it is packed), a block or so ahead of the
            records. Formats that are read whole (`bioc_json`, a list in `gliner_json`) are at the end at once.
    """

    n_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """One input file, anywhere.

    Attributes:
        uri: absolute local path, or URI.
        name: relative path that names the input within its corpus; unique there, and safe as a file name.
        size: bytes.
        modified: time of the last change in nanoseconds since 1970, or None when the store does not say.
        position: where to note how far it has been read, or None.
    """

    uri: str
    name: str
    size: int
    modified: int | None = None
    position: Position | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, path: str | PathLike[str]) -> Source:
        """A local file, named by its file name.

        Raises:
            OSError: there is none.
        """
        place = Path(path).absolute()
        stat = place.stat()
        return cls(str(place), _safe(place.name), stat.st_size, stat.st_mtime_ns)

    def __str__(self) -> str:
        """The uri, as in messages."""
        return self.uri

    @property
    def local(self) -> Path | None:
        """The path of a local file, or None."""
        return None if URI.fullmatch(self.uri) else Path(self.uri)

    def filesystem(self) -> tuple[Any, str]:
        """Its `pyarrow.fs.FileSystem`, made anew, and its path there.

        Raises:
            DataError: no file system of pyarrow's knows the uri.
        """
        return (pyarrow.fs.LocalFileSystem(), self.uri) if self.local else filesystem_of(self.uri)

    def open(self) -> IO[bytes]:
        """Open for reading, with random access; notes in `position` how far it was read.

        Raises:
            DataError: pyarrow does not take the uri.
            OSError: it cannot be opened.
        """
        if self.local:
            return self._noting(self.local.open("rb", buffering=0))
        filesystem, path = self.filesystem()
        try:
            return self._noting(filesystem.open_input_file(path))
        except pa.ArrowException as error:  # a key that pyarrow does not take, such as one with "//"
            raise DataError(f"cannot be opened: {error}", path=self) from error

    def sha256(self) -> str:
        """Hex digest of its bytes.

        Raises:
            OSError: it cannot be read.
        """
        digest = hashlib.sha256()
        with self.open() as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def _noting(self, file: Any) -> IO[bytes]:
        return io.BufferedReader(_NotingReader(file, self.position or Position()), _BLOCK)


PathOrPaths = str | PathLike[str] | Source | Iterable[str | PathLike[str] | Source]


class _NotingReader(io.RawIOBase):
    """Any file that fills buffers, as a raw Python file."""

    def __init__(self, file: Any, position: Position) -> None:
        self._file, self._position = file, position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        n_bytes = cast(int, self._file.readinto(buffer))
        self._position.n_bytes = max(self._position.n_bytes, self._file.tell())
        return n_bytes

    def seek(self, offset: int, whence: int = 0) -> int:
        self._file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        return cast(int, self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()


def find_sources(paths: PathOrPaths, *, format: str | None = None) -> list[Source]:
    """The input files that `paths` stand for: in the order given, those of a folder or glob sorted, none twice.

    Args:
        paths: files, folders or globs, local or as URIs, or sources; of a folder, all files below it whose ending
            belongs to a format, without hidden ones.
        format: take from folders only the files with an ending of this format (if it has endings of its own).

    Raises:
        DataError: nothing found, no such bucket, no access to it, or a URI of no known kind.
    """
    formats = ENDINGS if format is None or not ENDINGS[known_format(format)] else (format,)
    several = [paths] if isinstance(paths, (str, PathLike, Source)) else list(paths)
    found: dict[str, Found] = {}
    for path in several:
        for file in [_found(path)] if isinstance(path, Source) else listed(path, formats):
            found.setdefault(file.uri, file)
    return _named(list(found.values()))


def _found(source: Source) -> Found:
    return Found(source.uri, source.name, source.size, source.modified)


def _named(files: list[Found]) -> list[Source]:
    names = [_safe(file.relative) for file in files]
    counts = Counter(names)
    # by uri, so that the names do not depend on the order in which the files were given
    return [
        Source(file.uri, name if counts[name] == 1 else f"{_digest(file.uri)}/{name}", file.size, file.modified)
        for name, file in zip(names, files, strict=True)
    ]


def _safe(name: str) -> str:
    parts = (_UNSAFE.sub(_percent, part) for part in name.split("/"))
    return "/".join(_short(part) if part.strip(".") else f"%{part}" for part in parts)


def _percent(found: re.Match[str]) -> str:
    return f"%{ord(found[0]) & 0xFF:02X}"


def _short(part: str) -> str:
    data = part.encode()
    if len(data) <= _LONGEST_PART:
        return part
    return f"{_digest(part)}-{data[-_LONGEST_PART + 20 :].decode(errors='ignore')}"


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]
