"""Are KG ids right? Linking on BC5CDR and NCBI-disease, to biokg, beside names alone and embeddings alone.

    python benchmarks/linking.py FOLDER                  index the checkpoint in FOLDER, then its accuracy
    python benchmarks/linking.py FOLDER --part speed     speed, loading, memory

FOLDER is a student's checkpoint with a KG head, trained on the training splits. Corpora come from `KOGNER_SHARED`.
Weights, names and thresholds are from the training and development splits; the test splits are read here alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from linking_sides import BEST, NameVectors, Ranking, by_name
from results import conditions, markdown_table, write_section

from kogner_ray.data.formats import read_documents
from kogner_ray.data.spans import Document, relabel
from kogner_ray.kg.index.index import LinkIndex
from kogner_ray.kg.linking import Linker
from kogner_ray.kg.ranking.chooser import Chooser, Ranked
from kogner_ray.kg.ranking.corpus import Gold, fit_to_corpus, read_gold
from kogner_ray.kg.ranking.ranker import Ranker
from kogner_ray.kg.ranking.rehearsal import rehearse
from kogner_ray.link_scores import ALL, score_links
from kogner_ray.student.checkpoint import Checkpoint, read_checkpoint
from kogner_ray.student.teaching import Locator, fit_checkpoint, index_checkpoint
from kogner_ray.tagger import TaggedEntity, Tagger

BC5CDR = "mahdi-khoshmaram/bc5cdr-xml-to-json-converter/*/original/CDR_{}Set.PubTator.txt"
NCBI = "spyysalo/ncbi-disease/*/original-data/{}/NCBI*_corpus.txt"
SPLITS = {
    "train": (BC5CDR.format("Training"), NCBI.format("train")),
    "dev": (BC5CDR.format("Development"), NCBI.format("devel")),
    "test": (BC5CDR.format("Test"), NCBI.format("test")),
}
NAMES = ("BC5CDR", "NCBI")
ONE_TYPE = dict.fromkeys(("SpecificDisease", "Modifier", "DiseaseClass", "CompositeMention"), "Disease")
VOCABULARIES = ("mesh", "omim")
PACKAGES = ("torch", "numpy", "faiss-cpu")
TEXT = """## Linking to biokg

Gold mentions of the test splits whose concept is in the KG (how many is in the heading), documents whole; right when
the concept (`cluster`) is one of the gold ids'. `told MeSH/OMIM`: only concepts with an id of these vocabularies are
candidates. `seen`: the surface is that of a training mention. `embeddings alone`: the raw encoder's, nearest name."""
TEXT_FOUND = """Mentions found by the student and linked, strict (characters, type and concept), %; beside it F1 of the
same mentions linked by exact name; on gold mentions the share left unlinked and how many of the links are right;
calibration error of `link_score`."""
FOUND = ["found and linked", "P", "R", "F1", "F1 by name", "unlinked", "P of links", "ECE"]


def corpus(split: str, limit: int | None = None) -> dict[str, list[Document]]:
    """Documents (the first `limit`) of each corpus; a document counts once."""
    mirror = Path(os.environ["KOGNER_SHARED"]) / "mirror" / "raw.githubusercontent.com"
    read = {}
    for name, pattern in zip(NAMES, SPLITS[split], strict=True):
        whole = {document.id: document for path in mirror.glob(pattern) for document in read_documents(path)}
        types = ("Chemical", "Disease") if name == "BC5CDR" else ("Disease",)
        read[name] = [relabel(document, ONE_TYPE, types) for document in list(whole.values())[:limit]]
    return read


class Test:
    """The mentions of a test split, and who links how many of them rightly."""

    def __init__(self, documents: list[Document], index: LinkIndex, seen: set[str]) -> None:
        self.documents, self.index = documents, index
        self.gold: Gold = read_gold(documents, index)
        self.surfaces = [d.surface(entity) for d in documents for entity in d.entities]
        self.seen = [surface.lower() in seen for surface in self.surfaces]

    def shares(self, ranking: Ranking) -> dict[str, tuple[int, float, float]]:
        """Kind of mention -> how many, accuracy@1, accuracy@5, of those whose concept is in the KG."""
        hits: dict[str, list[tuple[bool, bool]]] = {}
        for entity, right, rows, seen in zip(self.gold.entities, self.gold.concepts, ranking, self.seen, strict=True):
            if right:
                own = [int(self.index.concepts[row]) in right for row in rows]
                for kind in (entity.type, f"{entity.type}, {'seen' if seen else 'unseen'}"):
                    hits.setdefault(kind, []).append((any(own[:1]), any(own[:BEST])))
        return {kind: (len(own), *np.mean(own, axis=0).tolist()) for kind, own in sorted(hits.items())}

    def ours(self, ranker: Ranker, points: np.ndarray | None, vocabularies: Sequence[str] = ()) -> Ranking:
        """Candidates of each mention, the most probable first."""
        grouped = self.gold.grouped
        own = None if points is None else grouped.mean_points(points)
        ranked = Chooser(self.index, ranker, vocabularies=vocabularies).rank(grouped.groups, own)
        return [_rows(ranked, group) for group in grouped.group_of.tolist()]


