"""The spaCy component: the tagger's entities on spaCy's documents, whatever its tokens are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from small_corpus import DRUGS, make_documents

from kogner_ray.errors import CheckpointError, ConfigError
from kogner_ray.tagger import TaggedEntity, Tagger

spacy = pytest.importorskip("spacy", reason="in the extra of that name")
from spacy.tokens import Doc, Span  # noqa: E402

from kogner_ray.spacy_component import annotate  # noqa: E402

TEXTS = [document.text for document in make_documents(9, seed=4)]
SENTENCE = "In patients with type 2 diabetes , metformin was given for ten days ."


@pytest.fixture(scope="module")
def tagger(tiny_checkpoint: Path) -> Tagger:
    return Tagger.load(tiny_checkpoint)


def pipeline(checkpoint: Path, **config: Any) -> Any:
    nlp = spacy.blank("en")
    nlp.add_pipe("kogner", config={"checkpoint": str(checkpoint), **config})
    return nlp


def shown(spans: Any) -> list[tuple[str, str, str, str | None]]:
    return [(span.text, span.label_, span.kb_id_, span._.kg_name) for span in spans]


def expected(entities: list[TaggedEntity]) -> list[tuple[str, str, str, str | None]]:
    return [(e.text, e.type, e.kg_id or "", e.kg_name) for e in entities]


def test_entities_ids_and_scores(tiny_checkpoint: Path, tagger: Tagger) -> None:
    doc, entities = pipeline(tiny_checkpoint)(SENTENCE), tagger.tag(SENTENCE)
    assert shown(doc.ents) == shown(doc.spans["kogner"]) == expected(entities)
    assert doc.ents[1].kb_id_ == f"chemical:{DRUGS.index('metformin')}"
    assert [ent._.score for ent in doc.ents] == [e.score for e in entities]
    assert [ent._.link_score for ent in doc.ents] == [e.link_score for e in entities]
    assert doc.spans["kogner"].attrs["entities"] == [asdict(e) for e in entities]


def test_a_document_survives_its_bytes(tiny_checkpoint: Path) -> None:
    nlp = pipeline(tiny_checkpoint)
    doc = nlp(SENTENCE)
    again = Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert shown(again.ents) == shown(doc.ents)
    assert again.spans["kogner"].attrs == doc.spans["kogner"].attrs
    assert [ent._.score for ent in again.ents] == [ent._.score for ent in doc.ents]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_in_batches_it_finds_the_same(tiny_checkpoint: Path, tagger: Tagger, batch_size: int) -> None:
    docs = list(pipeline(tiny_checkpoint).pipe(["", *TEXTS], batch_size=batch_size))
    assert [doc.text for doc in docs] == ["", *TEXTS]
    assert [shown(doc.ents) for doc in docs] == [[], *(expected(entities) for entities in tagger.tag(TEXTS))]


def test_settings(tiny_checkpoint: Path, tagger: Tagger) -> None:
    config = {"types": {"Illness": "disease"}, "per_type_thresholds": {"Illness": 0.4}, "link": False}
    doc = pipeline(tiny_checkpoint, **config, spans_key="mine")(SENTENCE)
    assert shown(doc.ents) == shown(doc.spans["mine"]) == [("type 2 diabetes", "Illness", "", None)]
    assert shown(pipeline(tiny_checkpoint, threshold=1.0)(SENTENCE).ents) == []
    assert shown(pipeline(tiny_checkpoint, types=["Chemical"])(SENTENCE).ents) == expected(
        tagger.tag(SENTENCE, ["Chemical"])
    )


def test_nested_entities_are_all_in_spans(tiny_checkpoint: Path, tagger: Tagger) -> None:
    doc = pipeline(tiny_checkpoint, nested=True, threshold=0.0)(SENTENCE)
    entities = tagger.tag(SENTENCE, threshold=0.0, nested=True)
    assert shown(doc.spans["kogner"]) == expected(entities)
    assert len(entities) > len(doc.ents) > 0
    assert {max(entities, key=lambda e: e.score).text} <= {ent.text for ent in doc.ents}
    assert all(a.end <= b.start for a, b in zip(doc.ents, doc.ents[1:], strict=False))


def annotated(doc: Doc, *entities: tuple[str, str, float]) -> Doc:
    found = [TaggedEntity(doc.text.index(s), doc.text.index(s) + len(s), s, kind, p) for s, kind, p in entities]
    return annotate(doc, found)


class TestTokensThatDoNotFit:
    def test_an_entity_within_a_token_takes_it_whole(self) -> None:
        doc = annotated(Doc(spacy.blank("en").vocab, ["the", "aspirin+", "group"]), ("aspirin", "Chemical", 0.9))
        assert [ent.text for ent in doc.ents] == ["aspirin+"]
        assert doc.spans["kogner"].attrs["entities"][0]["text"] == "aspirin"

    def test_two_in_one_token_are_both_kept(self) -> None:
        doc = Doc(spacy.blank("en").vocab, ["aspirin/gout", "study"])
        doc = annotated(doc, ("aspirin", "Chemical", 0.6), ("gout", "Disease", 0.9))
        assert [(ent.label_, ent._.score) for ent in doc.ents] == [("Disease", 0.9)]
        assert [(span.text, span.label_) for span in doc.spans["kogner"]] == [
            ("aspirin/gout", "Chemical"),
            ("aspirin/gout", "Disease"),
        ]
        assert [entity["score"] for entity in doc.spans["kogner"].attrs["entities"]] == [0.6, 0.9]

    def test_earlier_entities_stay_where_they_do_not_overlap(self) -> None:
        doc = Doc(spacy.blank("en").vocab, ["In", "Rome", "lung", "cancer", "was", "rare"])
        doc.ents = [Span(doc, 1, 2, "GPE"), Span(doc, 3, 4, "SIGN")]
        doc = annotated(doc, ("lung cancer", "Disease", 0.8))
        assert [(ent.text, ent.label_) for ent in doc.ents] == [("Rome", "GPE"), ("lung cancer", "Disease")]

    def test_tokens_of_the_real_tokenizer(self, tiny_checkpoint: Path, tagger: Tagger) -> None:
        text = "🙂 (aspirin)/gout-like: no-malaria; naïve asthma?! metformin's 5mg.aspirin"
        found = tagger.tag(text, threshold=0.1)
        doc = pipeline(tiny_checkpoint, threshold=0.1)(text)
        assert doc.spans["kogner"].attrs["entities"] == [asdict(entity) for entity in found] != []
        for span, entity in zip(doc.spans["kogner"], found, strict=True):
            assert span.start_char <= entity.start < entity.end <= span.end_char


def test_refused(tiny_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        pipeline(tiny_checkpoint / "nowhere")
    with pytest.raises(ConfigError, match="from 0 to 1, got 3"):
        pipeline(tiny_checkpoint, threshold=3)
    with pytest.raises(ConfigError, match="each once"):
        pipeline(tiny_checkpoint, types=["a", "a"])
    with pytest.raises(ValueError, match="treshold"):
        pipeline(tiny_checkpoint, treshold=0.5)
    with pytest.raises(ValueError, match="checkpoint"):
        spacy.blank("en").add_pipe("kogner")


def test_an_installed_package_is_found_and_a_saved_pipeline_comes_back(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The entry point as pyproject.toml declares it, in a process that imports nothing of ours."""
    declared = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    point = re.search(r"\[project\.entry-points\.(spacy_factories)\]\n(kogner = )\"(.+)\"", declared)
    assert point is not None
    about = tmp_path / "site" / "installed-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 0\n")
    (about / "entry_points.txt").write_text(f"[{point[1]}]\n{point[2]}{point[3]}\n")
    code = (
        "import spacy; nlp = spacy.blank('en'); "
        f"nlp.add_pipe('kogner', config={{'checkpoint': {str(tiny_checkpoint)!r}}}); "
        f"nlp.to_disk({str(tmp_path / 'saved')!r}); nlp = spacy.load({str(tmp_path / 'saved')!r}); "
        f"print([(e.text, e.label_) for e in nlp({SENTENCE!r}).ents])"
    )
    places = [str(tmp_path / "site"), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "[('type 2 diabetes', 'Disease'), ('metformin', 'Chemical')]", done.stderr
