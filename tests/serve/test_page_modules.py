"""What the page computes in the browser, against what Python gives for the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from browser import Browser, chromium
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import kogner_ray
from kogner_ray.data.formats import read_documents, write_documents
from kogner_ray.data.spans import Document, Entity, Passage
from kogner_ray.student.decode import ScoredSpan, resolve

SERVED = Path(kogner_ray.__file__).parent / "serve"
TEXTS = ("", "plain", "β-blocker", "🧬 gene 🧬", "a\U0001d4b3b é אב", "👩\u200d⚕️ and e\u0301", "\U0001f9ec")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """At a page that loads nothing, beside the modules."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SERVED))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with chromium(tmp_path_factory.mktemp("screenshots")) as opened:
        opened.open(f"http://127.0.0.1:{server.server_port}/page/icon.svg")
        yield opened
    server.shutdown()
    server.server_close()


def test_offsets_in_code_points(browser: Browser) -> None:
    cases = [
        (text, start, end) for text in TEXTS for start in range(len(text) + 1) for end in range(start, len(text) + 1)
    ]
    slices = """({ toUtf16 }, cases) => cases.map(([text, start, end]) => {
        const unit = toUtf16(text);
        return text.slice(unit(start), unit(end));
    })"""
    assert browser.call("offsets.js", slices, cases) == [text[start:end] for text, start, end in cases]
    assert browser.call("offsets.js", "({ codePoints }, t) => t.map(codePoints)", TEXTS) == [len(t) for t in TEXTS]


def random_spans(generator: Random) -> list[ScoredSpan]:
    spans = {}
    for _ in range(generator.randrange(25)):
        start = generator.randrange(12)
        place = (start, start + generator.randrange(5), generator.randrange(3))
        spans[place] = ScoredSpan(*place, generator.choice([generator.uniform(0.1, 1), 0.5, 0.7]))
    return sorted(spans.values(), key=lambda s: (-s.score, s.start, s.end, s.type))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("multi_label", [False, True])
def test_what_is_above_a_threshold_is_what_would_be_kept_at_it(
    browser: Browser, nested: bool, multi_label: bool
) -> None:
    generator = Random(0)
    many = [random_spans(generator) for _ in range(200)]
    resolved = [resolve(spans, nested=nested, multi_label=multi_label) for spans in many]
    asked = [[{"start": s.start, "end": s.end, "type": s.type, "score": s.score} for s in own] for own in resolved]
    for threshold in (0.1, 0.5, 0.62, 0.7, 0.9):
        above = f"({{ above }}, many) => many.map((own) => above(own, {threshold}))"
        shown = browser.call("spans.js", above, asked)
        kept = [
            resolve([s for s in spans if s.score > threshold], nested=nested, multi_label=multi_label) for spans in many
        ]
        found = [[(s["start"], s["end"], s["type"], s["score"]) for s in own] for own in shown]
        assert found == [[(s.start, s.end, s.type, s.score) for s in own] for own in kept]


def test_a_forest_nests_by_containment(browser: Browser) -> None:
    spans = [(0, 30), (2, 10), (4, 6), (12, 20), (12, 20), (32, 35)]
    entities = [{"start": a, "end": b, "type": f"t{i}", "score": 1 - i / 10} for i, (a, b) in enumerate(spans)]
    outline = """({ forest }, entities) => {
        const outline = ({ entity, children, height }) => [entity.type, height, children.map(outline)];
        return forest(entities).map(outline);
    }"""
    expected = [["t0", 2, [["t1", 1, [["t2", 0, []]]], ["t3", 1, [["t4", 0, []]]]]], ["t5", 0, []]]
    assert browser.call("spans.js", outline, entities[::-1]) == expected


@st.composite
def abstracts(draw: st.DrawFn) -> Document:
    """A title and an abstract, or a text alone, with mentions that PubTator can hold."""
    letters = st.sampled_from("abc 12 \n\t|\U0001f9ec\u2028\u0085é")
    title, abstract = draw(st.text(letters, min_size=1, max_size=12)), draw(st.text(letters, max_size=20))
    text = f"{title} {abstract}"
    whole = draw(st.booleans())
    passages = () if whole else (Passage(0, len(title), "title"), Passage(len(title) + 1, len(text), "abstract"))
    ids = st.sampled_from(["", "MESH:D003000", "a b", " x", "-", "C1|C2", "p|SUB|V|600|E", "kg:é"])
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=5)))
    entities = tuple(
        Entity(start, end, draw(st.sampled_from(["Gene", "Cell line"])), tuple(filter(None, [draw(ids)])))
        for start, end in pairwise(cuts)
    )
    return Document(f"d{draw(st.integers(0, 99))}", text, entities, passages=passages)


