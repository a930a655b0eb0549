"""Corpus files as bytes and lines: gzip, zstd, UTF-8 with a place for every bad byte, writing all or nothing."""

from __future__ import annotations

import gzip
import io
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, TypeVar, cast

import pyarrow as pa

from kogner_ray.data.sources import Source
from kogner_ray.errors import DataError

T = TypeVar("T")

_GZIP = b"\x1f\x8b"
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")  # a frame, or one to skip, with which pzstd begins
_ZSTD_BUFFER = 1 << 10  # small, because as much is lost before the place where a stream is cut off
_ZSTD_DAMAGE = re.compile("ZSTD |Truncated compressed stream")  # pyarrow raises a plain OSError
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def file_sha256(path: Path | Source) -> str:
    """Hex digest of a file."""
    return (path if isinstance(path, Source) else Source.of(path)).sha256()


@contextmanager
def placed(path: Path | Source, line: int | None = None) -> Iterator[None]:
    """Give every `DataError` raised inside the place that its raiser could not know."""
    try:
        yield
    except DataError as error:
        raise error.located(path, line) from error.__cause__


def attempted(make: Callable[[], T], path: Path | Source, line: int | None = None) -> T | DataError:
    """What `make` makes, or the `DataError` that it raised, with its place."""
    try:
        return make()
    except DataError as error:
        return error.located(path, line)


@contextmanager
def open_binary(path: Path | Source) -> Iterator[IO[bytes]]:
    """Open for reading; gzip and zstd are recognised by their first bytes, of several streams all are read.

    Raises:
        DataError: the file cannot be opened, or its gzip or zstd stream is cut off or damaged.
    """
    try:
        with path.open() if isinstance(path, Source) else path.open("rb") as file, _unpacked(file) as content:
            yield content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"expected a whole gzip stream, found a truncated or damaged one ({error})", path=path
        ) from error
    except OSError as error:
        found = error.strerror or str(error)
        if _ZSTD_DAMAGE.match(found):
            found = f"expected a whole zstd stream, found a truncated or damaged one ({found})"
            raise DataError(found, path=path) from error
        raise DataError(f"cannot be read: {found}", path=path) from error


def _unpacked(file: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(_GZIP):
        return cast(AbstractContextManager[IO[bytes]], gzip.open(file))
    if _ZSTD.match(magic):
        unpacked = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
        return cast(AbstractContextManager[IO[bytes]], io.BufferedReader(unpacked, _ZSTD_BUFFER))
    return nullcontext(file)


def read_lines(path: Path | Source) -> Iterator[tuple[int, str | DataError]]:
    r"""Yield 1-based line numbers and lines without their ending (`\n` or `\r\n`); a byte-order mark is skipped.

    A line that is not UTF-8 comes as a `DataError` that names it and the byte's offset in the (unpacked) file.

    Raises:
        DataError: the file cannot be opened or read on, or is UTF-16.
    """
    with open_binary(path) as file:
        offset = 0
        # binary lines end at \n alone; str.splitlines would also cut at U+2028, U+0085, form feeds ...
        for number, line in enumerate(file, 1):
            if offset == 0 and line.startswith(_UTF16):
                _decode(line, path=path, number=1, offset=0)
            yield number, attempted(partial(_decode, line, path=path, number=number, offset=offset), path)
            offset += len(line)


def read_text(path: Path | Source) -> str:
    """The whole file as text.

    Raises:
        DataError: the file cannot be read, or is not UTF-8; names the line and the byte's offset.
    """
    with open_binary(path) as file:
        return _decode(file.read(), path=path, number=1, offset=0)


def encoded(text: str, document: str) -> bytes:
    """UTF-8 of `text`, or a `DataError` that names the document (JSON can bring lone surrogates in)."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"document {document!r}: UTF-8 cannot hold its text: {error}") from error


def numbered(path: Path | Source, number: int) -> str:
    """The id of a record that has none: folder, file and its line (or record), unique across the files of a corpus."""
    place = path.uri.partition("?")[0] if isinstance(path, Source) and not path.local else str(path)
    return f"{'/'.join(Path(place).absolute().parts[-2:])}:{number}"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open for writing under a temporary name that becomes `path` on success and vanishes on failure.

    The content is packed when `path` ends in `.gz` or `.zst`.

    Raises:
        DataError: the folder or the disk does not take the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", path=path) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, _packed(file, path.suffix) as content:
            yield content
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it readable by its owner alone
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", path=path) from error
    finally:
        temporary.unlink(missing_ok=True)


def _packed(file: IO[bytes], ending: str) -> AbstractContextManager[IO[bytes]]:
    if ending == ".gz":  # no name, no time: same bytes each run
        return cast(AbstractContextManager[IO[bytes]], gzip.GzipFile("", "wb", fileobj=file, mtime=0))
    if ending == ".zst":
        return cast(AbstractContextManager[IO[bytes]], pa.CompressedOutputStream(pa.PythonFile(file, mode="w"), "zstd"))
    return nullcontext(file)


def _decode(data: bytes, *, path: Path | Source, number: int, offset: int) -> str:
    if offset == 0 and data.startswith(_BOM):
        return _decode(data[len(_BOM) :], path=path, number=number, offset=len(_BOM))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = number + data.count(b"\n", 0, error.start)
        guess = " (the file looks like UTF-16)" if offset == 0 and data.startswith(_UTF16) else ""
        raise DataError(
            f"expected UTF-8, found byte 0x{data[error.start]:02x} at byte offset {offset + error.start}{guess}",
            path=path,
            line=line,
        ) from error
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
