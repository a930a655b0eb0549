"""The page, used in a real browser: what it shows is what the service gives, for all readers and on all screens."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser import Browser, chromium
from selenium.webdriver.common.keys import Keys
from small_corpus import DISEASES, DRUGS, make_documents

from kogner_ray.data.formats import read_documents, write_documents
from kogner_ray.kg.tables import EDGE_SCHEMA, NODE_SCHEMA

TEXT = "🧬 In patients with lung cancer , aspirin was given for ten days .\nAnd 🧬 metformin reduces asthma ."
SHOWN = """return [...document.querySelectorAll("#marked mark")].map((mark) => {
    const text = mark.cloneNode(true);
    text.querySelectorAll(".chip").forEach((chip) => chip.remove());
    return [[...mark.querySelectorAll(".chip")].at(-1).dataset.key, text.textContent];
})"""


@pytest.fixture(scope="module")
def kg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The entities of `small_corpus`, each drug joined to every disease."""
    folder = tmp_path_factory.mktemp("kg")
    nodes = [
        {"id": f"{kind.lower()}:{i}", "name": name, "type": kind, "synonyms": [f"{name} alias"], "description": ""}
        for kind, names in (("Chemical", DRUGS), ("Disease", DISEASES))
        for i, name in enumerate(names)
    ]
    edges = [
        {"head": f"chemical:{i}", "relation": "treats" if (i + j) % 3 else "contraindicated_in", "tail": f"disease:{j}"}
        for i in range(len(DRUGS))
        for j in range(len(DISEASES))
    ]
    pq.write_table(pa.Table.from_pylist(nodes, schema=NODE_SCHEMA), folder / "nodes.parquet")
    pq.write_table(pa.Table.from_pylist(edges, schema=EDGE_SCHEMA), folder / "edges.parquet")
    return folder