def _rows(ranked: Ranked, group: int) -> list[int]:
    return ranked.pool.rows[ranked.order[ranked.starts[group] : ranked.starts[group + 1]]].tolist()


def accuracy(folder: Path, *, fitted: bool, limit: int | None) -> None:
    """Write the section on accuracy."""
    splits = {split: corpus(split, limit) for split in SPLITS}
    train, dev = (sum(splits[split].values(), []) for split in ("train", "dev"))
    if not (folder / "index").is_dir():
        index_checkpoint(folder)
    checkpoint = read_checkpoint(folder)
    assert checkpoint.links is not None and checkpoint.entities is not None
    index, table = checkpoint.links.index, checkpoint.entities.entities
    seen = {d.surface(entity).lower() for d in train for entity in d.entities if entity.concepts}
    tests = {name: Test(documents, index, seen) for name, documents in splits["test"].items()}
    section = _Section(tests)
    for name, test in tests.items():
        section.add("exact name", name, by_name(test.gold, test.surfaces, index))
        section.add("exact name, told MeSH/OMIM", name, by_name(test.gold, test.surfaces, index, VOCABULARIES))
    by_letters = rehearse(index, table)
    fitted_by_letters = fit_to_corpus(by_letters, index, train, dev)
    for name, test in tests.items():
        section.add("ours without H, rehearsed on the KG alone", name, test.ours(by_letters, None))
        section.add("the same, told MeSH/OMIM", name, test.ours(by_letters, None, VOCABULARIES))
        section.add("ours without H, fitted", name, test.ours(fitted_by_letters, None))
    section.write(fitted_by_letters)
    if fitted or checkpoint.links.ranker.made.get("documents") != len(train):
        fit_checkpoint(folder, train, dev)
        checkpoint = read_checkpoint(folder)
    assert checkpoint.links is not None
    ranker, locator = checkpoint.links.ranker, Locator(checkpoint)
    rehearsed = rehearse(index, table, project=locator.names)
    for name, test in tests.items():
        points = locator.documents(test.documents)
        section.add("ours, rehearsed on the KG alone", name, test.ours(rehearsed, points))
        section.add("the same, told MeSH/OMIM, with H", name, test.ours(rehearsed, points, VOCABULARIES))
        section.add("ours, fitted", name, test.ours(ranker, points))
    section.write(ranker)
    for title, peer in _peers(table):
        for name, test in tests.items():
            section.add(title, name, peer.nearest(test.surfaces))
        section.write(ranker)
    section.end_to_end = _end_to_end(checkpoint, tests)
    section.write(ranker)


def _peers(table: object) -> Iterable[tuple[str, NameVectors]]:
    yield "embeddings alone, told MeSH/OMIM", NameVectors(table, vocabularies=VOCABULARIES, synonyms=True)
    yield "embeddings alone", NameVectors(table)


def _end_to_end(checkpoint: Checkpoint, tests: dict[str, Test]) -> list[list[str]]:
    """Strict F1 of finding, and of finding and linking, by our links and by exact names."""
    rows = []
    tagger = Tagger(checkpoint)
    for name, test in tests.items():
        types = sorted({entity.type for entity in test.gold.entities})
        found = tagger.tag([document.text for document in test.documents], types)
        report = score_links(tagger, test.documents, found, types)
        named = score_links(tagger, test.documents, _named(test, found), types)
        assert report is not None and named is not None
        for kind in (*types, ALL):
            ours, theirs, gold = report.found[kind], named.found[kind], report.gold[kind].as_dict()
            abstained, precision = gold["abstained"], gold["precision_of_links"]
            values = (ours.precision, ours.recall, ours.f1, theirs.f1, abstained, precision)
            rows.append([f"{name} {kind}", *(f"{100 * value:.1f}" for value in values)])
            rows[-1].append(f"{100 * report.calibration_error:.1f}" if kind == ALL else "")
    return rows


def _named(test: Test, found: Sequence[Sequence[TaggedEntity]]) -> list[list[TaggedEntity]]:
    """What was found, linked by exact name alone."""
    linker = Linker(test.index.exact)
    linked = []
    for own in found:
        rows = [(linker.candidates(e.text, [e.type]) or linker.candidates(e.text) or [None])[0] for e in own]
        ids = [None if row is None else test.index.ids[row] for row in rows]
        linked.append([replace(entity, kg_id=id) for entity, id in zip(own, ids, strict=True)])
    return linked


