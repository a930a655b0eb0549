"""Documents to training examples by Ray Data, and from Ray Data to each worker.

Word splitting, tokenising and linking run on a pool of actors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import ray.data
import ray.train

from kogner_ray.data.corpora import plain_errors
from kogner_ray.data.spans import Document, from_table
from kogner_ray.errors import DataError
from kogner_ray.kg.linking import Linker, LinkerConfig
from kogner_ray.student.checkpoint import read_checkpoint
from kogner_ray.student.windows import Windower
from kogner_ray.train.examples import EXAMPLE_SCHEMA, ExampleMaker, to_batch
from kogner_ray.train.finer import NO_FINER, FinerTypes
from kogner_ray.train.store import ExampleStore, spill

_DOCUMENTS_A_BATCH = 512


class _Maker:
    """One actor: a tokenizer and, with a KG, an index of its names."""

    def __init__(self, start: str, linker: LinkerConfig, finer: FinerTypes) -> None:
        checkpoint = read_checkpoint(start)
        config = checkpoint.student.config
        entities = checkpoint.entities
        self._maker = ExampleMaker(
            Windower(checkpoint.tokenizer, max_tokens=config.max_tokens),
            types=list(checkpoint.types),
            max_width=config.max_width,
            linker=None if entities is None else Linker.from_table(entities.entities, linker),
            finer=finer,
        )

    def __call__(self, table: pa.Table) -> pa.Table:
        examples, census = self._maker.make(list(from_table(table)))
        counted = ",".join(f"{name}={count}" for name, count in sorted(census.items()))
        column = pa.array([counted if row == 0 else "" for row in range(len(examples))], pa.string())
        return pa.Table.from_batches([to_batch(examples)]).append_column("census", column)


@plain_errors()
def feed(
    documents: ray.data.Dataset, *, start: Path, linker: LinkerConfig, finer: FinerTypes = NO_FINER, actors: int = 1
) -> tuple[ray.data.Dataset, Mapping[str, int]]:
    """Examples of `documents`, materialised in the object store, for the checkpoint in `start`.

    Returns:
        A dataset with rows of `EXAMPLE_SCHEMA`, and the census of annotations (see `ExampleMaker.make`).

    Raises:
        DataError: a corpus file is malformed.
    """
    made = documents.map_batches(
        _Maker,
        fn_constructor_args=(str(start), linker, finer),
        batch_format="pyarrow",
        batch_size=_DOCUMENTS_A_BATCH,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=0.5,
    ).materialize()
    census: Counter[str] = Counter()
    for row in made.select_columns(["census"]).iter_rows():
        census.update({k: int(v) for k, _, v in (item.partition("=") for item in row["census"].split(",") if item)})
    return made.select_columns(EXAMPLE_SCHEMA.names), dict(census)


def receive_examples(scratch: Path) -> ExampleStore:
    """This worker's copy of the dataset `train`, spilled to a file in `scratch`.

    Raises:
        DataError: the dataset is empty.
    """
    tables = ray.train.get_dataset_shard("train").iter_batches(batch_format="pyarrow", batch_size=None)
    store = spill((batch for table in tables for batch in table.to_batches()), scratch / "examples.arrow")
    if len(store) == 0:
        raise DataError("the training corpus holds no words; nothing can be learned from it")
    return store


def receive_documents(name: str) -> list[Document]:
    """This worker's copy of a dataset of documents, in the same order on every worker."""
    tables = ray.train.get_dataset_shard(name).iter_batches(batch_format="pyarrow", batch_size=None)
    return sorted((document for table in tables for document in from_table(table)), key=lambda d: (d.id, d.text))
