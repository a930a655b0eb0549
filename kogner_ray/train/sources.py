"""Where a run's corpus and KG come from: files, the catalog of public data, or what the package carries."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import ray.data

from kogner_ray.config import Config
from kogner_ray.data import catalog
from kogner_ray.data.corpora import corpus_paths, read_corpus
from kogner_ray.data.sources import Source
from kogner_ray.data.spans import to_table
from kogner_ray.embedded import corpus_files, kg_files
from kogner_ray.errors import ConfigError, DataError
from kogner_ray.kg.embeddings import EntityTable, read_entity_table
from kogner_ray.kg.formats import Format, read_any
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.kg.tables import KnowledgeGraph
from kogner_ray.train.graph import GraphConfig
from kogner_ray.train.teacher import TeacherConfig, train_teacher
from kogner_ray.train.text import TextConfig
from kogner_ray.train.transr import TransRConfig

_LOG = logging.getLogger(__name__)

EMBEDDED = "embedded"
SPLITS = ("train", "dev", "test")


class CorpusConfig(Config):
    """An annotated corpus.

    Attributes:
        name: `embedded`, or an entry of the catalog (downloaded on first use); None takes the files below.
        train: files, folders or globs of the training split, local or as URIs (`s3://...`), when there is no `name`.
        dev: files of the development split.
        test: files of the test split.
        format: of the files; None guesses it from each.
        types: entity types to train, with the text that the label encoder reads for each; None takes all types of the
            training split under their own names.
        limit: use only the first so many training documents.
        strict_splits: stop when a document or sentence occurs in two splits, instead of reporting it.
    """

    name: str | None = None
    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    format: str | None = None
    types: Mapping[str, str] | None = None
    limit: int | None = None
    strict_splits: bool = False


class KgConfig(Config):
    """A knowledge graph and how its teacher is trained.

    Attributes:
        source: `embedded`, `catalog:NAME`, or a file or folder of any KG format; None trains without a KG.
        nodes: the node file, where the format has one and it is not beside the edges.
        format: of `source`; None guesses it.
        entity_table: folder of a finished entity table; the teacher is then not trained again.
        linker: how mentions are linked to it.
        text: how Z is made.
        graph: how Z' is made.
        transr: how Z'' is made.
        n_parts: METIS parts that the workers own.
    """

    source: str | None = None
    nodes: str | None = None
    format: Format | None = None
    entity_table: str | None = None
    linker: LinkerConfig = LinkerConfig()
    text: TextConfig = TextConfig()
    graph: GraphConfig = GraphConfig()
    transr: TransRConfig = TransRConfig()
    n_parts: int = 0


def read_splits(config: CorpusConfig, *, need_train: bool = True) -> dict[str, ray.data.Dataset]:
    """Documents of each split, as rows of `kogner_ray.data.spans.SCHEMA`; those of train only if there are files.

    Raises:
        ConfigError: no training files are named, a file does not exist, or the catalog has no such corpus.
        DownloadError: a catalog file could not be fetched.
        DataError: a file is malformed.
    """
    if config.name not in (None, EMBEDDED):
        catalog.get(config.name, progress=True)
        splits = [split for split in catalog.corpus_files(config.name) if split in SPLITS]
        tables = {split: to_table(catalog.read_split(config.name, split)) for split in splits}
        datasets = {split: ray.data.from_arrow(table) for split, table in tables.items()}
    else:
        paths = split_files(config, need_train=need_train)
        datasets = {split: read_corpus(files, config.format) for split, files in paths.items() if files}
    if config.limit is not None and "train" in datasets:
        # It is read more than once, and each reading could draw the line elsewhere.
        datasets["train"] = datasets["train"].limit(config.limit).materialize()
    return datasets


def split_files(config: CorpusConfig, *, need_train: bool = True) -> dict[str, list[Path | Source]]:
    """Files of each split.

    Raises:
        ConfigError: no training files are named, or a file does not exist.
    """
    if config.name == EMBEDDED:
        return {split: [path] for split, path in corpus_files().items()}
    if config.name is not None:
        return {split: [path] for split, path in catalog.corpus_files(config.name).items() if split in SPLITS}
    if need_train and not config.train:
        raise ConfigError("corpus: name a corpus (corpus.name) or its training files (corpus.train)")
    try:
        return {split: corpus_paths(getattr(config, split)) for split in SPLITS}
    except DataError as error:
        raise ConfigError(f"corpus: {error}") from error


def entity_table(config: KgConfig, *, folder: Path, num_workers: int, seed: int) -> EntityTable | None:
    """The entity table of the configured KG, trained in `folder` unless it is there already; None without a KG."""
    if config.entity_table is not None:
        return read_entity_table(config.entity_table)
    if config.source is None:
        return None
    if not (folder / "entities" / "provenance.json").is_file():
        _read_source(config).write(folder / "kg")
        teacher = TeacherConfig(
            kg=folder / "kg",
            output=folder,
            text=config.text,
            graph=config.graph,
            transr=config.transr,
            n_parts=config.n_parts,
            num_workers=num_workers,
            seed=seed,
        )
        train_teacher(teacher)
    return read_entity_table(folder / "entities")


def _read_source(config: KgConfig) -> KnowledgeGraph:
    assert config.source is not None
    source, nodes, format = Path(config.source), config.nodes, config.format
    if config.source == EMBEDDED:
        files = kg_files()
        source, nodes = files["edges"], str(files["nodes"])
    elif config.source.startswith("catalog:"):
        files = catalog.get(config.source.removeprefix("catalog:"), progress=True)
        source, nodes = files["edges"], str(files["nodes"])
    kg, report = read_any(source, nodes=nodes, format=format)
    if report.issues:
        _LOG.warning("%s: %s", source, report.summary())
    return kg
