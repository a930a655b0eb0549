"""Tables of texts with a column of entities beside: Arrow, pandas, Hugging Face datasets.

    tag_table(tagger, table, column="abstract")     the same kind of table back
    dataset.with_format("arrow").map(ColumnTagger(tagger, column="abstract"), batched=True, num_proc=2)

A null text gets null entities, a text without entities an empty list. pandas and datasets are imported only when the
table is one of theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast
from uuid import uuid4

import pyarrow as pa

from kogner_ray.errors import ConfigError, DataError
from kogner_ray.tagger import Tagger
from kogner_ray.tagging import Types

ENTITIES = pa.list_(
    pa.struct(
        [
            ("start", pa.int64()),
            ("end", pa.int64()),
            ("text", pa.string()),
            ("type", pa.string()),
            ("score", pa.float64()),
            ("kg_id", pa.string()),
            ("kg_name", pa.string()),
            ("link_score", pa.float64()),
        ]
    )
)
"""Arrow type of a text's entities: the fields of `TaggedEntity`."""

TableT = TypeVar("TableT")

_ROWS_A_BATCH = 1024


@dataclass(frozen=True)
class ColumnTagger:
    """Tags one column of Arrow tables, batch by batch; settings as in `Tagger.tag`.

    Attributes:
        tagger: finds the entities.
        types: type names, or name -> label text; None takes those of the tagger's checkpoint.
        column: of the texts.
        into: column of the entities.
        threshold: probability that a span must exceed.
        per_type_thresholds: type -> probability, where it is another one.
        nested: keep entities within entities.
        multi_label: let the same characters carry several types.
        link: link to the checkpoint's KG where it has one.
    """

    tagger: Tagger
    types: Types = None
    column: str = "text"
    into: str = "entities"
    threshold: float = 0.5
    per_type_thresholds: Mapping[str, float] | None = None
    nested: bool = False
    multi_label: bool = False
    link: bool = True

    def __call__(self, batch: pa.Table) -> pa.Table:
        """`batch` with the column of entities; errors as in `tag_table`."""
        _check_names(batch.column_names, self)
        return batch.append_column(self.into, self.tag(_strings(batch.column(self.column), self.column)))

    def tag(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """The entities of each text, of type `ENTITIES`; null where there is no text."""
        batches = (texts.slice(row, _ROWS_A_BATCH) for row in range(0, len(texts), _ROWS_A_BATCH))
        return pa.chunked_array([pa.array(self._rows(batch.to_pylist()), ENTITIES) for batch in batches], ENTITIES)

    def _rows(self, texts: list[str | None]) -> list[list[dict[str, Any]] | None]:
        found = self.tagger.tag(
            [text for text in texts if text is not None],
            self.types,
            threshold=self.threshold,
            per_type_thresholds=self.per_type_thresholds,
            nested=self.nested,
            multi_label=self.multi_label,
            link=self.link,
        )
        left = iter(found)
        return [None if text is None else [asdict(entity) for entity in next(left)] for text in texts]


def tag_table(
    tagger: Tagger,
    table: TableT,
    types: Types = None,
    *,
    column: str = "text",
    into: str = "entities",
    threshold: float = 0.5,
    per_type_thresholds: Mapping[str, float] | None = None,
    nested: bool = False,
    multi_label: bool = False,
    link: bool = True,
) -> TableT:
    """`table` with the entities of each text in a new column of type `ENTITIES`.

    Args:
        tagger: finds the entities.
        table: a pyarrow.Table, pandas.DataFrame or datasets.Dataset; it stays as it is.
        types: type names, or name -> label text; None takes those of the tagger's checkpoint.
        column: of the texts.
        into: name of the new column.
        threshold: probability that a span must exceed.
        per_type_thresholds: type -> probability, where it is another one.
        nested: keep entities within entities.
        multi_label: let the same characters carry several types.
        link: link to the checkpoint's KG where it has one.

    Returns:
        The same kind of table; rows, their order and their index are those of `table`.

    Raises:
        ConfigError: another kind of table, no such column, one called `into` already, or settings that `Tagger.tag`
            refuses.
        DataError: the column holds something else than strings.
    """
    tags = ColumnTagger(tagger, types, column, into, threshold, per_type_thresholds, nested, multi_label, link)
    if isinstance(table, pa.Table):
        return cast(TableT, tags(table))
    if _is_from("pandas", "DataFrame", table):
        return cast(TableT, _tag_frame(table, tags))
    if _is_from("datasets", "Dataset", table):
        return cast(TableT, _tag_dataset(table, tags))
    kind = f"{type(table).__module__}.{type(table).__qualname__}"
    raise ConfigError(f"table: expected a pyarrow.Table, pandas.DataFrame or datasets.Dataset, got {kind}")


def _tag_frame(frame: Any, tags: ColumnTagger) -> Any:
    import pandas as pd

    _check_names(list(frame.columns), tags)
    found = tags.tag(_strings(frame[tags.column], tags.column))
    return frame.assign(**{tags.into: pd.Series(pd.arrays.ArrowExtensionArray(found), index=frame.index)})


def _tag_dataset(dataset: Any, tags: ColumnTagger) -> Any:
    from datasets import Features

    _check_names(dataset.column_names, tags)
    new = Features.from_arrow_schema(pa.schema([(tags.into, ENTITIES)]))
    tagged = dataset.with_format("arrow").map(
        tags,
        batched=True,
        features=Features({**dataset.features, **new}),
        load_from_cache_file=False,
        new_fingerprint=uuid4().hex,  # else it is a hash of the function, over all weights of the tagger
    )
    return tagged.with_format(dataset.format["type"], **dataset.format["format_kwargs"])


def _strings(values: Any, column: str) -> pa.ChunkedArray:
    """A column of Arrow or pandas as strings; NaN, NaT and NA of pandas are nulls."""
    try:
        texts = (
            values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values, from_pandas=True)])
        )
    except (pa.ArrowException, UnicodeError) as error:
        raise DataError(f"column {column!r}: expected strings: {error}") from error
    _check_type(texts.type, column)
    # A frame glued from several already comes in chunks.
    return (texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([texts])).cast(pa.large_string())


def _check_type(kind: pa.DataType, column: str) -> None:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)
    if not is_text and not pa.types.is_null(inner):
        raise DataError(f"column {column!r}: expected strings, found {kind}")


def _check_names(names: Sequence[str], tags: ColumnTagger) -> None:
    if (found := list(names).count(tags.column)) != 1:
        raise ConfigError(f"column: expected one called {tags.column!r}, found {found} among {list(names)}")
    if tags.into in names:
        raise ConfigError(f"into: the table has a column {tags.into!r} already; name another one")


def _is_from(package: str, kind: str, value: object) -> bool:
    """Whether `value` is of that class; a package that nobody imported has made no value."""
    module = sys.modules.get(package)
    return module is not None and isinstance(value, getattr(module, kind))
