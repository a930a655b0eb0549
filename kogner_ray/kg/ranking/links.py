"""All that linking needs beside a student: an index of the entities and a ranker of candidates, in one folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch.nn.functional import normalize

from kogner_ray.errors import CheckpointError
from kogner_ray.kg.embeddings import EntityTable, read_entity_table
from kogner_ray.kg.folder import whole_folder
from kogner_ray.kg.index.files import MANIFEST, fingerprint, read_index, write_index
from kogner_ray.kg.index.index import LinkIndex
from kogner_ray.kg.ranking.ranker import Ranker
from kogner_ray.kg.ranking.rehearsal import Project, rehearse
from kogner_ray.kg.tables import read_columns

_LOG = logging.getLogger(__name__)
FOLDER = "index"
"""Where a checkpoint has it."""
_RANKER = "ranker.json"
_MANY = 50_000


@dataclass(frozen=True)
class Links:
    """What mentions are linked with.

    Attributes:
        index: the entities.
        ranker: what speaks for a candidate.
    """

    index: LinkIndex
    ranker: Ranker


def make_links(
    table: pa.Table, *, directions: npt.NDArray[np.float16] | None = None, project: Project | None = None
) -> Links:
    """Index `table` and rehearse a ranker on it; `directions`: rows of H; `project`: of a student."""
    if table.num_rows >= _MANY:
        _LOG.info("making the linking index of %d entities", table.num_rows)
    index = LinkIndex.build(table, directions=directions)
    return Links(index, rehearse(index, table, project=project))


def index_tables(folder: Path, output: Path) -> Links:
    """Index an entity table, or the canonical tables of a KG, and write the links to `output`.

    Raises:
        DataError: `folder` holds neither.
        CheckpointError: an entity table is incomplete, or `output` cannot be written.
    """
    directions = None
    if (folder / "entities.parquet").is_file():
        whole = read_entity_table(folder)
        table, directions = whole.entities, directions_of(whole, tuple(whole.matrices))
    else:
        table = read_columns(folder / "nodes.parquet", ["id", "name", "type", "synonyms"])
    links = make_links(table, directions=directions)
    write_links(links, output, entities=folder)
    return links


def directions_of(table: EntityTable, modalities: Sequence[str]) -> npt.NDArray[np.float16]:
    """(N, d) rows of H over `modalities`, of length 1."""
    matrix: npt.NDArray[np.float16] = normalize(table.stacked(tuple(modalities)), dim=1).half().numpy()
    return matrix


def write_links(links: Links, folder: str | Path, *, entities: Path) -> Path:
    """Write an index and its ranker; the folder appears whole or not at all.

    Args:
        links: what to write.
        folder: where; an older index there is replaced.
        entities: folder of the tables that it was made of.

    Raises:
        CheckpointError: it cannot be written, or `folder` is something else.
    """
    with whole_folder(folder, marker=MANIFEST) as partial:
        write_index(links.index, partial, source=fingerprint(entities))
        write_ranker(links.ranker, partial)
    return Path(folder)


def write_ranker(ranker: Ranker, folder: Path) -> None:
    """Put `ranker` into the folder of its index, in place of the one that is there.

    Raises:
        CheckpointError: it cannot be written.
    """
    partial = folder / f".{_RANKER}.partial"
    try:
        partial.write_text(ranker.to_json(), encoding="utf-8")
        partial.replace(folder / _RANKER)
    except OSError as error:
        raise CheckpointError(f"{folder / _RANKER}: could not be written: {error}") from error


def read_links(folder: str | Path, *, entities: Path | None = None) -> Links:
    """Open a folder written by `write_links`; nothing but the ranker is read.

    Args:
        folder: what to open.
        entities: folder of the tables that it must have been made of; None takes any.

    Raises:
        CheckpointError: it is incomplete, damaged, of another version, or was made of other tables.
    """
    source = Path(folder)
    index = read_index(source, source=None if entities is None else fingerprint(entities))
    try:
        text = (source / _RANKER).read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{source}: not a complete index: {error}") from error
    return Links(index, Ranker.from_json(text, where=source / _RANKER))
