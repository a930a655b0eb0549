"""Candidates of a mention, what speaks for each, and which is chosen: on a KG where every answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_links import ROWS, document, make_directions, make_nodes, row

from kogner_ray.data.words import split_words
from kogner_ray.errors import CheckpointError
from kogner_ray.kg.index.index import LinkIndex
from kogner_ray.kg.ranking.chooser import Chooser
from kogner_ray.kg.ranking.corpus import as_examples, fit_to_corpus, read_gold
from kogner_ray.kg.ranking.finder import MOST_CANDIDATES, STRING_FEATURES, Finder, Query
from kogner_ray.kg.ranking.fit import Examples, best_candidates, best_threshold, fit
from kogner_ray.kg.ranking.learnt import Learnt
from kogner_ray.kg.ranking.mentions import Mentions, as_query, defined, group_mentions
from kogner_ray.kg.ranking.pool import FEATURES, NIL_FEATURES, Group, Pool, make_pool
from kogner_ray.kg.ranking.ranker import Ranker, bit_matrix, softmax
from kogner_ray.kg.ranking.rehearsal import rehearse

INDEX = LinkIndex.build(make_nodes(), directions=make_directions())


def evidence(text: str, *, short: str = "", learnt: Learnt | None = None) -> dict[str, dict[str, float]]:
    """Best entity of each candidate -> its features that are not 0."""
    (found,) = Finder(INDEX, learnt).find([Query(text, short)])
    return {
        INDEX.ids[int(entity)]: {n: float(v) for n, v in zip(STRING_FEATURES, values, strict=True) if v}
        for entity, values in zip(found.rows, found.features, strict=True)
    }


def linked(text: str, type: str = "Disease", **settings: object) -> str | None:
    rows, _ = Chooser(INDEX, Ranker(), **settings).link([Group(0, Query(text), type)])  # type: ignore[arg-type]
    return None if rows[0] < 0 else INDEX.ids[int(rows[0])]


def test_how_a_concept_is_called() -> None:
    assert evidence("hypotension") == {"MESH:D007022": {"name": 1, "squashed": 1, "bag": 1}}
    assert evidence("Low blood-pressure")["MESH:D007022"]["synonym"] == 1
    assert set(evidence("lowbloodpressure")["MESH:D007022"]) >= {"squashed"}
    assert set(evidence("injuries of the kidney, acute")["MESH:D058186"]) == {"bag"}
    assert evidence("nephrotoxic")["MESH:D007674"].keys() == {"gram"}
    assert evidence("") == {}


def test_an_entity_of_the_same_name_lends_its_synonyms() -> None:
    found = evidence("RBV")
    assert found["DRUGBANK:DB00811"]["synonym"] == 1 and found["MESH:D012254"] == {"sibling": 1}


def test_rows_of_one_concept_are_one_candidate_by_its_best_entity() -> None:
    found = evidence("acetylsalicylic acid")
    assert found == {"CHEBI:15365": {"name": 1, "synonym": 1, "squashed": 1, "bag": 1}}


def test_learnt_names_and_short_forms() -> None:
    kidney, heart = (int(INDEX.concepts[row(id)]) for id in ("MESH:D007674", "MESH:D006333"))
    learnt = Learnt.of({("toxicity of kidneys", kidney): 3, ("toxicity of kidneys", heart): 1})
    found = evidence("Toxicity of kidneys", learnt=learnt)
    assert found["MESH:D007674"]["learnt"] == pytest.approx(np.log(4)) and found["MESH:D007674"]["learnt share"] == 0.75
    assert found["MESH:D006333"]["learnt share"] == 0.25
    assert evidence("acute renal failure", short="ARF")["OMIM:113705"] == {"short form": 1}
    assert evidence("acute renal failure", short="ARF")["MESH:D058186"]["short form"] == 1


def test_a_name_of_many_keeps_the_strongest() -> None:
    nodes = make_nodes().to_pylist()
    many = [nodes[0] | {"id": f"X:{i}", "name": f"n{i}", "synonyms": ["shared"], "cluster": f"c{i}"} for i in range(99)]
    many[70]["name"] = "shared"
    index = LinkIndex.build(make_nodes().from_pylist(many, make_nodes().schema))
    (found,) = Finder(index).find([Query("shared")])
    assert len(found.concepts) == MOST_CANDIDATES and 70 in found.rows


TEXT = "Acute renal failure (ARF) was seen. Heart failure (HF) too; HFs and ARF II. Drug-induced dyskinesia [DID]."


def test_abbreviations_are_written_out() -> None:
    long_forms = defined(TEXT, split_words(TEXT))
    assert long_forms == {"ARF": "Acute renal failure", "HF": "Heart failure", "DID": "Drug-induced dyskinesia"}
    assert as_query("ARF", long_forms) == Query("Acute renal failure", "ARF")
    assert as_query("severe HFs", long_forms) == Query("severe Heart failure", "severe HFs")
    assert as_query("Acute renal failure (ARF) II", long_forms).text == "Acute renal failure II"
    assert as_query("arf", long_forms) == Query("arf") and as_query("ARF", {}) == Query("ARF")


def mentions(text: str, *surfaces: str) -> Mentions:
    return Mentions(text, split_words(text), surfaces, ["Disease"] * len(surfaces))


def test_mentions_of_a_document_that_say_the_same_are_one_group() -> None:
    grouped = group_mentions([mentions(TEXT, "ARF", "acute renal failure", "HF"), mentions("ARF", "ARF")])
    assert grouped.group_of.tolist() == [0, 0, 1, 2]
    assert [(group.document, group.query.text) for group in grouped.groups] == [
        (0, "Acute renal failure"),
        (0, "Heart failure"),
        (1, "ARF"),
    ]
    points = np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(grouped.mean_points(points)[0], [0.5**0.5, 0.5**0.5, 0, 0], rtol=1e-6)


def test_an_abbreviation_means_what_its_document_says() -> None:
    chooser = Chooser(INDEX, Ranker())
    grouped = group_mentions([mentions(TEXT, "HF"), mentions("Hydrops fetalis (HF).", "HF")])
    rows, _ = chooser.link(grouped.groups)
    assert [INDEX.ids[int(r)] for r in rows] == ["MESH:D006333", "MESH:D015160"]


def test_another_mention_of_the_document_speaks_for_a_candidate() -> None:
    groups = [
        Group(0, Query("HF"), "Disease"),
        Group(0, Query("cardiac failure"), "Disease"),
        Group(1, Query("HF"), ""),
    ]
    pool = make_pool(INDEX, groups, Finder(INDEX).find([group.query for group in groups]))
    here = pool.features[:, FEATURES.index("in document")]
    heart = int(INDEX.concepts[row("MESH:D006333")])
    assert here[(pool.owners == 0) & (pool.concepts == heart)].tolist() == [1]
    assert here[(pool.owners == 0) & (pool.concepts != heart)].max() == 0
    assert here[(pool.owners == 1) & (pool.concepts == heart)].tolist() == [0.5]  # HF may be another
    assert not here[pool.owners == 2].any()


def test_cosines_are_those_of_the_nearest_entity_and_neighbours_join() -> None:
    directions = make_directions().astype(np.float32)
    groups = [Group(0, Query("kidney disease"), "Disease"), Group(0, Query("zzz"), "Disease")]
    points = np.stack([directions[row("DOID:557")], directions[row("MESH:D007022")]])
    pool = make_pool(INDEX, groups, Finder(INDEX).find([group.query for group in groups]), points)
    cosines = pool.features[:, FEATURES.index("cosine")]
    kidney = (pool.owners == 0) & (pool.concepts == INDEX.concepts[row("DOID:557")])
    assert cosines[kidney] == pytest.approx([1], abs=1e-3)
    second = pool.owners == 1  # no name: all that lie near are candidates
    assert pool.rows[second][cosines[second].argmax()] == row("MESH:D007022")
    assert (np.diff(pool.owners) >= 0).all() and len(set(zip(pool.owners, pool.concepts, strict=True))) == len(
        pool.owners
    )


def test_types_speak_for_a_candidate() -> None:
    assert linked("ARF", "Gene") == "OMIM:113705"
    assert linked("ARF", "Disease") == "MESH:D058186"


def test_ids_of_the_vocabularies_that_are_asked_for() -> None:
    assert linked("renal disease") == "DOID:557"
    assert linked("renal disease", vocabularies=["MESH"]) == "MESH:D007674"
    assert linked("renal disease", vocabularies=["doid:", "MESH"]) == "DOID:557"
    assert linked("RBV", "Chemical") == "DRUGBANK:DB00811"
    assert linked("RBV", "Chemical", vocabularies=["MESH"], threshold=0.0) == "MESH:D012254"
    assert linked("renal disease", vocabularies=["CHEBI"]) is None


def test_it_abstains_below_the_threshold() -> None:
    _, (sure, unsure) = Chooser(INDEX, Ranker()).link(
        [Group(0, Query(t), "Disease") for t in ("hypotension", "hypotens")]
    )
    assert unsure < 0.8 < sure
    assert linked("hypotension", threshold=1.0) is None and linked("hypotens", threshold=0.0) == "MESH:D007022"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["aspirin", "HF", "nephrotoxic", "ARF", "nothing", "", "RBV"]), min_size=1, max_size=6))
def test_a_document_is_linked_alike_whatever_is_beside_it(texts: list[str]) -> None:
    groups = [Group(number, Query(text), "Disease") for number, text in enumerate(texts)]
    rows, scores = Chooser(INDEX, Ranker()).link(groups)
    for group, entity, score in zip(groups, rows, scores, strict=True):
        alone = Chooser(INDEX, Ranker()).link([replace(group, document=0)])
        assert alone[0][0] == entity and alone[1][0] == pytest.approx(score, rel=1e-5)


def test_probabilities_of_a_group_add_up_to_one() -> None:
    owners = np.array([0, 0, 2])
    own, none = softmax(np.array([1.0, 2.0, 500.0], np.float32), owners, np.array([0.0, 3.0, 400.0], np.float32))
    np.testing.assert_allclose(np.bincount(owners, weights=own, minlength=3) + none, 1, rtol=1e-6)
    assert own[0] == pytest.approx(np.e / (1 + np.e + np.e**2)) and none[1] == 1
    assert bit_matrix(np.array([5, 1 << 63], dtype=np.uint64)).nonzero()[1].tolist() == [0, 2, 63]


def invented(n: int, seed: int) -> Examples:
    """Groups of three candidates, of which the one with `bag` is right two times in three, and else none is."""
    generator = np.random.default_rng(seed)
    owners = np.repeat(np.arange(n), 3)
    features = np.zeros((3 * n, len(FEATURES)), np.float32)
    marked = 3 * np.arange(n) + generator.integers(3, size=n)
    features[marked, FEATURES.index("bag")] = 1
    right = np.zeros(3 * n, dtype=bool)
    right[marked] = generator.random(n) < 2 / 3
    nil = np.zeros((n, len(NIL_FEATURES)), np.float32)
    nil[:, 0] = 1
    pool = Pool(owners, np.zeros(3 * n, np.int64), np.zeros(3 * n, np.int64), features, nil, ["Disease"] * n)
    return Examples(pool, right, np.ones(n, np.int64), n)


def test_a_fitted_ranker_is_calibrated_and_its_threshold_the_best() -> None:
    fitted = fit(Ranker(), invented(3000, 0), INDEX, priors=False)
    held = invented(1000, 1)
    top, right, _ = best_candidates(fitted, held, INDEX)
    assert right.mean() == pytest.approx(top.mean(), abs=0.04) == pytest.approx(2 / 3, abs=0.06)
    f1 = {t: 2 * right[top >= t].sum() / max(1, (top >= t).sum() + held.n_known) for t in np.linspace(0, 1, 50)}
    chosen = best_threshold(fitted, held, INDEX)
    assert 2 * right[top >= chosen].sum() / ((top >= chosen).sum() + held.n_known) == pytest.approx(max(f1.values()))


def test_little_evidence_moves_little() -> None:
    start = Ranker()
    few = fit(start, invented(5, 0), INDEX, priors=False)
    assert abs(few.weights["bag"] - start.weights["bag"]) < 1


def test_a_ranker_survives_json_and_refuses_another() -> None:
    ranker = Ranker(types={"Disease": {"Gene": -1.0}}, names=(("hf", "MESH:D006333", 2),), preferred=("mesh",))
    assert Ranker.from_json(ranker.to_json(), where="here") == ranker
    for text in ("{", "[]", ranker.to_json().replace('"gram"', '"other"'), '{"format": 2}'):
        with pytest.raises(CheckpointError, match="here"):
            Ranker.from_json(text, where="here")


def corpus(n: int, prefix: str = "d") -> list:
    """Documents that call hypotension `faintness`, and kidney diseases by a name of the KG."""
    made = []
    for i in range(n):
        text = f"Case {i}: faintness and renal disease after ribavirin."
        marked = [("faintness", "Disease", "D007022"), ("renal disease", "Disease", "D007674")]
        made.append(document(f"{prefix}{i}", text, *marked, ("ribavirin", "Chemical", "D012254")))
    return made


def test_gold_mentions_denote_concepts() -> None:
    made = document(
        "d",
        "aspirin or renal disease, and gout",
        ("aspirin", "Chemical", "CHEBI:15365"),
        ("renal disease", "Disease", "DOID:557|D007022"),
        ("gout", "Disease", "D006073"),
    )
    gold = read_gold([made], INDEX)
    assert [len(own) for own in gold.concepts] == [1, 2, 0] and gold.n_known == 2


def test_a_corpus_teaches_names_vocabularies_and_types() -> None:
    before, fitted = Ranker(), fit_to_corpus(Ranker(), INDEX, corpus(40), corpus(20, "e"))
    assert {(surface, id) for surface, id, _ in fitted.names} >= {("faintness", "MESH:D007022")}
    assert fitted.preferred == ("mesh",) and fitted.made["in_kg"] == 120
    groups = [Group(0, Query("faintness"), "Disease"), Group(0, Query("Ribavirin"), "Chemical")]
    ids = [
        [INDEX.ids[int(r)] if r >= 0 else None for r in Chooser(INDEX, r_).link(groups)[0]] for r_ in (before, fitted)
    ]
    assert ids == [[None, "DRUGBANK:DB00811"], ["MESH:D007022", "MESH:D012254"]]
    assert fit_to_corpus(before, INDEX, corpus(3), []) is before


def test_a_name_that_its_own_document_taught_does_not_count_when_fitting() -> None:
    once = [*corpus(30), document("last", "A blackout.", ("blackout", "Disease", "D007022"))]
    named = replace(Ranker(), names=(("blackout", "MESH:D007022", 1), ("faintness", "MESH:D007022", 30)))
    with_own, without = (as_examples(once, named, INDEX, learnt_here=here) for here in (False, True))
    learnt = FEATURES.index("learnt")
    assert with_own.right[with_own.pool.owners == 90].tolist() == [True]
    assert not without.right[without.pool.owners == 90].any()  # nothing else speaks for it, so it is no candidate
    values = without.pool.features[:, learnt]
    assert values[values > 0] == pytest.approx(np.full(30, np.log(30)))


def test_a_rehearsal_needs_names_and_is_the_same_each_time() -> None:
    assert rehearse(INDEX, make_nodes()) == Ranker()
    letters = "abcdefghijklmnopqrstuvwxyz"
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list(letters), 7)) for _ in range(600)]
    rows = [
        {"id": f"X:{i}", "name": words[2 * i], "type": "T", "synonyms": [words[2 * i] + "s", words[2 * i + 1]]}
        for i in range(300)
    ]
    table = make_nodes().select(["id", "name", "type", "synonyms"]).slice(0, 0)
    table = table.from_pylist(rows, table.schema)
    index = LinkIndex.build(table)
    first, second = rehearse(index, table, n=200), rehearse(index, table, n=200)
    assert first == second and first.made["rehearsed"] == 200
    groups = [Group(0, Query(words[0]), "T"), Group(0, Query("1"), "T")]
    rows_found, scores = Chooser(index, first).link(groups)
    assert rows_found.tolist() == [0, -1] and scores[0] > 0.8
    assert len(ROWS) == len(INDEX)
