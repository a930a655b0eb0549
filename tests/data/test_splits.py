"""Leaks between splits, made up and real."""

from __future__ import annotations

from pathlib import Path

import pytest

from kogner_ray.data.formats import read_documents
from kogner_ray.data.spans import Document
from kogner_ray.data.splits import find_leaks
from kogner_ray.errors import DataError

_LONG = "Naloxone reverses the antihypertensive effect of clonidine."


def test_same_text_whatever_its_blanks_and_case() -> None:
    splits = {
        "train": [Document("a", _LONG), Document("b", "One two three four five.")],
        "dev": [Document("c", "Something else that is long enough.")],
        "test": [Document("d", _LONG.upper().replace(".", " .")), Document("e", "Nothing of the kind at all.")],
    }
    report = find_leaks(splits)
    assert [(pair.first, pair.second) for pair in report.pairs] == [
        ("train", "dev"),
        ("train", "test"),
        ("dev", "test"),
    ]
    [leak] = report.leaks
    assert (leak.first, leak.second, leak.n_same_text, leak.n_same_id, leak.n_documents) == ("train", "test", 1, 0, 2)
    assert leak.examples == (("a", "d", _LONG.upper().replace(".", " .")),)
    with pytest.raises(
        DataError, match=r"test shares 1 texts and 0 ids with train \(of 2 documents\), such as 'd' = 'a'"
    ):
        find_leaks(splits, strict=True)


def test_same_id_with_another_text_is_a_leak() -> None:
    report = find_leaks({"train": [Document("227508", _LONG)], "test": [Document("227508", "A later version of it.")]})
    assert (report.leaks[0].n_same_id, report.leaks[0].n_same_text) == (1, 0)


def test_headings_are_counted_apart() -> None:
    report = find_leaks({"train": [Document("a", "RESULTS :")], "test": [Document("b", "Results:")]}, strict=True)
    assert report.leaks == ()
    assert report.pairs[0].n_short == 1
    assert find_leaks({"train": [Document("a", "x")], "test": [Document("b", "x")]}, min_words=1).leaks


def _splits(mirror: Path, folder: str, names: tuple[str, ...]) -> dict[str, list[Document]]:
    [home] = mirror.glob(f"*/*/*/**/{folder}")
    return {name: list(read_documents(home / f"{name}.tsv")) for name in names}


def test_jnlpba_tests_on_110_sentences_of_its_own_train(mirror: Path) -> None:
    report = find_leaks(_splits(mirror, "JNLPBA_BIO", ("train", "test")))
    assert report.leaks[0].n_same_text == 110
    assert report.leaks[0].n_same_id == 0
    with pytest.raises(DataError, match="test shares 110 texts"):
        report.require_none()


def test_ncbi_disease_shares_one_sentence(mirror: Path) -> None:
    report = find_leaks(_splits(mirror, "NCBI-disease-IOB", ("train", "devel", "test")))
    [leak] = report.leaks
    assert (leak.first, leak.second, leak.n_same_text) == ("train", "test", 1)
    assert "Hereditary deficiency of the fifth component" in leak.examples[0][2]
    assert [pair.n_short for pair in report.pairs] == [5, 0, 1]
