"""What is written is read back whole, or refused by name: every reader and writer pair, random documents."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from document_strategies import documents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kogner_ray.data.formats import FORMATS, read_documents, write_documents
from kogner_ray.data.spans import Document, Entity, Passage, Relation
from kogner_ray.errors import UnsupportedAnnotation

WRITABLE = sorted(name for name, entry in FORMATS.items() if entry.write)
_SETTINGS = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round_trips")


def _by_position(document: Document) -> Document:
    """CoNLL and BioC keep entities by place, not in any other order."""
    return document.with_entities(sorted(document.entities, key=repr))


def _round_trip(document: Document, path: Path, name: str) -> Document:
    write_documents([document], path, name)
    [back] = read_documents(path, name)
    return back


@pytest.mark.parametrize("name", ["jsonl", "parquet"])
def test_own_formats_hold_everything(name: str, folder: Path) -> None:
    @_SETTINGS
    @given(documents())
    def check(document: Document) -> None:
        assert _round_trip(document, folder / f"x.{name}", name) == document

    check()


@pytest.mark.parametrize("name", ["conll", "pubtator", "bioc_xml", "bioc_json"])
def test_anything_is_kept_or_refused_by_name(name: str, folder: Path) -> None:
    @_SETTINGS
    @given(documents())
    def check(document: Document) -> None:
        try:
            back = _round_trip(document, folder / name, name)
        except UnsupportedAnnotation as error:
            assert f"document {document.id!r}" in str(error)
        else:
            assert _by_position(back) == _by_position(document)

    check()


def _flat(document: Document) -> Document:
    """Without what no simplification makes fit: overlaps, discontinuous entities, separators in the id."""
    kept: list[Entity] = []
    for entity in sorted(document.entities, key=lambda entity: entity.start):
        if not kept or entity.start >= kept[-1].end:
            kept.append(replace(entity, fragments=()))
    plain_id = document.id.translate(dict.fromkeys(map(ord, "|\t\n\r\ufeff"), "_"))
    return replace(document, id=plain_id, entities=tuple(kept))


@pytest.mark.parametrize("name", ["conll", "pubtator"])
def test_flat_documents_round_trip_once_simplified(name: str, folder: Path) -> None:
    simplify = FORMATS[name].simplify
    assert simplify is not None

    @_SETTINGS
    @given(documents())
    def check(document: Document) -> None:
        simpler = simplify(_flat(document))
        assert _by_position(_round_trip(simpler, folder / name, name)) == _by_position(simpler)
        surfaces = ["".join(simpler.surface(entity).split()) for entity in simpler.entities]
        originals = ["".join(document.surface(entity).split()) for entity in _flat(document).entities]
        assert surfaces == [surface for surface in originals if surface or name == "pubtator"]

    check()


@pytest.mark.parametrize("name", ["bioc_xml", "bioc_json"])
def test_bioc_holds_nearly_everything(name: str, folder: Path) -> None:
    def fit(entity: Entity) -> Entity:
        plain = {key: value for key, value in entity.attributes.items() if key != "type"}
        return replace(entity, attributes=plain, concepts=tuple(c for c in entity.concepts if "|" not in c))

    @_SETTINGS
    @given(documents(controls="\n\r\t"))
    def check(document: Document) -> None:
        document = document.with_entities(map(fit, document.entities))
        assert _by_position(_round_trip(document, folder / name, name)) == _by_position(document)

    check()


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("n", [0, 1, 7])
def test_several_documents_and_compression(name: str, n: int, tmp_path: Path) -> None:
    many = [Document(f"d{i}", f"aspirin {i} helps", (Entity(0, 7, "Chemical"),)) for i in range(n)]
    magic = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}
    for suffix in ("", *magic) if FORMATS[name].packs else ("",):
        path = tmp_path / f"x{FORMATS[name].endings[0]}{suffix}"
        assert write_documents(many, path).n_documents == n
        assert list(read_documents(path)) == many
        if suffix:
            assert path.read_bytes().startswith(magic[suffix])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({p.name for p in tmp_path.glob("x*")})


@settings(max_examples=20, deadline=None)
@given(st.lists(documents(controls="\n\t"), max_size=4))
def test_more_than_one_random_document_a_file(folder_documents: list[Document]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name in ("jsonl", "bioc_json"):
            try:
                write_documents(folder_documents, Path(folder) / name, name)
            except UnsupportedAnnotation:
                continue
            back = list(read_documents(Path(folder) / name, name))
            assert [_by_position(d) for d in back] == [_by_position(d) for d in folder_documents]


NESTED = Document("d1", "human IL-2 gene", (Entity(0, 15, "DNA"), Entity(6, 10, "protein")))
SPLIT = Document("d1", "skin and lung cancer", (Entity(0, 20, "Disease", fragments=((0, 4), (14, 20))),))
BROKEN_LINE = Document("d1", "first\nsecond", (Entity(0, 5, "A"),))
INSIDE_A_WORD = Document("d1", "IL-2-induced", (Entity(0, 4, "protein"),))
LINKED = Document("d1", "aspirin", (Entity(0, 7, "Chemical", ("D001241",)),))


@pytest.mark.parametrize(
    ("name", "document", "match"),
    [
        ("conll", NESTED, r"document 'd1': protein 'IL-2' at 6: .*nested or overlapping"),
        ("conll", SPLIT, r"document 'd1': Disease 'skin and lung cancer' at 0: .*fragments"),
        ("conll", BROKEN_LINE, r"document 'd1': .*tokens joined by one space"),
        ("conll", INSIDE_A_WORD, r"document 'd1': protein 'IL-2' at 0: .*whole tokens"),
        ("conll", LINKED, r"document 'd1': Chemical 'aspirin' at 0: .*concepts"),
        ("conll", Document("d1", "-DOCSTART- x"), r"document 'd1': .*'-DOCSTART-'"),
        ("pubtator", SPLIT, r"document 'd1': Disease 'skin and lung cancer' at 0: .*discontinuous"),
        ("pubtator", BROKEN_LINE, r"document 'd1': .*line break"),
        ("pubtator", Document("a|b", "x"), r"document 'a\|b': .*column"),
        ("bioc_xml", Document("d1", "a\x00b"), r"document 'd1': XML cannot hold"),
        ("bioc_json", Document("d1", "abc", passages=(Passage(0, 2), Passage(1, 3))), r"document 'd1': .*overlapping"),
        (
            "bioc_json",
            Document("d1", "abc", (Entity(0, 1, "A", ("C|1",)),)),
            r"document 'd1': A 'a' at 0: .*told apart",
        ),
    ],
)
def test_refusals_name_document_and_entity(name: str, document: Document, match: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(UnsupportedAnnotation, match=match):
        write_documents([Document("d0", "fine"), document], path, name)
    assert list(tmp_path.iterdir()) == []


def test_nested_entities_are_kept_where_they_can_be(tmp_path: Path) -> None:
    for name in sorted(set(WRITABLE) - {"conll"}):
        assert _round_trip(NESTED, tmp_path / "x", name) == NESTED


def test_not_strict_leaves_details_out_and_counts_them(tmp_path: Path) -> None:
    rich = Document(
        "d1",
        "IL-2-induced  asthma",
        (Entity(0, 4, "protein", ("P60568",), id="T1"), Entity(14, 20, "Disease", attributes={"score": "0.9"})),
        annotated_types=("protein", "Disease"),
        relations=(Relation("CID", (("a", "x"), ("b", "y"))),),
    )
    report = write_documents([rich], tmp_path / "x.conll", strict=False)
    assert report.dropped == {
        "text": 1, "annotated_types": 1, "relations": 1, "entity.concepts": 1, "entity.id": 1, "entity.attributes": 1,
    }  # fmt: skip
    [back] = read_documents(tmp_path / "x.conll")
    assert back.text == "IL-2 - induced asthma"
    assert [(back.surface(e), e.type) for e in back.entities] == [("IL-2", "protein"), ("asthma", "Disease")]
    report = write_documents([rich], tmp_path / "x.pubtator", strict=False)
    assert report.dropped == {"annotated_types": 1, "relations": 1, "entity.id": 1, "entity.attributes": 1}
    [back] = read_documents(tmp_path / "x.pubtator")
    assert (back.text, back.entities[0].concepts) == (rich.text, ("P60568",))
    with pytest.raises(UnsupportedAnnotation, match="nested"):
        write_documents([NESTED], tmp_path / "y.conll", strict=False)