class _Section:
    """What RESULTS.md is told, written whenever there is more."""

    def __init__(self, tests: dict[str, Test]) -> None:
        self._tests = tests
        self._rankings: dict[str, dict[str, Ranking]] = {}
        self.end_to_end: list[list[str]] = []
        self._neighbours = _neighbours(next(iter(tests.values())).index)

    def add(self, title: str, name: str, ranking: Ranking) -> None:
        """A row of the table, its columns of one corpus."""
        self._rankings.setdefault(title, {})[name] = ranking

    def write(self, ranker: Ranker) -> None:
        """The section as far as it is known; `ranker` is the last one fitted."""
        shares = {
            title: {name: self._tests[name].shares(own) for name, own in sides.items()}
            for title, sides in self._rankings.items()
        }
        kinds = [(name, kind, own[0]) for name, sides in shares["exact name"].items() for kind, own in sides.items()]
        header = ["accuracy@1 (@5), %", *(f"{name} {kind}, {n}" for name, kind, n in kinds)]
        rows = [
            [title, *("{:.1f} ({:.1f})".format(*(100 * v for v in sides[name][kind][1:])) for name, kind, _ in kinds)]
            for title, sides in shares.items()
        ]
        exact = self._rankings["exact name"]
        among = {name: test.shares(_all_first(test, exact[name])) for name, test in self._tests.items()}
        rows.append(["gold among all that are called so", *(f"{100 * among[n][k][1]:.1f}" for n, k, _ in kinds)])
        body = [TEXT, markdown_table(header, rows)]
        if self.end_to_end:
            body += [TEXT_FOUND, markdown_table(FOUND, self.end_to_end)]
        said = conditions(
            packages=PACKAGES,
            student="22M-parameter encoder trained on the training splits, H of biokg's text modality",
            ranker=f"{dict(ranker.made)}, threshold {ranker.threshold:.2f}, {len(ranker.names)} names learnt",
            neighbours=self._neighbours,
            seed="0",
        )
        write_section("linking", "\n\n".join([*body, said]))


def _all_first(test: Test, exact: Ranking) -> Ranking:
    """Exact matches with a right one in front, where there is one."""
    return [
        sorted(rows, key=lambda row: int(test.index.concepts[row]) not in right)
        for rows, right in zip(exact, test.gold.concepts, strict=True)
    ]


def _neighbours(index: LinkIndex) -> str:
    near = index.neighbours
    listed = near is not None and near.path is not None
    return "of H are candidates too" if listed else "none: the index has no lists of H"


def speed(folder: Path) -> None:
    """Write the section on speed, loading and memory."""
    checkpoint = read_checkpoint(folder)
    links = checkpoint.links
    assert links is not None
    documents = corpus("test")["BC5CDR"]
    gold = read_gold(documents, links.index)
    points = Locator(checkpoint).documents(documents)
    grouped = gold.grouped
    rates = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        chooser = Chooser(links.index, links.ranker)
        chooser.link(grouped.groups[:50], grouped.mean_points(points)[:50])  # maps the files
        chooser = Chooser(links.index, links.ranker)
        for state in ("new surfaces", "again"):
            started = time.perf_counter()
            chooser.link(grouped.groups, grouped.mean_points(points))
            rates[threads, state] = len(gold.entities) / (time.perf_counter() - started)
    files = sorted((folder / "index").iterdir(), key=lambda path: -path.stat().st_size)
    sizes = [f"{path.name} {path.stat().st_size / 1e6:.0f}" for path in files[:4]]
    total = sum(path.stat().st_size for path in files) / 1e6
    mentions = folder.parent / "mentions.json"
    mentions.write_text(json.dumps([[group.document, group.query.text, group.type] for group in grouped.groups]))
    alone, second = _two_processes(folder, mentions)
    rows = [[f"mentions/s, {state}, {n} thread(s)", f"{rate:,.0f}"] for (n, state), rate in rates.items()]
    rows += [
        ["opening the index, s", f"{alone['open_s']:.3f} and {second['open_s']:.3f}"],
        ["until the first link, s", f"{alone['first_link_s']:.3f} and {second['first_link_s']:.3f}"],
        ["size on disk, MB", f"{total:.0f} ({', '.join(sizes)})"],
        ["memory of one process after linking by characters, MB", f"{alone['pss_mb']:.0f}"],
        ["memory that a second process adds (not shared), MB", f"{second['private_mb']:.0f}"],
    ]
    body = f"""## Linking: speed, loading and memory

{len(gold.entities):,} gold mentions of BC5CDR's test split ({len(grouped.groups):,} to decide, {
        len({group.query for group in grouped.groups}):,} different), the student's forward not counted; biokg has
{len(links.index):,} entities and {len(links.index.name_starts) - 1:,} different names.

{markdown_table(["", ""], rows)}

{conditions(packages=PACKAGES, dtype="H in fp16", neighbours=_neighbours(links.index), threads="1 and 2", seed="0")}"""
    write_section("linking-speed", body)


def _two_processes(folder: Path, mentions: Path) -> list[dict[str, float]]:
    """What one process that links reports, and another beside it."""
    command = [sys.executable, str(Path(__file__).with_name("linking_load.py")), str(folder), str(mentions)]
    running = []
    figures = []
    for _ in range(2):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        figures.append(json.loads(process.stdout.readline()))
    for process in running:
        process.communicate("\n")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=("accuracy", "speed"), default="accuracy")
    parser.add_argument("--fit", action="store_true", help="fit the ranker even if it was fitted to this corpus")
    parser.add_argument("--limit", type=int, help="of documents a split, for a trial")
    asked = parser.parse_args()
    if asked.part == "speed":
        speed(asked.folder)
    else:
        accuracy(asked.folder, fitted=asked.fit, limit=asked.limit)