@pytest.fixture(scope="module")
def served(replica: Callable[..., httpx.Client], kg: Path) -> httpx.Client:
    return replica(kg=str(kg))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = Path(os.environ.get("KOGNER_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    with chromium(folder) as opened:
        yield opened


@pytest.fixture
def page(tab: Browser, served: httpx.Client) -> Iterator[Browser]:
    """The page in light colours; afterwards, it has had nothing to complain of and asked nobody else."""
    tab.requested(), tab.complaints()
    tab.open(str(served.base_url))
    tab.find(".choice")
    yield tab
    own = (str(served.base_url), "data:", "chrome", "about:")
    assert not [address for address in tab.requested() if not address.startswith(own)]
    assert not [line for line in tab.complaints() if "422" not in line and "401" not in line]


def write(page: Browser, text: str) -> None:
    page.find("#text")
    page.run("document.getElementById('text').value = arguments[0]", text)


def find_entities(page: Browser, text: str = TEXT) -> None:
    """Tag a text and wait."""
    write(page, text)
    page.find("#tag").click()
    page.wait(lambda: "mention" in page.find("#status").text, "an answer")


def slide(page: Browser, threshold: float) -> None:
    script = (
        "const at = document.getElementById('threshold'); at.value = arguments[0]; at.dispatchEvent(new Event('input'))"
    )
    page.run(script, threshold)


def tagged(served: httpx.Client, texts: list[str], **settings: Any) -> list[list[dict[str, Any]]]:
    """The service's own answer."""
    answer = served.post("/v1/tag", json={"texts": texts, **settings}).raise_for_status()
    return [result["entities"] for result in answer.json()["results"]]


def as_shown(entities: list[dict[str, Any]]) -> list[list[str]]:
    inwards = sorted(entities, key=lambda e: (e["start"], -e["end"], -e["score"]))
    return [[f"{e['start']} {e['end']} {e['type']}", e["text"]] for e in inwards]


def roughly(entities: list[dict[str, Any]]) -> list[Any]:
    """To compare with; the last digits of scores follow the texts of the same batch."""
    return [e | {name: pytest.approx(e[name], abs=1e-4) for name in ("score", "link_score")} for e in entities]


@pytest.mark.parametrize("modes", [(), ("nested",), ("nested", "multi_label")])
def test_at_each_threshold_it_shows_what_the_service_gives(
    page: Browser, served: httpx.Client, modes: tuple[str, ...]
) -> None:
    for mode in modes:
        page.find(f"#{mode.replace('_', '-')}").click()
    find_entities(page)
    numbers = set()
    for threshold in (0.5, 0.11, 0.3, 0.98, 0.99, 1):
        slide(page, threshold)
        (expected,) = tagged(served, [TEXT], threshold=threshold, **dict.fromkeys(modes, True))
        assert page.run(SHOWN) == as_shown(expected)
        numbers.add(len(expected))
    assert len(numbers) > 1
    slide(page, 0.5)
    assert {text for _, text in page.run(SHOWN)} >= {"aspirin", "lung cancer", "metformin", "asthma"}


def test_the_slider_acts_without_asking_again(page: Browser) -> None:
    find_entities(page)
    page.requested()
    page.run("document.getElementById('threshold').focus()")
    before = page.run(SHOWN)
    page.press(Keys.END)
    assert page.find("#threshold-value").text == "1.00"
    assert before and page.run(SHOWN) == []
    assert not page.requested()


def test_other_types_can_be_asked_for(page: Browser, served: httpx.Client) -> None:
    page.all("#types input")[1].click()  # Disease, no longer
    page.find("#type-name").send_keys("Illness", Keys.TAB, "disease", Keys.ENTER)
    assert page.focused == page.find("#type-name")
    find_entities(page)
    (expected,) = tagged(served, [TEXT], types={"Chemical": "drug", "Illness": "disease"})
    assert page.run(SHOWN) == as_shown(expected)
    assert "Illness" in {e["type"] for e in expected}
    page.find("button[aria-label='Remove the type Illness']").click()
    page.find("#stale")
    page.find("#again").click()
    (expected,) = tagged(served, [TEXT], types=["Chemical"])
    page.wait(lambda: page.run(SHOWN) == as_shown(expected))


def test_a_type_is_hidden_in_the_legend(page: Browser) -> None:
    find_entities(page)
    page.find("#legend button[data-legend='Disease']").send_keys(Keys.ENTER)
    assert page.focused.get_attribute("aria-pressed") == "false"
    assert {key.rsplit()[-1] for key, _ in page.run(SHOWN)} == {"Chemical"}


def test_an_entity_opens_with_its_entry_by_keyboard_alone(page: Browser, served: httpx.Client) -> None:
    page.find("#text").send_keys("aspirin reduces asthma in most patients .", Keys.CONTROL, Keys.ENTER)
    chips = page.wait(lambda: page.all("#marked .chip"))
    page.run("document.querySelector('#legend li:last-child button').focus()")
    page.press(Keys.TAB, Keys.ARROW_RIGHT)
    assert page.focused == chips[1]
    page.press(Keys.ARROW_LEFT, Keys.ENTER)
    page.wait(lambda: page.run("return document.activeElement.id") == "panel-title")  # drawn again with its entry
    (entities,) = tagged(served, ["aspirin reduces asthma in most patients ."])
    check_panel(page, served, entities[0]["kg_id"])
    assert f"{entities[0]['link_score']:.3f}" in page.find("#panel dl").text
    node = page.find("#panel .graph [role=button]")
    other = node.get_attribute("data-id")
    page.run("arguments[0].focus()", node)
    page.press(Keys.ENTER)
    page.wait(lambda: other in page.find("#panel code").text)
    check_panel(page, served, other)
    page.find("#panel .back").click()
    check_panel(page, served, entities[0]["kg_id"])
    page.press(Keys.ESCAPE)
    assert not page.all("#panel")[0].is_displayed()
    assert page.focused == chips[0]


def check_panel(page: Browser, served: httpx.Client, id: str) -> None:
    entry = served.get(f"/v1/entities/{id}").raise_for_status().json()
    page.wait(lambda: [code.text for code in page.all("#panel code")] == [id])
    shown = page.find("#panel").text
    assert all(said in shown for said in (entry["name"], entry["type"], *entry["synonyms"]))
    assert f"{entry['n_neighbours']} neighbours" in shown
    drawn = [node.get_attribute("data-id") for node in page.all("#panel .graph [role=button]")]
    assert sorted(drawn) == sorted(other["id"] for other in entry["neighbours"])[:16]


def test_what_is_shown_is_copied(page: Browser, served: httpx.Client, tmp_path: Path) -> None:
    find_entities(page)
    slide(page, 0.4)
    (expected,) = tagged(served, [TEXT], threshold=0.4)
    page.find("#copy-json").click()
    page.wait(lambda: "Copied 1 document as JSON" in page.find("#status").text)
    copied = json.loads(page.clipboard)
    assert copied["threshold"] == 0.4
    assert copied["documents"][0]["text"] == TEXT
    assert copied["documents"][0]["entities"] == expected
    page.find("#copy-pubtator").click()
    page.wait(lambda: "as PubTator" in page.find("#status").text)
    (tmp_path / "copied.pubtator").write_text(page.clipboard, encoding="utf-8")
    (document,) = read_documents(tmp_path / "copied.pubtator")
    found = [(e.start, e.end, e.type, e.concepts) for e in document.entities]
    assert found == [(e["start"], e["end"], e["type"], (e["kg_id"],)) for e in expected]


@pytest.mark.parametrize("format", ["pubtator", "bioc_json", "jsonl"])
def test_a_file_is_tagged_and_paged_through(page: Browser, served: httpx.Client, tmp_path: Path, format: str) -> None:
    documents = make_documents(130, seed=3)  # more than one request's
    write_documents(documents, tmp_path / "corpus.txt", format, strict=False)
    page.all("#file")[0].send_keys(str(tmp_path / "corpus.txt"))
    page.wait(lambda: "130 documents" in page.find("#loaded").text)
    page.find("#tag").click()
    page.wait(lambda: "mentions in 130 documents" in page.find("#status").text)
    answers = tagged(served, [d.text for d in documents])
    assert page.run(SHOWN) == as_shown(answers[0])
    page.find("#next").click()
    assert page.find("#document-id").text == documents[1].id
    assert page.run(SHOWN) == as_shown(answers[1])
    page.find("#page").send_keys(Keys.CONTROL, "a", Keys.NULL, "130", Keys.ENTER)
    assert page.run(SHOWN) == as_shown(answers[129])
    assert not page.find("#next").is_enabled()
    page.find("#copy-json").click()
    page.wait(lambda: "Copied 130 documents" in page.find("#status").text)
    copied = [d["entities"] for d in json.loads(page.clipboard)["documents"]]
    assert copied == [roughly(own) for own in answers]


def test_a_file_can_be_dropped(page: Browser) -> None:
    drop = """const files = new DataTransfer();
        files.items.add(new File(["1|t|aspirin reduces asthma .\\n\\n2|t|No gout .\\n"], "two.pubtator"));
        const event = new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true });
        document.getElementById("drop").dispatchEvent(event);"""
    page.run(drop)
    page.wait(lambda: "two.pubtator · 2 documents" in page.find("#loaded").text)
    page.run(drop.replace("2|t|", "2|x|"))
    assert "line 3: expected id|t|title" in page.wait(lambda: page.find("#problem").text)


def test_a_refusal_is_shown_in_the_words_of_the_service(page: Browser) -> None:
    write(page, "a " * 20_001)
    page.find("#tag").click()
    assert "max_words" in page.wait(lambda: page.find("#problem").text)
    write(page, "  ")
    page.find("#tag").click()
    page.wait(lambda: "There is no text yet" in page.find("#problem").text)


def test_a_key_is_asked_for_once(
    tab: Browser, replica: Callable[..., httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOGNER_API_KEYS", "open sesame")
    guarded = replica(max_texts=4095)
    assert guarded.get("/v1/models").status_code == 401
    tab.open(str(guarded.base_url))
    tab.find("#key").send_keys("wrong", Keys.ENTER)
    tab.wait(lambda: "refused" in tab.find("#key-title").text)
    tab.find("#key").send_keys("open sesame", Keys.ENTER)
    tab.find(".choice")
    find_entities(tab)
    tab.open(str(guarded.base_url))
    tab.find(".choice")
    assert tab.run("return [sessionStorage.length, localStorage.length]") == [1, 0]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_no_reader_is_kept_out(tab: Browser, served: httpx.Client, theme: str, width: int) -> None:
    tab.open(str(served.base_url), theme=theme, width=width, height=800)
    tab.find(".choice")
    tab.find("#type-name").send_keys("Treatment", Keys.ENTER)
    tab.find("#nested").click()
    find_entities(tab)
    assert tab.barriers() == []
    tab.screenshot(f"{theme}-{width}")
    tab.open(str(served.base_url), theme=theme, width=width, height=800)
    tab.find(".choice")
    find_entities(tab)
    tab.find("#marked .chip").click()
    tab.find("#panel .graph")
    assert tab.barriers() == []
    assert tab.run("return document.documentElement.scrollWidth") <= width
    tab.screenshot(f"{theme}-{width}-panel")


def test_the_theme_can_be_chosen(page: Browser) -> None:
    colour = "return getComputedStyle(document.documentElement).backgroundColor"
    light = page.run(colour)
    page.find("#theme").click()
    dark = page.run(colour)
    assert dark != light
    page.run("location.reload()")
    page.find(".choice")
    assert page.run(colour) == dark
    page.find("#theme").click()
    assert page.run(colour) == light
    assert page.run("return localStorage.length") == 0
