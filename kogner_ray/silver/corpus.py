"""A corpus annotated by the names of a KG, from files to a file, with its quality on a gold sample.

The raw text is read twice: once for what it says of the names (`evidence`), once to annotate it. The report lies beside
the output, as `OUTPUT.report.json`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.data.files import replacing
from kogner_ray.data.formats import read_documents, write_documents
from kogner_ray.data.sources import Source, find_sources
from kogner_ray.data.spans import UNKNOWN, Document
from kogner_ray.errors import DataError
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.kg.names import LINKING_COLUMNS
from kogner_ray.kg.tables import NODE_SCHEMA, read_columns
from kogner_ray.silver.annotate import DOUBTED, Annotator, NamesConfig, believed
from kogner_ray.silver.evidence import Evidence, gather
from kogner_ray.silver.linking import CANDIDATES, NameLinker, types_for
from kogner_ray.silver.names import NameFinder
from kogner_ray.silver.quality import Quality, estimate_quality
from kogner_ray.track import tracked

_GROUP = 1024


class AnnotateConfig(Config):
    """A corpus to be annotated.

    Attributes:
        kg: folder of canonical tables, or their `nodes.parquet`.
        raw: files, folders or globs of text in any corpus format; annotations are not looked at.
        output: file to write.
        format: of the raw text; guessed from each file.
        to: format of the output; by its ending.
        types: types to annotate, such as those of a corpus; all of the KG's by default. A name that several of them
            have is one of the first.
        names: which names the raw text lets one believe.
        linker: which KG types stand for a wanted one, where their names do not say so.
        ids: prefixes of ids to give where a concept has several, such as MESH; the best linked node's by default.
        gold: annotated files on which the quality is estimated.
        gold_format: of these; guessed.
        bootstrap: resamples of gold documents for the 95 % interval of micro F1; 0 for none.
        seed: of the bootstrap.
    """

    kg: Path
    raw: tuple[str, ...] = Field(min_length=1)
    output: Path
    format: str | None = None
    to: str | None = None
    types: tuple[str, ...] | None = None
    names: NamesConfig = NamesConfig()
    linker: LinkerConfig = LinkerConfig()
    ids: tuple[str, ...] = ()
    gold: tuple[str, ...] = ()
    gold_format: str | None = None
    bootstrap: int = Field(1000, ge=0)
    seed: int = 0


@dataclass(frozen=True)
class AnnotationReport:
    """What was annotated.

    Attributes:
        output: the file.
        documents: documents written.
        types: KG types that stand for each type.
        mentions: mentions of each type.
        linked: of them with the KG's id.
        ambiguous: of them by a name that several concepts have.
        doubted: names in the text that were left out because the raw text speaks against them.
        masked: stretches marked as unknown.
        dropped: what the output's format cannot hold, by kind.
        quality: on the gold sample.
        seconds: wall time.
    """

    output: Path
    documents: int
    types: dict[str, tuple[str, ...]]
    mentions: dict[str, int]
    linked: dict[str, int]
    ambiguous: dict[str, int]
    doubted: dict[str, int]
    masked: int
    dropped: dict[str, int]
    quality: Quality | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        quality = None if self.quality is None else self.quality.as_dict()
        return asdict(self) | {"output": str(self.output), "quality": quality}


def annotate_corpus(config: AnnotateConfig) -> AnnotationReport:
    """Annotate raw text by the names of a KG, and compare with a gold sample.

    Raises:
        ConfigError: the KG has no type like a wanted one.
        DataError: a file is missing or malformed, there is no text, or the gold has no mention of a wanted type.
        UnsupportedAnnotation: the output's format cannot hold a mention.
    """
    started = time.monotonic()
    nodes = _nodes(config.kg)
    known = sorted(name for name in nodes["type"].unique().to_pylist() if name)
    wanted = tuple(known) if config.types is None else config.types
    stands = types_for(wanted, known, config.linker)
    finder = NameFinder(nodes, wanted, linker=stands, max_width=config.names.max_width)
    sources = find_sources(config.raw, format=config.format)
    evidence, n_documents = _evidence(sources, config.format, finder)
    if not n_documents:
        raise DataError(f"the raw text holds no document: {', '.join(config.raw)}")
    annotator = Annotator(finder, evidence, config.names)
    linker = NameLinker(nodes, finder, stands, prefer=config.ids)
    quality = _quality(config, annotator, linker, wanted)
    counts: Counter[tuple[str, str]] = Counter()
    annotated = (
        _annotated(document, annotator, linker, counts)
        for document in tracked(_documents(sources, config.format), "annotating, documents", total=n_documents)
    )
    written = write_documents(annotated, config.output, config.to, strict=False)
    report = AnnotationReport(
        output=config.output,
        documents=written.n_documents,
        types=dict(stands.types),
        **{what: _of(counts, what) for what in ("mentions", "linked", "ambiguous", "doubted")},
        masked=counts["masked", UNKNOWN],
        dropped=dict(written.dropped),
        quality=quality,
        seconds=round(time.monotonic() - started, 3),
    )
    _write_report(config, report)
    return report


def report_path(output: Path) -> Path:
    """Where the report of an annotated corpus lies."""
    return output.with_name(f"{output.name}.report.json")


def _nodes(kg: Path) -> pa.Table:
    table = read_columns(kg / "nodes.parquet" if kg.is_dir() else kg, NODE_SCHEMA.names[:4])
    return table.select([name for name in LINKING_COLUMNS if name in table.column_names])


def _documents(sources: Sequence[Source], format: str | None) -> Iterator[Document]:
    return (document for source in sources for document in read_documents(source, format))


def _evidence(sources: Sequence[Source], format: str | None, finder: NameFinder) -> tuple[Evidence, int]:
    evidence, n_documents = Evidence(), 0
    for source in tracked(sources, "reading the raw text, files", total=len(sources)):
        documents = iter(read_documents(source, format))
        while group := list(islice(documents, _GROUP)):
            evidence.add(gather(group, finder))
            n_documents += len(group)
    return evidence, n_documents


def _annotated(
    document: Document, annotator: Annotator, linker: NameLinker, counts: Counter[tuple[str, str]]
) -> Document:
    candidates = annotator.annotate(document)
    counts.update(("doubted", entity.type) for entity in candidates.entities if DOUBTED in entity.attributes)
    found = linker.linked(believed(candidates))
    for entity in found.entities:
        counts["masked" if entity.type == UNKNOWN else "mentions", entity.type] += 1
        counts["linked", entity.type] += bool(entity.concepts)
        counts["ambiguous", entity.type] += CANDIDATES in entity.attributes
    return found


def _quality(config: AnnotateConfig, annotator: Annotator, linker: NameLinker, types: Sequence[str]) -> Quality | None:
    if not config.gold:
        return None
    gold = list(_documents(find_sources(config.gold, format=config.gold_format), config.gold_format))
    tracker = tracked(gold, "annotating the gold sample, documents", total=len(gold))
    found = [linker.linked(believed(annotator.annotate(document))) for document in tracker]
    return estimate_quality(gold, found, linker, types, bootstrap=config.bootstrap, seed=config.seed)


def _of(counts: Counter[tuple[str, str]], what: str) -> dict[str, int]:
    return {type_: count for (kind, type_), count in sorted(counts.items()) if kind == what and type_ != UNKNOWN}


def _write_report(config: AnnotateConfig, report: AnnotationReport) -> None:
    content = {"config": config.model_dump(mode="json")} | report.as_dict()
    with replacing(report_path(config.output)) as file:
        file.write(f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode())
