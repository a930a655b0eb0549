"""Readers: what they keep, repair and leave out, with file and line, and what they refuse."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.errors import DataError
from kogner_ray.kg.formats import detect_format, hetionet, parquet, read_any, triples
from kogner_ray.kg.tables import EDGE_SCHEMA, NODE_SCHEMA, KnowledgeGraph, check_kg, read_kg

NODES = b"id\tname\tkind\nGene::1\tA1BG\tGene\nDisease::DOID:2\tgout\tDisease\nCompound::DB3\tabacavir\tCompound\n"
EDGES = b"source\tmetaedge\ttarget\nCompound::DB3\tCtD\tDisease::DOID:2\nDisease::DOID:2\tDaG\tGene::1\n"


def write(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        (folder / name.replace("__", ".").replace("_sif_gz", ".sif.gz")).write_bytes(content)
    return folder


def test_hetionet(tmp_path: Path) -> None:
    write(tmp_path, nodes__tsv=NODES, edges_sif_gz=gzip.compress(EDGES))
    kg, report = read_any(tmp_path)
    assert kg.edges.to_pylist() == [
        {"head": "Compound::DB3", "relation": "treats", "tail": "Disease::DOID:2", "metaedge": "CtD"},
        {"head": "Disease::DOID:2", "relation": "associates", "tail": "Gene::1", "metaedge": "DaG"},
    ]
    assert kg.nodes["curie"].to_pylist() == ["NCBIGene:1", "DOID:2", "DRUGBANK:DB3"]
    assert (report.nodes, report.edges, report.issues) == (3, 2, ())


def test_hetionet_relations_come_from_metaedges_tsv(tmp_path: Path) -> None:
    metaedges = b"metaedge\tabbreviation\nCompound - cures - Disease\tCtD\nDisease > marks > Gene\tDaG\n"
    write(tmp_path, nodes__tsv=NODES, edges__sif=EDGES, metaedges__tsv=metaedges)
    assert hetionet.read(tmp_path)[0].relations == ["cures", "marks"]


def test_hetionet_keeps_and_reports_an_unknown_metaedge(tmp_path: Path) -> None:
    write(tmp_path, nodes__tsv=NODES, edges__sif=EDGES + b"Gene::1\tGxC\tCompound::DB3\n")
    kg, report = read_any(tmp_path)
    assert kg.relations == ["GxC", "associates", "treats"]
    (issue,) = report.issues
    assert (issue.kind, issue.action, issue.count) == ("unknown relation (16 known)", "kept", 1)
    assert issue.first == (f"{tmp_path / 'edges.sif'}:4: relation 'GxC'",)


def test_real_hetionet(mirror: Path) -> None:
    (edges,) = mirror.glob("dhimmel/integrate/*/data/edges-5k.sif.gz")
    (nodes,) = mirror.glob("hetio/hetionet/*/hetnet/tsv/hetionet-v1.0-nodes.tsv")
    (metaedges,) = mirror.glob("hetio/hetionet/*/describe/edges/metaedges.tsv")
    kg, report = hetionet.read(edges, nodes=nodes, metaedges=metaedges, strict=True)
    check_kg(kg)
    assert (kg.n_nodes, kg.n_edges, len(kg.types)) == (47031, 99676, 11)
    assert len(set(kg.edges["metaedge"].to_pylist())) == 24
    assert kg.relations == sorted(set(hetionet.METAEDGES.values()))
    assert not report.issues
    assert hetionet.read(edges, nodes=nodes)[0].edges.equals(kg.edges)


def test_real_parquet_without_descriptions(shared: Path) -> None:
    with pytest.raises(DataError, match="missing columns"):
        read_kg(shared / "data/kg/pharmkg8k")
    kg, report = read_any(shared / "data/kg/pharmkg8k")
    check_kg(kg)
    assert (kg.n_nodes, kg.n_edges, report.count("self loop")) == (7010, 135511, 1495)
    assert kg.nodes.schema.names[:5] == NODE_SCHEMA.names and set(kg.nodes["description"].to_pylist()) == {""}


@pytest.mark.parametrize(
    "content",
    [
        b"a\ttreats\tb\nb\tbinds\tc\n",
        b"head\trelation\ttail\na\ttreats\tb\nb\tbinds\tc\n",
        b"\xef\xbb\xbfhead\trelation\ttail\r\na\ttreats\tb\r\n\r\nb\tbinds\tc",
        b"\xef\xbb\xbfa\ttreats\tb\nb\tbinds\tc\n",
        b"Predicate,Subject,Object\ntreats,a,b\nbinds,b,c\n",
        gzip.compress(b"a\ttreats\tb\nb\tbinds\tc\n"),
    ],
)
def test_triples_with_and_without_header(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "edges.txt"
    path.write_bytes(content)
    kg, report = read_any(path)
    assert kg.edges.select(EDGE_SCHEMA.names).to_pylist() == [
        {"head": "a", "relation": "treats", "tail": "b"},
        {"head": "b", "relation": "binds", "tail": "c"},
    ]
    assert kg.nodes["name"].to_pylist() == ["a", "b", "c"] and kg.types == ["Unknown"]
    assert report.issues == ()


def test_triples_keep_extra_columns_and_take_types_from_ids(tmp_path: Path) -> None:
    path = tmp_path / "drkg.csv"
    path.write_text('head,relation,tail,source\nGene::1,"binds, tightly",Compound::2,DrugBank\n', encoding="utf-8")
    kg, _ = read_any(path)
    assert kg.types == ["Compound", "Gene"] and kg.relations == ["binds, tightly"]
    assert kg.edges["source"].to_pylist() == ["DrugBank"]


def test_nodes_file(tmp_path: Path) -> None:
    nodes = (
        "id\tlabel\tType\tsynonyms\tdescription\txrefs\nx\t42\tDrug\tb | a||b\ta drug\tMESH:1\ny\tgout\tDisease\t\t\t\n"
    )
    (tmp_path / "nodes.tsv").write_text(nodes, encoding="utf-8")
    (tmp_path / "edges.tsv").write_text("x\ttreats\ty\n", encoding="utf-8")
    kg, report = read_any(tmp_path)
    assert kg.nodes.to_pylist()[0] == {
        "id": "x",
        "name": "42",
        "type": "Drug",
        "synonyms": ["b", "a"],
        "description": "a drug",
        "xrefs": "MESH:1",
    }
    assert kg.nodes["synonyms"].to_pylist() == [["b", "a"], []]
    assert report.issues == ()


IRREGULAR_NODES = b"""id\tname\ttype\tsynonyms
a\talpha\tGene\t
b\t\tGene\tbeta|bee
c\t \tGene\t
d\tdelta\t\t
a\tagain\tGene\t
\tnobody\tGene\t
"""
IRREGULAR_EDGES = b"""head\trelation\ttail
a\tbinds\tb
a\tbinds\tb
b\tbinds\ta
a\tbinds\tnowhere
nobody\tbinds\ta
a\ttreets\td
a\tbinds\ta
\tbinds\ta
a\t\tb
"""


@pytest.fixture
def irregular(tmp_path: Path) -> Path:
    return write(tmp_path, nodes__tsv=IRREGULAR_NODES, edges__tsv=IRREGULAR_EDGES, relations__tsv=b"relation\nbinds\n")


def test_every_irregular_row_is_counted_with_file_and_line(irregular: Path) -> None:
    kg, report = read_any(irregular)
    found = {issue.kind: (issue.action, issue.count, issue.first[0]) for issue in report.issues}
    nodes, edges = irregular / "nodes.tsv", irregular / "edges.tsv"
    assert found == {
        "edge without a head": ("left out", 1, f"{edges}:9: tail 'a'"),
        "edge without a relation": ("left out", 1, f"{edges}:10: head 'a'"),
        "unknown relation (1 known)": ("left out", 1, f"{edges}:7: relation 'treets'"),
        "empty id": ("left out", 1, f"{nodes}:7: name 'nobody'"),
        "duplicate id": ("left out", 1, f"{nodes}:6: id 'a'"),
        "empty name": ("repaired", 2, f"{nodes}:3: id 'b'"),
        "unknown node type": ("repaired", 1, f"{nodes}:5: id 'd'"),
        "dangling edge (head is no node)": ("left out", 1, f"{edges}:6: head 'nobody'"),
        "dangling edge (tail is no node)": ("left out", 1, f"{edges}:5: tail 'nowhere'"),
        "duplicate edge": ("left out", 1, f"{edges}:3: head 'a'"),
        "self loop": ("kept", 1, f"{edges}:8: head 'a'"),
    }
    check_kg(kg)
    assert kg.nodes.select(["id", "name", "type"]).to_pylist() == [
        {"id": "a", "name": "alpha", "type": "Gene"},
        {"id": "b", "name": "beta", "type": "Gene"},
        {"id": "c", "name": "c", "type": "Gene"},
        {"id": "d", "name": "delta", "type": "Unknown"},
    ]
    assert kg.triples[:, [0, 2]].tolist() == [[0, 1], [1, 0], [0, 0]]
    left_out = sum(issue.count for issue in report.issues if issue.action == "left out" and "id" not in issue.kind)
    assert report.edge_rows == report.edges + left_out
    assert "1 x duplicate id: left out" in report.summary()
    assert report.as_dict()["issues"][0]["count"] == 1


def test_strict_refuses_the_first_irregular_row(irregular: Path) -> None:
    with pytest.raises(DataError, match=r"edges\.tsv:9: edge without a head: tail 'a' \(1 in all\)"):
        read_any(irregular, strict=True)


def test_strict_accepts_self_loops(tmp_path: Path) -> None:
    kg, report = read_any(write(tmp_path, edges__tsv=b"a\tbinds\ta\n"), strict=True)
    assert (kg.n_edges, report.count("self loop")) == (1, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"edges\.tsv:1: expected at least one line"),
        (b"a\tbinds\tb\na\tbinds\n", r"edges\.tsv:2: expected 3 columns, found 2: 'a\\tbinds'"),
        (b"a\tbinds\tb\n\na\tb\tc\td\n", r"edges\.tsv:3: expected 3 columns, found 4"),
        (b"a\tbinds\tb\na\tb\xefnds\tc\n", r"edges\.tsv:2: expected UTF-8, found byte 0xef at column 4"),
        ("a\tbinds\tb\n".encode("utf-16"), r"edges\.tsv:1: expected UTF-8"),
        (gzip.compress(b"a\tbinds\tb\n" * 50)[:-9], r"edges\.tsv:\d+: the gzip stream is truncated"),
        (gzip.compress(b"a\tbinds\tb\n" * 50)[:12], r"edges\.tsv:\d+: the gzip stream is truncated"),
        (b"a\tb\n", r"edges\.tsv:1: expected a header with head, relation and tail, or exactly 3 columns, found 2"),
        (b"head\trelation\ttail\thead\n", r"edges\.tsv:1: column names repeat"),
    ],
)
def test_malformed_files_are_refused_by_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "edges.tsv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_any(tmp_path)


def test_a_broken_node_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, edges__tsv=b"a\tbinds\tb\n", nodes__tsv=b"a\tb\nc\td\n")
    with pytest.raises(DataError, match=r"nodes\.tsv:1: expected a header with at least 'id'"):
        read_any(tmp_path)


def test_hetionet_needs_its_columns(tmp_path: Path) -> None:
    write(tmp_path, nodes__tsv=b"id\tname\n", edges__sif=EDGES)
    with pytest.raises(DataError, match=r"nodes\.tsv:1: missing columns \['kind'\]"):
        read_any(tmp_path)


def test_header_only_files_read_as_an_empty_graph(tmp_path: Path) -> None:
    kg, report = read_any(write(tmp_path, nodes__tsv=b"id\tname\ttype\n", edges__tsv=b"head\trelation\ttail\n"))
    assert (kg.n_nodes, kg.n_edges, kg.types, kg.triples.shape) == (0, 0, [], (0, 3))
    assert report.issues == ()


def test_nodes_without_edges(tmp_path: Path) -> None:
    kg, _ = read_any(write(tmp_path, nodes__tsv=b"id\tname\ttype\na\tb\tc\n", edges__tsv=b"head\trelation\ttail"))
    assert (kg.n_nodes, kg.n_edges, kg.relations) == (1, 0, [])


@pytest.mark.parametrize("damage", ["missing", "text", "types", "column"])
def test_broken_parquet_is_refused(tmp_path: Path, damage: str) -> None:
    pq.write_table(pa.table({"id": ["a"], "name": ["b"], "synonyms": [[1, 2]]}), tmp_path / "nodes.parquet")
    pq.write_table(pa.table({"head": ["a"], "relation": ["r"], "tail": ["a"]}), tmp_path / "edges.parquet")
    if damage == "missing":
        (tmp_path / "nodes.parquet").unlink()
    elif damage == "text":
        (tmp_path / "edges.parquet").write_text("no parquet", encoding="utf-8")
    elif damage == "types":
        pq.write_table(pa.table({"id": ["a"], "name": ["b"], "synonyms": ["text"]}), tmp_path / "nodes.parquet")
    else:
        pq.write_table(pa.table({"head": ["a"], "tail": ["a"]}), tmp_path / "edges.parquet")
    with pytest.raises(DataError, match=str(tmp_path)):
        parquet.read(tmp_path)


def test_format_detection(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read_any(tmp_path / "absent")
    with pytest.raises(DataError, match="no known format"):
        read_any(tmp_path)
    assert detect_format(write(tmp_path, edges__tsv=b"a\tb\tc")) == "triples"
    with pytest.raises(DataError, match="holds its own nodes"):
        read_any(tmp_path, nodes=tmp_path / "x", format="parquet")


def test_a_node_with_a_million_synonyms(tmp_path: Path) -> None:
    names = "|".join(map(str, range(1_000_000)))
    (tmp_path / "nodes.tsv").write_text(f"id\tname\ttype\tsynonyms\na\t1\tGene\t{names}\n", encoding="utf-8")
    kg, report = read_any(write(tmp_path, edges__tsv=b"a\tseen once\ta\n"))
    assert len(kg.nodes["synonyms"][0].as_py()) == 1_000_000 and kg.types == ["Gene"]
    assert (kg.relations, report.count("self loop")) == (["seen once"], 1)


@pytest.mark.parametrize("relation", ["is_a", "subClassOf"])
def test_cycles_of_a_hierarchy_are_kept_and_counted(tmp_path: Path, relation: str) -> None:
    edges = ["a R b", "b R c", "c R a", "c R d", "d R d", "d other c"]
    text = "\n".join(edge.replace("R", relation).replace(" ", "\t") for edge in edges)
    kg, report = read_any(write(tmp_path, edges__tsv=text.encode()), strict=True)
    assert kg.n_edges == 6
    assert (report.count("cyclic hierarchy"), report.count("self loop")) == (3, 1)


odd_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n"), min_size=1, max_size=8)
plain = odd_text.filter(lambda text: text == text.strip() and not text.startswith("\ufeff"))


@settings(deadline=None)
@given(st.lists(st.tuples(plain, plain, plain), min_size=1, max_size=10))
def test_any_id_survives(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]) -> None:
    path = tmp_path_factory.mktemp("odd") / "edges.tsv"
    lines = ["head\trelation\ttail", *("\t".join(row) for row in rows)]
    path.write_bytes("\n".join(lines).encode())
    kg, _ = triples.read(path)
    check_kg(kg)
    assert [tuple(row.values()) for row in kg.edges.to_pylist()] == list(dict.fromkeys(rows))
    assert sorted(kg.ids) == sorted({end for head, _, tail in rows for end in (head, tail)})
    folder = kg.write(path.parent / "kg")
    assert read_kg(folder).edges.equals(kg.edges)


def test_written_and_read_again_is_equal(irregular: Path, tmp_path: Path) -> None:
    kg, _ = read_any(irregular)
    again, report = read_any(kg.write(tmp_path / "canonical"))
    assert isinstance(again, KnowledgeGraph) and again.nodes.equals(kg.nodes) and again.edges.equals(kg.edges)
    assert [issue.kind for issue in report.issues] == ["self loop"]
