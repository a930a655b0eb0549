"""A column of entities beside a column of texts, whatever kind of table it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_corpus import make_documents

from kogner_ray.errors import ConfigError, DataError
from kogner_ray.tables import ENTITIES, ColumnTagger, tag_table
from kogner_ray.tagger import Tagger

TEXTS = [document.text for document in make_documents(5, seed=3)]
COLUMNS: dict[str, list[Any]] = {"id": list(range(7)), "abstract": [None, *TEXTS, ""]}


@pytest.fixture(scope="module")
def tagger(tiny_checkpoint: Path) -> Tagger:
    return Tagger.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def expected(tagger: Tagger) -> list[list[dict[str, Any]] | None]:
    found = tagger.tag(TEXTS)
    assert all(found)
    return [None, *([asdict(entity) for entity in entities] for entities in found), []]


def close(found: list[Any], expected: list[Any]) -> bool:
    """Equal but for the last digits of scores, which depend on the company that a text is tagged in."""
    if [f is None for f in found] != [e is None for e in expected]:
        return False
    pairs = [(f, e) for f, e in zip(found, expected, strict=True) if f is not None]
    return all(
        len(f) == len(e) and all(a == pytest.approx(b, abs=1e-5) for a, b in zip(f, e, strict=True)) for f, e in pairs
    )


def test_arrow(tagger: Tagger, expected: list[Any], tmp_path: Path) -> None:
    table = pa.table(COLUMNS)
    tagged = tag_table(tagger, table, column="abstract")
    assert tagged.schema.equals(table.schema.append(pa.field("entities", ENTITIES)))
    assert tagged.select(["id", "abstract"]) == table
    assert close(tagged["entities"].to_pylist(), expected)
    pq.write_table(tagged, tmp_path / "tagged.parquet")
    assert pq.read_table(tmp_path / "tagged.parquet") == tagged
    assert tag_table(tagger, table.slice(0, 0), column="abstract").schema == tagged.schema


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
def test_arrow_has_many_kinds_of_strings(tagger: Tagger, expected: list[Any], kind: pa.DataType) -> None:
    table = pa.table({"text": pa.array(COLUMNS["abstract"], pa.string()).cast(kind)})
    assert close(tag_table(tagger, table)["entities"].to_pylist(), expected)


def test_rows_of_several_batches_and_no_text_at_all(tagger: Tagger, expected: list[Any]) -> None:
    table = pa.table({"text": COLUMNS["abstract"] * 150})
    found = tag_table(tagger, table, link=False)["entities"].to_pylist()
    assert [None if e is None else len(e) for e in found] == [None if e is None else len(e) for e in expected] * 150
    assert tag_table(tagger, pa.table({"text": [None, None]}))["entities"].to_pylist() == [None, None]


@pytest.mark.parametrize("dtype", ["str", "object", "string", "category"])
def test_pandas(tagger: Tagger, expected: list[Any], dtype: str) -> None:
    frame = pd.DataFrame(COLUMNS, index=list("gfedcba")).astype({"abstract": dtype})
    tagged = tag_table(tagger, frame, column="abstract", into="found")
    assert list(tagged.columns) == ["id", "abstract", "found"]
    assert list(tagged.index) == list(frame.index)
    assert list(frame.columns) == ["id", "abstract"]
    assert tagged["found"].dtype == pd.ArrowDtype(ENTITIES)
    assert close([None if found is pd.NA else found for found in tagged["found"]], expected)


def test_pandas_glued_from_pieces(tagger: Tagger, expected: list[Any]) -> None:
    frame = pd.DataFrame(COLUMNS).astype({"abstract": "str"})
    tagged = tag_table(tagger, pd.concat([frame[:3], frame[3:]]), column="abstract")
    assert close([None if found is pd.NA else found for found in tagged["entities"]], expected)


def test_datasets(tagger: Tagger, expected: list[Any]) -> None:
    dataset = datasets.Dataset.from_dict(COLUMNS).cast_column("id", datasets.ClassLabel(num_classes=7))
    tagged = tag_table(tagger, dataset, column="abstract")
    assert isinstance(tagged, datasets.Dataset)
    assert tagged.features["id"] == dataset.features["id"]
    assert tagged.features.arrow_schema.field("entities").type == ENTITIES
    assert close(tagged["entities"][:], expected)
    some = tag_table(tagger, dataset.select([6, 0, 2]).with_format("numpy"), column="abstract")
    assert some.format["type"] == "numpy"
    assert close(some.with_format(None)["entities"][:], [expected[6], None, expected[2]])


def test_datasets_that_map_themselves(tagger: Tagger, expected: list[Any]) -> None:
    """The first batches find nothing: types come from the schema, not from what happens to be found."""
    dataset = datasets.Dataset.from_dict({"text": ["", "", *COLUMNS["abstract"]]}).with_format("arrow")
    tagged = dataset.map(ColumnTagger(tagger), batched=True, batch_size=2)
    assert close(tagged.with_format(None)["entities"][:], [[], [], *expected])


def test_settings_go_through(tagger: Tagger) -> None:
    settings: dict[str, Any] = {"threshold": 0.001, "nested": True, "multi_label": True, "link": False}
    settings["per_type_thresholds"] = {"drug": 0.9}
    types = {"drug": "drug", "disease": "disease"}
    found = tag_table(tagger, pa.table({"text": TEXTS}), types, **settings)["entities"].to_pylist()
    assert close(found, [[asdict(e) for e in entities] for entities in tagger.tag(TEXTS, types, **settings)])
    assert found != tag_table(tagger, pa.table({"text": TEXTS}), types)["entities"].to_pylist()


@pytest.mark.parametrize("make", [pa.table, pd.DataFrame, datasets.Dataset.from_dict])
class TestRefused:
    def test_columns(self, tagger: Tagger, make: Callable[[Any], Any]) -> None:
        with pytest.raises(
            ConfigError, match=r"column: expected one called 'text', found 0 among \['id', 'abstract'\]"
        ):
            tag_table(tagger, make(COLUMNS))
        with pytest.raises(ConfigError, match="has a column 'id' already"):
            tag_table(tagger, make(COLUMNS), column="abstract", into="id")

    def test_what_is_no_text(self, tagger: Tagger, make: Callable[[Any], Any]) -> None:
        with pytest.raises(DataError, match="column 'id': expected strings, found int64"):
            tag_table(tagger, make(COLUMNS), column="id")

    def test_settings_of_the_tagger(self, tagger: Tagger, make: Callable[[Any], Any]) -> None:
        with pytest.raises(ConfigError, match="from 0 to 1, got 2"):
            tag_table(tagger, make(COLUMNS), column="abstract", threshold=2)


def test_other_tables_and_mixed_columns_are_refused(tagger: Tagger) -> None:
    with pytest.raises(ConfigError, match=r"or datasets\.Dataset, got builtins\.dict"):
        tag_table(tagger, COLUMNS)
    for value in (1, "\ud800"):
        with pytest.raises(DataError, match="column 'text': expected strings"):
            tag_table(tagger, pd.DataFrame({"text": pd.Series(["a", value], dtype=object)}))
    twice = pa.table([["a"], ["b"]], names=["text", "text"])
    with pytest.raises(ConfigError, match="found 2"):
        tag_table(tagger, twice)


def test_arrow_tables_need_neither_pandas_nor_datasets() -> None:
    code = "import sys, kogner_ray.tables; print([m for m in ('datasets', 'ray', 'dgl') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
