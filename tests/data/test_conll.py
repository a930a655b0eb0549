"""CoNLL reading against conlleval's rules (seqeval), every tag scheme, and the shapes that files really have."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from kogner_ray.data.formats import conll
from kogner_ray.data.formats.tags import decode, parse
from kogner_ray.data.spans import Document, Entity


def _read(tmp_path: Path, text: str) -> list[Document]:
    path = tmp_path / "x.tsv"
    path.write_bytes(text.encode())
    return list(conll.read(path))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["O", *(f"{p}-{t}" for p in "BIES" for t in ("A", "cell-type"))]), max_size=10))
def test_any_tag_sequence_reads_as_conlleval_does(tags: list[str]) -> None:
    ours = [(span.type, span.start, span.end - 1) for span in decode(map(parse, tags))]
    assert ours == get_entities(tags)


@pytest.mark.parametrize(
    "tags",
    [
        ["I-A", "I-A", "B-A", "O", "I-B"],
        ["B-A", "I-A", "B-A", "O", "B-B"],
        ["B-A", "E-A", "S-A", "O", "S-B"],
        ["B-A", "L-A", "U-A", "O", "U-B"],
    ],
    ids=["IOB1", "IOB2", "IOBES", "BILOU"],
)
def test_every_scheme_gives_the_same_entities(tags: list[str], tmp_path: Path) -> None:
    rows = "".join(f"w{i}\t{tag}\n" for i, tag in enumerate(tags))
    [document] = _read(tmp_path, rows)
    assert document.text == "w0 w1 w2 w3 w4"
    assert document.entities == (Entity(0, 5, "A"), Entity(6, 8, "A"), Entity(12, 14, "B"))


def test_bmes_and_bilou_letters_are_those_of_iobes() -> None:
    assert [parse(tag).prefix for tag in ("B-A", "M-A", "E-A", "L-A", "S-A", "U-A", "O")] == list("BIEESSO")


@pytest.mark.parametrize(
    "text",
    [
        "EU\tB-ORG\nrejects\tO\n\nPeter\tB-PER\n",
        "EU B-ORG\nrejects O\n\nPeter B-PER",
        "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\n\nPeter NNP I-NP B-PER\n\n",
        "-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n\nPeter NNP I-NP B-PER\n",
        "\ufeffEU\tB-ORG\r\nrejects\tO\r\n\r\nPeter\tB-PER\r\n",
        "-DOCSTART-\tO\n\nEU\tB-ORG\nrejects\tO\n \nPeter\tB-PER\n",
    ],
    ids=["tab", "space, no last newline", "four columns, blank lines", "CoNLL-2003", "BOM and CRLF", "BaderLab"],
)
def test_shapes_of_real_files(text: str, tmp_path: Path) -> None:
    first, second = _read(tmp_path, text)
    assert (first.text, first.entities) == ("EU rejects", (Entity(0, 2, "ORG"),))
    assert (second.text, second.entities) == ("Peter", (Entity(0, 5, "PER"),))
    assert first.id != second.id
    assert first.annotated_types is None


def test_ids_say_where_a_sentence_is_or_come_from_the_file(tmp_path: Path) -> None:
    documents = _read(tmp_path, "a\tO\n\nb\tO\n\n###MEDLINE:95369245\n\nc\tO\n\nd\tO\n\n-DOCSTART-\tid=x\tO\n\ne\tO\n")
    where = f"{tmp_path.name}/x.tsv"
    assert [d.id for d in documents] == [f"{where}:1", f"{where}:3", "95369245", "95369245:2", "x"]


def test_tokens_of_odd_characters(tmp_path: Path) -> None:
    [document] = _read(tmp_path, "e\u0301\tO\n\U0001f9ec\tB-X\na\u00a0b\tI-X\n\u2028\tO\n#\tO\n")
    assert document.text == "e\u0301 \U0001f9ec a\u00a0b \u2028 #"
    assert document.surface(document.entities[0]) == "\U0001f9ec a\u00a0b"


def test_repaired_tags_are_counted_unless_the_file_is_iob1(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _read(tmp_path, "a\tI-A\nb\tO\nc\tI-A\nd\tB-A\n")
        assert caplog.messages == []
        _read(tmp_path, "a\tB-A\n\nb\tO\nc\tI-A\nd\tI-B\n")
    [message] = caplog.messages
    assert "2 tags begin an entity without B- (the first in line 4)" in message


@pytest.mark.parametrize(
    ("path", "n_sentences", "n_mentions"),
    [
        ("BC5CDR-IOB/train", 4560, 9385),
        ("BC5CDR-IOB/devel", 4581, 9593),
        ("BC5CDR-IOB/test", 4797, 9809),
        ("NCBI-disease-IOB/train", 5424, 5134),
        ("NCBI-disease-IOB/devel", 923, 787),
        ("NCBI-disease-IOB/test", 940, 960),
        ("JNLPBA_BIO/train", 16807, 46750),
        ("JNLPBA_BIO/valid", 1739, 4551),
        ("JNLPBA_BIO/test", 3856, 8662),
    ],
)
def test_real_corpora_hold_what_they_are_known_to_hold(
    mirror: Path, path: str, n_sentences: int, n_mentions: int
) -> None:
    [file] = mirror.glob(f"*/*/*/**/{path}.tsv")
    documents = list(conll.read(file))
    assert len(documents) == len({document.id for document in documents}) == n_sentences
    assert sum(len(document.entities) for document in documents) == n_mentions


def test_a_real_corpus_survives_writing(mirror: Path, tmp_path: Path) -> None:
    [file] = mirror.glob("*/*/*/**/NCBI-disease-IOB/devel.tsv")
    documents = list(conll.read(file))
    conll.write(documents, tmp_path / "x.tsv")
    assert list(conll.read(tmp_path / "x.tsv")) == documents