def drawn(strategy: st.SearchStrategy[Document], n: int) -> list[Document]:
    """`n` different documents, always the same."""
    documents: list[Document] = []

    @settings(max_examples=n, database=None, derandomize=True, phases=[Phase.generate], deadline=None)
    @given(strategy)
    def collect(document: Document) -> None:
        documents.append(document)

    collect()
    return documents


def as_page(document: Document) -> dict[str, object]:
    """A document as the page holds it; `titleEnd` counts UTF-16 units."""
    title = document.text[: document.passages[0].end] if document.passages else None
    end = None if title is None else len(title.encode("utf-16-le")) // 2
    return {"id": document.id, "text": document.text, "titleEnd": end}


def test_pubtator_is_written_as_python_writes_it(browser: Browser, tmp_path: Path) -> None:
    documents = drawn(abstracts(), 150)
    cases = []
    for document in documents:
        entities = [
            {"start": e.start, "end": e.end, "text": document.surface(e), "type": e.type}
            | {"kg_id": e.concepts[0] if e.concepts else None}
            for e in document.entities
        ]
        cases.append([as_page(document), entities])
    write_documents(documents, tmp_path / "x.pubtator", strict=False)
    written = browser.call("pubtator.js", "({ writePubtator }, cases) => cases.map((c) => writePubtator(...c))", cases)
    assert "".join(written) == (tmp_path / "x.pubtator").read_bytes().decode()


@pytest.mark.parametrize("format", ["pubtator", "bioc_json", "jsonl"])
def test_files_are_read_as_python_reads_them(browser: Browser, tmp_path: Path, format: str) -> None:
    path = tmp_path / "documents"
    texts = [document.with_entities(()) for document in drawn(abstracts(), 150)]
    write_documents(texts, path, format, strict=False)
    content = path.read_bytes().decode()
    read = browser.call("documents.js", "({ readDocuments }, content) => readDocuments(content)", content)
    assert read == [as_page(document) for document in read_documents(path, format)]


@pytest.mark.parametrize("format", ["pubtator", "bioc_json"])
def test_real_files_are_read_as_python_reads_them(browser: Browser, mirror: Path, tmp_path: Path, format: str) -> None:
    [original] = mirror.glob("*/*/*/**/CDR_TestSet.PubTator.txt")
    documents = list(read_documents(original))
    path = tmp_path / "documents"
    if format == "pubtator":
        path = original
    else:
        write_documents(documents, path, format)
    content = path.read_bytes().decode()
    read = browser.call("documents.js", "({ readDocuments }, content) => readDocuments(content)", content)
    assert read == [as_page(document) for document in documents]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1|t|A title\n2|a|Of another", "line 2: expected id|t|title"),
        ("1|t|A title\nno columns", "line 2: expected id|t|title"),
        ('{"text": "a"}\n{"text": 3}', "line 2: expected a document with a text"),
        ('{"text": "a"}\n{"text": ', "line 2:"),
        ('{"documents": [{"id": "7", "passages": [{"offset": -3, "text": "a"}]}]}', "document 7: expected a passage"),
    ],
)
def test_broken_files_are_refused_by_line(browser: Browser, content: str, said: str) -> None:
    failing = """({ readDocuments }, content) => {
        try { readDocuments(content); } catch (error) { return error.message; }
        return "";
    }"""
    assert said in browser.call("documents.js", failing, content)


def test_labels_of_the_graph_never_meet(browser: Browser) -> None:
    generator = Random(1)
    for n in (1, 2, 3, 7, 16, 40):
        neighbours = [
            {"id": f"n{i}", "name": f"name {i}", "type": "T", "relation": f"r{i % 3}", "direction": "out"}
            for i in range(n)
        ]
        layout = "({ layout }, n) => layout(n).map(({ neighbour, x, y, side }) => [neighbour.id, x, y, side])"
        places = browser.call("graph.js", layout, neighbours)
        assert len(places) == min(n, 16)
        assert all(abs(y - other) > 30 for (_, _, y, side), (_, _, other, own) in pairs(places) if side == own)
        assert all(side * x > 30 for _, x, _, side in places)
        assert browser.call("graph.js", layout, generator.sample(neighbours, n)) == places


def pairs(places: list[list[float]]) -> Iterator[tuple[list[float], list[float]]]:
    return ((a, b) for i, a in enumerate(places) for b in places[:i])
