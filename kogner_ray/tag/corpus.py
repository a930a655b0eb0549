"""`tag_corpus`: every document of every input, tagged once, whatever dies in between."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from kogner_ray.cluster import start_ray
from kogner_ray.data.corpora import plain_errors
from kogner_ray.data.listing import URI
from kogner_ray.data.sources import Source, find_sources
from kogner_ray.errors import TooManyFailures
from kogner_ray.tag.board import Board
from kogner_ray.tag.chunks import ChunkConfig, Pending
from kogner_ray.tag.counts import Counts
from kogner_ray.tag.finishing import Finishing
from kogner_ray.tag.limit import FailureLimit
from kogner_ray.tag.manifest import Manifest, claim_output
from kogner_ray.tag.output import CHUNKS, OutputFolder
from kogner_ray.tag.pool import PoolConfig, tagged
from kogner_ray.tag.progress import TagProgress
from kogner_ray.tag.worker import Result, Tagging

_NOT_CLAIMED = {"inputs", "output", "checkpoint", "to", "max_failures", "workers"}


class TagConfig(Tagging):
    """What to tag, with what, and where to.

    Attributes:
        inputs: files, folders or globs, local or `s3://`, `gs://`.
        output: a new folder, or that of the run to go on with; local (and seen by every node) or `s3://`, `gs://`.
        format: of all inputs; found for each when None.
        to: formats to convert the output to, beside its Parquet.
        max_failures: share of documents; the run stops when more than that could not be read or tagged.
        chunks: how large a piece of work is.
        workers: how many actors, and how large.
    """

    inputs: tuple[str, ...] = Field(min_length=1)
    output: str
    format: str | None = None
    to: tuple[Literal["jsonl", "pubtator", "bioc_xml", "bioc_json"], ...] = ()
    max_failures: float = Field(0.5, ge=0, le=1)
    chunks: ChunkConfig = ChunkConfig()
    workers: PoolConfig = PoolConfig()

    def claimed(self) -> dict[str, Any]:
        """The settings that decide what is written, the same in every attempt."""
        return self.model_dump(mode="json", exclude=_NOT_CLAIMED)


@dataclass(frozen=True)
class TagReport:
    """A run that is complete.

    Attributes:
        output: its folder.
        n_inputs: inputs tagged.
        counts: what they hold.
        refused: files that could not be converted, and why.
        seconds: that this attempt took.
    """

    output: str
    n_inputs: int
    counts: Counts
    refused: dict[str, str]
    seconds: float


def tag_corpus(config: TagConfig) -> TagReport:
    """Tag a corpus, or go on with it; see the package for how each document comes out once.

    Raises:
        DataError: nothing to tag, an unknown format, or an input that changed meanwhile.
        ConfigError: the output folder is another run's, or the types or thresholds make no sense.
        OutputError: the output folder holds something else, or cannot be written.
        CheckpointError: the checkpoint cannot be used.
        TooManyFailures: see `TagConfig.max_failures`; run again with another share to go on.
    """
    start = time.monotonic()
    config = _absolute(config)
    output = OutputFolder(config.output)
    sources = _without_own(find_sources(config.inputs, format=config.format), config.output)
    manifest = claim_output(output, settings=config.claimed(), checkpoint=config.checkpoint, sources=sources)
    todo = [source for source in sources if not manifest.has(source.name, config.to)]
    limit = FailureLimit(config.max_failures, output)
    try:
        if todo:
            start_ray()
            _tag(config, todo, manifest, limit)
        limit.check(manifest.counts, at_end=True)
    except TooManyFailures:
        if todo:
            manifest.write("stopped")
        raise
    if todo or manifest.status != "complete":
        manifest.write("complete")
    output.delete_folder(CHUNKS)
    return TagReport(config.output, len(sources), manifest.counts, manifest.refused, time.monotonic() - start)


def _tag(config: TagConfig, todo: Sequence[Source], manifest: Manifest, limit: FailureLimit) -> None:
    """Tag what is not tagged; finish each input when its last chunk is there."""
    board = Board(todo, manifest.output)
    finishing = Finishing(manifest, config.to)
    counts = manifest.counts + board.counts
    with plain_errors(), TagProgress(n_bytes=manifest.n_bytes, before=counts) as progress:
        for source in board.whole:
            finishing.start(source)
        for result in _results(config, board.pending, manifest.output):
            if result.error is not None:
                raise result.error
            if result.counts is not None:
                counts += result.counts
                progress.add(result.counts, result.worker)
                limit.add(result)
                limit.check(counts, at_end=False)
            if (completed := board.completed_by(result)) is not None:
                finishing.start(*completed)
            finishing.collect()
        finishing.collect_all()


def _results(config: TagConfig, pending: Sequence[Pending], output: OutputFolder) -> Iterator[Result]:
    if not pending:
        return iter(())
    return tagged(pending, config.format, config, output, chunks=config.chunks, pool=config.workers)


def _absolute(config: TagConfig) -> TagConfig:
    """With paths that mean the same in every process, wherever Ray starts it."""
    changes = {} if URI.fullmatch(config.output) else {"output": str(Path(config.output).absolute())}
    if Path(config.checkpoint).is_dir():  # else it is an id on the hub
        changes["checkpoint"] = str(Path(config.checkpoint).absolute())
    return config.model_copy(update=changes)


def _without_own(sources: Sequence[Source], output: str) -> list[Source]:
    """What a run wrote is none of its inputs, also when its folder lies in theirs."""
    return [source for source in sources if not source.uri.startswith(output.rstrip("/") + "/")]
