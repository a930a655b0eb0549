"""Corpus files as a Ray Dataset of documents, rows in the shape of `spans.SCHEMA`.

Files are read in parallel, a few hundred documents in memory at a time; every node must see them under the same path
or URI (`sources` says which, and where credentials come from).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from ray.exceptions import RayTaskError

from kogner_ray.data.formats.registry import detect, read_documents
from kogner_ray.data.sources import PathOrPaths, Source, find_sources
from kogner_ray.data.spans import SCHEMA, relabel, to_table
from kogner_ray.errors import KognerError

_CHUNK_ROWS = 500
_INFLATION = 5  # bytes of a block for a byte of text file, roughly


def read_corpus(
    paths: PathOrPaths,
    format: str | None = None,
    *,
    type_names: Mapping[str, str] | None = None,
    annotated_types: Iterable[str] | None = None,
) -> Any:
    """Documents of files, folders or globs, local or as URIs, as a `ray.data.Dataset`.

    Each file is one stream of blocks (one block, unless it is large): repartition for more parallelism than files. Ray
    keeps the order of the files when its execution option `preserve_order` is set.

    Args:
        paths: one or several; of a folder, all files below it whose ending belongs to a format.
        format: a name in `formats.FORMATS`; found for each file when None.
        type_names: new name of each entity type to rename.
        annotated_types: types annotated exhaustively, in new names, for documents that do not say so themselves.

    Raises:
        DataError: no such file, or an unknown format. A file that breaks its format raises when the Dataset is
            consumed; `plain_errors` takes Ray's wrapping off.
    """
    files = corpus_paths(paths)
    if format is None:
        for file in files:
            detect(file)  # now, rather than in the middle of a job
    types = None if annotated_types is None else tuple(annotated_types)
    source = CorpusDatasource(files, format, partial(relabel, type_names=dict(type_names or {}), annotated_types=types))
    # Ray would otherwise split every block again, to hundreds of blocks of a few rows
    return ray.data.read_datasource(source, override_num_blocks=len(files))


def corpus_paths(paths: PathOrPaths) -> list[Path | Source]:
    """The files that `paths` stand for, in the order given, those of a folder or glob sorted, local ones as paths.

    Raises:
        DataError: a path that is not there, a folder or glob without a corpus file.
    """
    return [source.local or source for source in find_sources(paths)]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise an error of ours that crossed Ray as itself, without Ray's traceback in its message."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, KognerError):
            raise error.cause from None
        raise


class CorpusDatasource(Datasource):  # type: ignore[misc]
    """Corpus files as blocks of documents."""

    def __init__(self, files: list[Path | Source], format: str | None, relabelled: Any) -> None:
        """Read `files` of `format`, each document through `relabelled`."""
        super().__init__()
        self._files, self._format, self._relabelled = files, format, relabelled

    def get_name(self) -> str:
        """Name of the read in Ray's progress bars."""
        return "Corpus"

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all blocks, roughly."""
        return sum(_size(file) for file in self._files)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """At most `parallelism` tasks, each over neighbouring files."""
        n_tasks = max(1, min(parallelism, len(self._files)))
        bounds = [len(self._files) * i // n_tasks for i in range(n_tasks + 1)]
        parts = [self._files[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
        return [ReadTask(partial(self._read, part), _metadata(part), SCHEMA, per_task_row_limit) for part in parts]

    def _read(self, files: list[Path | Source]) -> Iterator[pa.Table]:
        for file in files:
            documents = map(self._relabelled, read_documents(file, self._format))
            while chunk := list(islice(documents, _CHUNK_ROWS)):
                yield to_table(chunk)


def _metadata(files: list[Path | Source]) -> BlockMetadata:
    names = tuple(str(file) for file in files)
    return BlockMetadata(num_rows=None, size_bytes=sum(map(_size, files)), exec_stats=None, input_files=names)


def _size(file: Path | Source) -> int:
    return (file.size if isinstance(file, Source) else file.stat().st_size) * _INFLATION
