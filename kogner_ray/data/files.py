"""Corpus files as bytes and lines: gzip, UTF-8 with a place for every bad byte, and writing that is all or nothing."""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from kogner_ray.errors import DataError

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def placed(path: Path, line: int | None = None) -> Iterator[None]:
    """Give every `DataError` raised inside the place that its raiser could not know."""
    try:
        yield
    except DataError as error:
        raise error.located(path, line) from error.__cause__


@contextmanager
def open_binary(path: Path) -> Iterator[IO[bytes]]:
    """Open for reading; gzip is recognised by its first bytes.

    Raises:
        DataError: the file cannot be opened, or its gzip stream is cut off or damaged.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            if not packed:
                yield file
                return
            with gzip.open(file) as unpacked:
                yield cast(BinaryIO, unpacked)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"expected a whole gzip stream, found a truncated or damaged one ({error})", path=path
        ) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Yield 1-based line numbers and lines without their ending (`\n` or `\r\n`); a byte-order mark is skipped.

    Raises:
        DataError: a line is not UTF-8; names the line and the byte's offset in the (unpacked) file.
    """
    with open_binary(path) as file:
        offset = 0
        # binary lines end at \n alone; str.splitlines would also cut at U+2028, U+0085, form feeds ...
        for number, line in enumerate(file, 1):
            yield number, _decode(line, path=path, number=number, offset=offset)
            offset += len(line)


def read_text(path: Path) -> str:
    """The whole file as text; errors as in `read_lines`."""
    with open_binary(path) as file:
        return _decode(file.read(), path=path, number=1, offset=0)


def encoded(text: str, document: str) -> bytes:
    """UTF-8 of `text`, or a `DataError` that names the document (JSON can bring lone surrogates in)."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"document {document!r}: UTF-8 cannot hold its text: {error}") from error


def numbered(path: Path, number: int) -> str:
    """The id of a record that has none: folder, file and its line (or record), unique across the files of a corpus."""
    return f"{'/'.join(path.absolute().parts[-2:])}:{number}"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open for writing under a temporary name that becomes `path` on success and vanishes on failure.

    The content is gzipped when `path` ends in `.gz`.

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
        with os.fdopen(handle, "wb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:  # no name, no time: same bytes each run
                    yield cast(BinaryIO, packed)
            else:
                yield file
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it readable by its owner alone
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", path=path) from error
    finally:
        temporary.unlink(missing_ok=True)


def _decode(data: bytes, *, path: Path, number: int, offset: int) -> str:
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
