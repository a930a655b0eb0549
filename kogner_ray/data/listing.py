"""What lies in a folder or matches a glob, on this machine or in any file system that pyarrow knows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from glob import has_magic
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.fs

from kogner_ray.data.formats.endings import format_by_ending
from kogner_ray.errors import DataError

URI = re.compile(r"(?P<base>[a-z][a-z0-9+.-]*://[^?]*)(?P<query>\?.*)?", re.DOTALL)
_SECRET = re.compile(r"[a-z0-9+.-]+://[^/]*:[^/]*@")
_UNQUOTED = "/=+,@:()!$&'"


class Found(NamedTuple):
    """A file: its place, its path below the folder (or the fixed part of the glob), bytes, time of change in ns."""

    uri: str
    relative: str
    size: int
    modified: int | None


def listed(path: str | PathLike[str], formats: Iterable[str]) -> list[Found]:
    """The files that a file, folder or glob stands for, sorted; of a folder those with an ending of `formats`.

    Raises:
        DataError: nothing found, no such bucket, no access to it, or a URI of no known kind.
    """
    uri = URI.fullmatch(path) if isinstance(path, str) else None
    known = frozenset(formats)
    if uri is None:
        found = _local(Path(path).absolute(), known, shown=path)
    elif uri["base"].startswith("file://"):
        found = _local(Path(unquote(uri["base"].removeprefix("file://"))).absolute(), known, shown=path)
    else:
        found = _remote(uri["base"].rstrip("/"), uri["query"] or "", known)
    return sorted(found, key=lambda file: file.relative.split("/"))


def filesystem_of(uri: str) -> tuple[Any, str]:
    """The `pyarrow.fs.FileSystem` of a URI, made anew, and the path in it.

    Raises:
        DataError: pyarrow knows no such kind of URI, or its parts break the rules of their kind.
    """
    if _SECRET.match(uri):
        scheme, _, rest = uri.partition("://")
        place = f"{scheme}://...@{rest.rpartition('@')[2]}"
        raise DataError("expected credentials in the environment (AWS_ACCESS_KEY_ID ...), not in the URI", path=place)
    try:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(uri)
    except pa.ArrowInvalid as error:
        raise DataError(f"expected a URI such as s3://bucket/key or gs://bucket/key: {error}", path=uri) from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be reached: {error}", path=uri) from error
    return filesystem, path


def _local(path: Path, formats: frozenset[str], *, shown: object) -> list[Found]:
    if path.is_file():
        return [_local_file(path, path.parent)]
    if path.is_dir():
        below = (Path(folder, name) for folder, _, names in os.walk(path, onerror=_stop) for name in names)
        found = [_local_file(file, path) for file in below if file.is_file()]
        return _corpus_files(found, formats) or _nothing("a folder without a corpus file", shown)
    root = Path(path.anchor)
    matches = [file for file in root.glob(str(path.relative_to(root))) if file.is_file()]
    fixed = Path(*_before_magic(path.parts))
    return [_local_file(file, fixed) for file in matches] or _nothing(
        "no match" if has_magic(str(path)) else "no such file", shown
    )


def _local_file(file: Path, root: Path) -> Found:
    stat = file.stat()
    return Found(str(file), file.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns)


def _stop(error: OSError) -> NoReturn:
    raise DataError(f"cannot be listed: {error.strerror or error}", path=error.filename) from error


def _remote(base: str, query: str, formats: frozenset[str]) -> list[Found]:
    scheme, _, rest = base.partition("://")
    parts = rest.split("/")
    fixed = list(_before_magic(parts))
    pattern = [unquote(part) for part in parts[len(fixed) :]]
    shown, start = base + query, f"{scheme}://{'/'.join(fixed)}"
    if not fixed or not fixed[0]:
        raise DataError("expected a bucket's name, without wildcards", path=shown)
    filesystem, path = filesystem_of(start + query)
    try:
        if not pattern:
            info = filesystem.get_file_info(path)
            if info.is_file:
                return [Found(shown, unquote(parts[-1]), info.size, info.mtime_ns)]
        infos = filesystem.get_file_info(pyarrow.fs.FileSelector(path, recursive=len(pattern) != 1 or "**" in pattern))
    except FileNotFoundError:
        infos = []
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot be listed: {error}", path=shown) from error
    inside = [(info, info.path[len(path) :].strip("/")) for info in infos if info.is_file]
    found = [Found(f"{start}/{quote(rel, safe=_UNQUOTED)}{query}", rel, i.size, i.mtime_ns) for i, rel in inside]
    if pattern:
        return [file for file in found if _matches(file.relative.split("/"), pattern)] or _nothing("no match", shown)
    return _corpus_files(found, formats) or _nothing("no such file, and no folder with a corpus file", shown)


def _corpus_files(found: list[Found], formats: frozenset[str]) -> list[Found]:
    return [
        file
        for file in found
        if format_by_ending(file.relative) in formats and not any(p.startswith(".") for p in file.relative.split("/"))
    ]


def _nothing(kind: str, shown: object) -> NoReturn:
    raise DataError(f"expected corpus files, found {kind}", path=str(shown))


def _before_magic(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        if has_magic(part):
            return
        yield part


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """Whether a path matches a glob, both in parts; `**` stands for any number of them."""
    if not pattern or not parts:
        return not parts and all(part == "**" for part in pattern)
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or _matches(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
