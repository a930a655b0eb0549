"""The Tagger: deterministic, windows lose nothing, types do not disturb each other, any text is taken."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_corpus import DISEASES, DRUGS, amid, make_documents

from kogner_ray.data.spans import Document, Entity
from kogner_ray.errors import CheckpointError, ConfigError
from kogner_ray.kg.embeddings import read_entity_table, write_entity_table
from kogner_ray.student.checkpoint import read_checkpoint, write_checkpoint
from kogner_ray.student.pieces import cut
from kogner_ray.student.teaching import index_checkpoint
from kogner_ray.tagger import TaggedEntity, Tagger
from kogner_ray.tagging import TagRequest

SENTENCE = "In patients with type 2 diabetes , metformin was given for ten days ."
FOUND = [("type 2 diabetes", "Disease"), ("metformin", "Chemical")]


@pytest.fixture(scope="module")
def tagger(tiny_checkpoint: Path) -> Tagger:
    return Tagger.load(tiny_checkpoint)


def pairs(entities: list[TaggedEntity]) -> list[tuple[str, str]]:
    return [(entity.text, entity.type) for entity in entities]


def test_finds_and_links_what_it_has_learnt(tagger: Tagger) -> None:
    entities = tagger.tag(SENTENCE)
    assert pairs(entities) == FOUND
    assert [(entity.kg_id, entity.kg_name) for entity in entities] == [
        (f"disease:{DISEASES.index('type 2 diabetes')}", "type 2 diabetes"),
        (f"chemical:{DRUGS.index('metformin')}", "metformin"),
    ]
    assert all(0.3 < entity.link_score <= 1 for entity in entities if entity.link_score is not None)
    assert [entity.kg_id for entity in tagger.tag(SENTENCE, link=False)] == [None, None]


def test_is_deterministic_alone_and_in_company(tagger: Tagger) -> None:
    texts = [document.text for document in make_documents(30, seed=7)]
    together = tagger.tag(texts)
    assert together == tagger.tag(texts)
    alone = [tagger.tag(text) for text in texts]
    assert [pairs(entities) for entities in alone] == [pairs(entities) for entities in together]
    for one, other in zip(alone, together, strict=True):
        assert [e.score for e in one] == pytest.approx([e.score for e in other], abs=1e-5)


def test_a_student_in_training_is_left_as_it_was_and_draws_no_dropout(tiny_checkpoint: Path) -> None:
    checkpoint = read_checkpoint(tiny_checkpoint)
    expected = Tagger(checkpoint).tag(SENTENCE)
    checkpoint.student.train()
    assert Tagger(checkpoint).tag(SENTENCE) == expected
    assert all(module.training for module in checkpoint.student.modules())


@pytest.mark.parametrize(
    "types",
    [
        ["Disease", "Chemical"],
        ["Chemical"],
        ["Gene", "Chemical", "a cell line from some very long and winding description", "Disease"],
        {"Chemical": "drug", "Disease": "disease", "Organism": "organism"},
    ],
)
def test_other_types_never_change_a_types_score(tagger: Tagger, types: list[str] | dict[str, str]) -> None:
    def scores(asked: list[str] | dict[str, str] | None) -> dict[tuple[int, int], float]:
        found = tagger.tag(SENTENCE, asked, threshold=1e-6, nested=True, multi_label=True, link=False)
        return {(e.start, e.end): e.score for e in found if e.type == "Chemical"}

    reference, other = scores(None), scores(types)
    both = reference.keys() & other.keys()  # nested output still drops spans that cross a better one
    assert (35, 44) in both
    assert [other[span] for span in both] == pytest.approx([reference[span] for span in both], abs=1e-5)


@pytest.mark.parametrize("before", [0, 1, 23, 24, 25, 26, 27, 28, 29, 47, 1500, 2987])
def test_a_long_text_loses_nothing(tagger: Tagger, before: int) -> None:
    (planted,) = make_documents(1, seed=3)
    alone = pairs(tagger.tag(planted.text))
    assert alone == [(planted.surface(e), e.type) for e in planted.entities]
    long = amid(planted, before=before, after=3000 - before)
    assert len(long.text.split()) > 3000
    entities = tagger.tag(long.text)
    assert pairs(entities) == alone
    assert all(long.text[e.start : e.end] == e.text for e in entities)
    assert [(e.start, e.end) for e in entities] == [(e.start, e.end) for e in long.entities]
    twice = tagger.tag(long.text, multi_label=True)  # nothing here merges what two windows find
    assert len({(e.start, e.end, e.type) for e in twice}) == len(twice)


@pytest.fixture(scope="module")
def very_long() -> Document:
    """200,000 words with 300 sentences at random places among them."""
    generator = random.Random(0)
    planted = make_documents(300, seed=5)
    gaps = [generator.randrange(1300) for _ in planted]
    text, entities = "", []
    for document, gap in zip(planted, gaps, strict=True):
        piece = amid(document, before=gap, after=1)
        entities += [replace(e, start=e.start + len(text), end=e.end + len(text)) for e in piece.entities]
        text += piece.text + " "
    missing = 200_000 - len(text.split())
    return Document("long", text + amid(Document("f", "."), before=missing, after=0).text, tuple(entities))


def test_200_000_words_hold_what_their_windows_hold(tagger: Tagger, very_long: Document) -> None:
    (tokenised,) = tagger._reader._windower.tokenise([very_long.text])
    assert len(tokenised.words) >= 200_000
    pieces = list(tagger._reader.pieces([tokenised]))
    starts, ends = tokenised.words.starts, tokenised.words.ends
    windows = [(p, starts[p.window.first_word], ends[p.window.first_word + p.window.n_words - 1]) for p in pieces]
    alone = tagger.tag([very_long.text[low:high] for _, low, high in windows], link=False)
    expected = {
        (low + e.start, low + e.end, e.type)
        for (piece, low, _), entities in zip(windows, alone, strict=True)
        for e in entities
        if starts[piece.first_start]
        <= low + e.start
        < (starts[piece.end_start] if piece.end_start < len(starts) else 1e9)
    }
    found = tagger.tag(very_long.text, link=False)
    assert {(e.start, e.end, e.type) for e in found} == expected
    assert len(found) == len(expected)


def test_planted_sentences_are_recalled_in_200_000_words_as_alone(tagger: Tagger, very_long: Document) -> None:
    planted = make_documents(300, seed=5)
    # nested: with filler around it, this student takes "malaria and gout" for one disease, wherever that stands
    alone = tagger.tag([document.text for document in planted], nested=True, link=False)
    recalled_alone = sum(
        len({(e.start, e.end, e.type) for e in document.entities} & {(e.start, e.end, e.type) for e in entities})
        for document, entities in zip(planted, alone, strict=True)
    )
    found = {(e.start, e.end, e.type) for e in tagger.tag(very_long.text, nested=True, link=False)}
    recalled = len({(e.start, e.end, e.type) for e in very_long.entities} & found)
    total = len(very_long.entities)
    assert recalled_alone > 0.95 * total
    assert recalled >= recalled_alone - 0.01 * total


@pytest.mark.parametrize("text", ["a" * 10_000_000, " " * 10_000_000, f"{SENTENCE}{' ' * 10_000_000}{SENTENCE}"])
def test_ten_megabytes(tagger: Tagger, text: str) -> None:
    assert pairs(tagger.tag(text)) == FOUND * text.count(SENTENCE)


def test_threads_change_nothing(tagger: Tagger) -> None:
    texts = [document.text for document in make_documents(400, seed=9)]
    own = torch.get_num_threads()
    results = []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            results.append(tagger.tag(texts))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(own)
    assert [pairs(entities) for entities in results[0]] == [pairs(entities) for entities in results[1]]


def test_right_to_left_and_null_bytes_keep_their_places(tagger: Tagger) -> None:
    text = f"\u05e9\u05dc\u05d5\u05dd \x00 \u202e{SENTENCE}\u202c \u0645\u0631\u062d\u0628\u0627"
    found = tagger.tag(text)
    assert set(FOUND) <= set(pairs(found))
    assert all(text[e.start : e.end] == e.text for e in found)


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.sampled_from(["gout", "of", "thrombocytopenia", "pneumonoultramicroscopicsilicovolcano"])),
    max_tokens=st.integers(9, 40),
)
@example(words=["gout"] * 7 + ["pneumonoultramicroscopicsilicovolcano"] * 2 + ["gout"] * 30, max_tokens=20)
def test_every_span_that_fits_a_window_is_within_the_one_that_answers_for_it(
    tagger: Tagger, words: list[str], max_tokens: int
) -> None:
    windower, capacity = tagger._reader._windower, tagger._reader._windower.capacity
    try:
        windower.capacity = max_tokens - 2
        (text,) = windower.tokenise([" ".join(words)])
        pieces = list(cut(0, text, windower, widest=6))
        assert [s for piece in pieces for s in range(piece.first_start, piece.end_start)] == list(range(len(words)))
        for piece in pieces:
            end = piece.window.first_word + piece.window.n_words
            assert piece.window.first_word <= piece.first_start < piece.end_start <= end
            for start in range(piece.first_start, piece.end_start):
                possible = windower.end_of_window(text, start)
                assert end >= min(possible, start + 6, len(words))
    finally:
        windower.capacity = capacity


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=120) | st.text("aspirin gout\n\u0301\u200d🙂é\u00a0", max_size=120))
def test_any_text_is_taken_and_offsets_are_its_own(tagger: Tagger, text: str) -> None:
    for entity in tagger.tag(text, threshold=0.2, nested=True):
        assert text[entity.start : entity.end] == entity.text
        assert entity.text.strip() == entity.text != ""


@pytest.mark.parametrize("text", ["", " ", "\n\t\u00a0\u2003"])
def test_no_words_no_entities(tagger: Tagger, text: str) -> None:
    assert tagger.tag(text) == []
    assert tagger.tag([text, SENTENCE, text])[1] == tagger.tag(SENTENCE)


def test_offsets_count_characters_not_bytes(tagger: Tagger) -> None:
    text = f"🙂🙂 naïve e\u0301tude : {SENTENCE} 👩‍⚕️"
    entities = tagger.tag(text)
    assert set(FOUND) <= set(pairs(entities))
    (metformin,) = (entity for entity in entities if entity.text == "metformin")
    assert metformin.start == text.index("metformin")


def test_no_text_and_no_types(tagger: Tagger) -> None:
    assert tagger.tag([]) == []
    for types in ([], {}):
        with pytest.raises(ConfigError, match="at least one"):
            tagger.tag(SENTENCE, types)


def test_a_single_type_must_be_in_a_list(tagger: Tagger) -> None:
    with pytest.raises(ConfigError, match="list of names"):
        tagger.tag(SENTENCE, "Chemical")


def test_a_label_text_beyond_the_label_encoder_is_refused(tagger: Tagger) -> None:
    with pytest.raises(ConfigError, match="at most 128 fit"):
        tagger.tag(SENTENCE, {"Chemical": "drug " * 200})


def test_thresholds_order_and_scores(tagger: Tagger) -> None:
    for threshold in (0.1, 0.5, 0.9):
        assert all(e.score > threshold for e in tagger.tag(SENTENCE, threshold=threshold))
    starts = [e.start for e in tagger.tag(SENTENCE, threshold=0.01, nested=True)]
    assert starts == sorted(starts)


def test_a_type_may_have_a_threshold_of_its_own(tagger: Tagger) -> None:
    found = tagger.tag(SENTENCE, per_type_thresholds={"Disease": 1.0})
    assert pairs(found) == [("metformin", "Chemical")]
    strict = tagger.tag(SENTENCE, ["Disease", "Chemical"], threshold=1.0, per_type_thresholds={"Disease": 0.5})
    assert pairs(strict) == [("type 2 diabetes", "Disease")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, "from 0 to 1, got 1.5"),
        ({"per_type_thresholds": {"Chemical": -0.1}}, "from 0 to 1, got -0.1"),
        ({"per_type_thresholds": {"Gene": 0.5}}, "'Gene' is none of the types"),
        ({"types": ["Chemical", "Disease", "Chemical"]}, "each once, got 'Chemical' 2 times"),
        ({"types": ["Chemical", " "]}, "expected names"),
    ],
)
def test_settings_that_cannot_be_meant(tagger: Tagger, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tagger.tag(SENTENCE, **settings)


def test_a_lone_surrogate_is_taken_or_refused_by_name(tagger: Tagger) -> None:
    text = f"\ud800 {SENTENCE}"
    assert pairs(tagger.tag(text)) == FOUND


def test_the_tagger_runs_without_ray_dgl_and_torchkge(tiny_checkpoint: Path) -> None:
    code = (
        "import json, sys; from dataclasses import asdict; import kogner_ray.evaluate; "
        "from kogner_ray.tagger import Tagger; "
        f"found = Tagger.load({str(tiny_checkpoint)!r}).tag({SENTENCE!r}); "
        "print(json.dumps([[m for m in ('ray', 'dgl', 'torchkge') if m in sys.modules], [asdict(e) for e in found]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported, entities = json.loads(done.stdout.splitlines()[-1])
    assert imported == []
    torch.manual_seed(0)
    here = [asdict(entity) for entity in Tagger.load(tiny_checkpoint).tag(SENTENCE)]
    assert [e["kg_id"] for e in entities] == [e["kg_id"] for e in here]
    assert [e["score"] for e in entities] == pytest.approx([e["score"] for e in here], abs=1e-5)


def test_requests_together_get_what_each_gets_alone(tiny_checkpoint: Path) -> None:
    tagger = Tagger.load(tiny_checkpoint)
    texts = [document.text for document in make_documents(24, seed=5)]
    requests = [
        TagRequest(texts[:8]),
        TagRequest(texts[4:12], ["Disease"], 0.2, nested=True),
        TagRequest([], ["Gene"]),
        TagRequest(
            texts[12:], {"Ill": "disease", "Sick": "disease", "Other": "x"}, 0.1, {"Ill": 0.9}, multi_label=True
        ),
        TagRequest(texts[:3], link=False),
    ]
    together = tagger.tag_together(requests)
    for request, found in zip(requests, together, strict=True):
        alone = tagger.tag(
            request.texts,
            request.types,
            threshold=request.threshold,
            per_type_thresholds=request.per_type_thresholds,
            nested=request.nested,
            multi_label=request.multi_label,
            link=request.link,
        )
        assert [[astuple(e)[:4] for e in own] for own in found] == [[astuple(e)[:4] for e in own] for own in alone]
        assert [[e.kg_id for e in own] for own in found] == [[e.kg_id for e in own] for own in alone]
        scores = [[e.score for own in side for e in own] for side in (found, alone)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert any(e.kg_id for own in together[0] for e in own)
    assert not any(e.kg_id for own in together[4] for e in own)


def with_links(checkpoint: Path, folder: Path) -> Path:
    """The checkpoint with an index beside it."""
    copy = Path(shutil.copytree(checkpoint, folder))
    index_checkpoint(copy)
    return copy


def test_a_checkpoint_links_alike_with_and_without_its_index(
    tagger: Tagger, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    copy = with_links(tiny_checkpoint, tmp_path / "copy")
    texts = [document.text for document in make_documents(20, seed=3)]
    found = Tagger.load(copy).tag(texts)
    assert found == tagger.tag(texts) and any(entity.kg_id for own in found for entity in own)
    again = write_checkpoint(read_checkpoint(copy), tmp_path / "again")
    assert Tagger.load(again).tag(texts) == found
    (again / "index" / "ids.data.npy").unlink()
    with pytest.raises(CheckpointError, match="make the index anew"):
        Tagger.load(again)
    index_checkpoint(again)
    assert Tagger.load(again).tag(texts) == found


def test_an_index_of_other_entities_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = with_links(tiny_checkpoint, tmp_path / "copy")
    table = read_entity_table(copy / "entities")
    write_entity_table(table.select(list(range(4))), copy / "entities")
    with pytest.raises(CheckpointError, match="another entity table"):
        Tagger.load(copy)


def test_an_abbreviation_is_linked_by_its_definition_in_another_window(tagger: Tagger) -> None:
    filler = "for ten days most patients were treated after the risk . " * 12
    text = f"The risk of heart failure ( HTF ) remains unknown . {filler}"
    (defined,) = [entity for entity in tagger.tag(text) if entity.type == "Disease"][:1]
    entity = Entity(len(text), len(text) + 3, "Disease")
    here = Document("d", text + "HTF was seen .", (entity,))
    alone = Document("d", "HTF was seen .", (Entity(0, 3, "Disease"),))
    ((linked,),), ((unknown,),) = tagger.candidates([here], most=1)[:1], tagger.candidates([alone], most=1)
    assert linked[0].id == defined.kg_id == f"disease:{DISEASES.index('heart failure')}"
    assert linked[0].score > tagger.link_threshold and all(link.score < tagger.link_threshold for link in unknown)


def test_only_ids_of_the_vocabularies_that_are_asked_for(tiny_checkpoint: Path) -> None:
    chemicals = Tagger.load(tiny_checkpoint, vocabularies=["Chemical"])
    assert [entity.kg_id is not None for entity in chemicals.tag(SENTENCE)] == [False, True]
    never = Tagger.load(tiny_checkpoint, link_threshold=1.0)
    assert [entity.kg_id for entity in never.tag(SENTENCE)] == [None, None]


def test_candidates_need_a_kg(tiny_checkpoint: Path) -> None:
    bare = Tagger(replace(read_checkpoint(tiny_checkpoint), kg_head=None, entities=None))
    with pytest.raises(ConfigError, match="no KG"):
        bare.candidates(make_documents(1))
    assert bare.links is None


def test_given_mentions_lie_where_found_ones_do(tagger: Tagger) -> None:
    texts = [document.text for document in make_documents(6, seed=5)]
    found = tagger.tag(texts)
    documents = [
        Document("d", text, tuple(Entity(e.start, e.end, e.type) for e in own))
        for text, own in zip(texts, found, strict=True)
    ]
    best = tagger.candidates(documents, most=1)
    for own, ranked in zip(found, best, strict=True):
        assert [(e.kg_id, pytest.approx(e.link_score, abs=1e-4)) for e in own] == [
            (r[0].id, r[0].score) for r in ranked
        ]
