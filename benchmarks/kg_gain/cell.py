"""One cell of the matrix: prepare, train, score; called by run.py in a process of its own."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from corpora import bare, labelled, read, sentences, shared, write
from filelock import FileLock
from names import entity_table, graph_of, linked_share, nodes_for

from kogner_ray.config import make_config
from kogner_ray.data.metrics import Counts, count_spans, document_counts
from kogner_ray.data.spans import UNKNOWN, Document
from kogner_ray.evaluate import Compared, compare
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.kg.tables import read_kg
from kogner_ray.silver.annotate import Annotator, NamesConfig, believed
from kogner_ray.silver.evidence import gather
from kogner_ray.silver.names import NameFinder
from kogner_ray.tagger import Tagger
from kogner_ray.train.distill import DistillConfig, distill
from kogner_ray.train.names import NamesStage
from kogner_ray.train.silver import SilverStage

HERE = Path(__file__).parent


def main() -> None:
    """Run the cell that the command line names and print its result as one line of JSON, the last one."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("corpus", "share", "recipe", "seed", "work"):
        parser.add_argument(name)
    parser.add_argument("--override", type=json.loads, default={}, help='settings of the recipe, {"silver.epochs": 4}')
    parser.add_argument("--split", default="test", help="to score on")
    parser.add_argument("--counts", type=Path, default=HERE / "counts", help="for the counts of each document")
    given = parser.parse_args()
    matrix = yaml.safe_load((HERE / "matrix.yaml").read_text())
    started, recipe = time.monotonic(), given.recipe
    if given.override:
        changed = changed_recipe(matrix["recipes"][recipe], given.override)
        recipe = ",".join([recipe, *(f"{key}={value}" for key, value in sorted(given.override.items()))])
        matrix["recipes"][recipe] = changed
    cell = Cell(matrix, given.corpus, float(given.share), recipe, int(given.seed), Path(given.work))
    cell.split, cell.counts = given.split, given.counts
    result = cell.run()
    print(json.dumps(result | {"seconds": round(time.monotonic() - started)}))


def changed_recipe(settings: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """`settings` with those of `override`, whose keys are paths such as `silver.epochs`; stages are its own."""
    changed = {key: value for key, value in json.loads(json.dumps(settings)).items() if key != "stage"}
    for path, value in override.items():
        *folders, last = path.split(".")
        place = changed
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return changed


class Cell:
    """A cell and where its files are; `split` is scored on, `counts` holds the counts of its documents."""

    split, counts = "test", HERE / "counts"

    def __init__(self, matrix: dict[str, Any], corpus: str, share: float, recipe: str, seed: int, work: Path) -> None:
        self.matrix, self.corpus, self.share, self.recipe, self.seed = matrix, corpus, share, recipe, seed
        self.settings: dict[str, Any] = matrix["recipes"][recipe]
        self.world: dict[str, Any] = matrix["corpora"][corpus]
        own: dict[str, str] = self.world["types"]
        self.types = {name: text for name, text in own.items() if name in self.settings.get("types", own)}
        self.cap: int = matrix["cap"]
        self.work = work.absolute()
        self.name = f"{corpus}-{share:g}-{recipe}-{seed}"

    def run(self) -> dict[str, Any]:
        """Train (or look names up) and score on each test set."""
        if self.settings.get("dictionary"):
            find, steps = self._dictionary(), 0
        else:
            config, steps = self._config()
            with FileLock(f"{self._stage_folder('silver')}.lock"):  # other seeds may run beside it
                checkpoint = distill(config).checkpoint
            tagger = Tagger.load(checkpoint, precision="bf16")
            find = lambda documents, types: tagger.tag(  # noqa: E731
                [d.text for d in documents], types, nested=self.world.get("nested", False), link=False
            )
        scores = {}
        for name in [self.corpus, *self.matrix["transfer"].get(self.corpus, [])]:
            own = self.matrix["corpora"][name]["types"]
            if known := {t: text for t, text in own.items() if t in self.types}:
                scores[name] = self._score(name, known, find)
            if unseen := {t: text for t, text in own.items() if t in self.world["types"] and t not in self.types}:
                scores[f"{name}-unseen"] = self._score(name, unseen, find, f"{name}-unseen")
        key = {"corpus": self.corpus, "share": self.share, "recipe": self.recipe, "seed": self.seed}
        return key | {"steps": steps, "test": scores, "kg": self._density()}

    def _config(self) -> tuple[DistillConfig, int]:
        data = self.work / "data"
        text = sentences(self.corpus, self.cap)
        n_raw, n_gold, epochs = len(text), 0, 1
        if self.settings.get("raw") == "more":
            text = text + read(self.corpus, "dev")
        raw = write(bare(text), data / f"{self.corpus}-raw-{len(text)}.jsonl")
        values: dict[str, Any] = {
            "output": str(self.work / "cells" / self.name),
            "corpus": {"types": self.types},
            "kg": {"linker": {"types": self.world.get("linker", {})}},
            "student": {**self.matrix["student"], **self.settings.get("student", {})},
            "bootstrap": 0,
            **self.settings.get("run", {}),
        }
        stage = SilverStage(**self.matrix["silver"])
        if self.share:
            gold = labelled(self.corpus, self.cap, self.share, self.seed)
            n_gold, epochs = (
                len(gold),
                {**self.matrix["gold_epochs"], **self.settings.get("gold_epochs", {})}[self.share],
            )
            values["corpus"]["train"] = [str(write(gold, data / f"{self.corpus}-{self.share:g}-{self.seed}.jsonl"))]
        if self.settings.get("steps") == "equal":
            epochs += math.ceil(stage.passes * n_raw / n_gold) + stage.label_passes
        values["train"] = {**self.matrix["train"], "epochs": epochs, "evaluate_every": epochs, "seed": self.seed}
        if "dist" in self.settings:
            values["loss"] = {"lang": 1 - self.settings["dist"], "dist": self.settings["dist"]}
        self._add_kg(values)
        steps = epochs * math.ceil(n_gold / 16)
        if naming := self.settings.get("naming"):
            values["names"] = {**naming, "names": str(self._nodes())}
            names = NamesStage(**naming)
            steps += math.ceil(names.passes * names.documents / 16)
        if silver := self.settings.get("silver"):
            stage = SilverStage(**silver)
            values["silver"] = {**silver, "raw": [str(raw)], "names": str(self._nodes())}
            steps += math.ceil(stage.passes * len(text) / 16)
            if n_gold:
                steps += math.ceil(stage.label_passes * n_gold / 16)
            self._share_stage(Path(values["output"]), "silver")
        if naming:
            self._share_stage(Path(values["output"]), "names")
        return make_config(DistillConfig, values), steps

    def _add_kg(self, values: dict[str, Any]) -> None:
        """The entity table and what the labels are told of the KG."""
        if table := self.settings.get("table"):
            (self.work / "kg").mkdir(parents=True, exist_ok=True)
            with FileLock(self.work / "kg" / ".lock"):
                found = entity_table(
                    list(self.matrix["corpora"]),
                    self.cap,
                    self.work / "kg" / "teacher",
                    shuffled=table == "shuffled",
                    nodes=self.settings.get("nodes", 1),
                    edges=self.settings.get("edges", 1),
                    width=self.settings.get("kg_width"),
                )
            values["kg"]["entity_table"] = str(found)
        else:
            values["kg"]["source"] = None
        if "labels" in self.settings:
            values["labels"] = {**self.settings["labels"], "kg": str(shared() / "data/kg/biokg")}

    def _nodes(self) -> Path:
        variant, kept = self.settings.get("names", "biokg"), self.settings.get("nodes", 1)
        return nodes_for(variant, self.corpus, self.cap, self.work / "kg", kept=kept)

    def _density(self) -> dict[str, float]:
        """Share of test mentions that have a name of the KG, and edges a node of the teacher's graph."""
        said: dict[str, float] = {}
        if self.settings.get("silver") or self.settings.get("naming"):
            linker = LinkerConfig(types=self.world.get("linker", {}))
            said["linked"] = linked_share(self.corpus, self.types, self._nodes(), linker)
        if self.settings.get("table"):
            thin = {name: self.settings.get(name, 1) for name in ("nodes", "edges")}
            kg = read_kg(graph_of(list(self.matrix["corpora"]), self.cap, self.work / "kg" / "teacher", **thin))
            said["edges_per_node"] = kg.n_edges / kg.n_nodes
        return said

    def _share_stage(self, output: Path, stage: str) -> None:
        """A stage before the labels is run once a corpus and recipe, with the first seed, for all shares and seeds."""
        once = self._stage_folder(stage)
        once.mkdir(parents=True, exist_ok=True)
        output.mkdir(parents=True, exist_ok=True)
        if not (output / stage).exists():
            (output / stage).symlink_to(once)

    def _stage_folder(self, stage: str) -> Path:
        (self.work / stage).mkdir(parents=True, exist_ok=True)
        return self.work / stage / f"{self.corpus}-{self.settings.get('stage', self.recipe)}"

    def _dictionary(self) -> Any:
        nodes = pq.read_table(self._nodes(), columns=["name", "type", "synonyms"])
        finder = NameFinder(nodes, tuple(self.types), linker=LinkerConfig(types=self.world.get("linker", {})))
        annotator = Annotator(finder, gather(sentences(self.corpus, self.cap), finder), NamesConfig())
        return lambda documents, _: [believed(annotator.annotate(document)).entities for document in documents]

    def _score(self, corpus: str, types: dict[str, str], find: Any, place: str | None = None) -> dict[str, Any]:
        documents = [_without(document, types) for document in read(corpus, self.split)]
        compared = [
            compare(document, found, types) for document, found in zip(documents, find(documents, types), strict=True)
        ]
        self._keep_counts(place or corpus, compared)
        known = _surfaces(sentences(self.corpus, self.cap))
        total: Counts = sum((c for d in compared for c in count_spans(d.gold, d.predicted).values()), Counts())
        scores: dict[str, Any] = {"p": total.precision, "r": total.recall, "f1": total.f1}
        scores["types"] = {t: _f1(compared, lambda span, t=t: span[2] == t) for t in types}
        seen = [
            [_surface(d, span) in known for span in sorted(c.gold)] for d, c in zip(documents, compared, strict=True)
        ]
        scores["recall_seen"], scores["recall_unseen"] = _recalls(compared, seen)
        if self.world.get("nested"):
            inner = [[_is_inner(span, c.gold) for span in sorted(c.gold)] for c in compared]
            scores["recall_inner"], scores["recall_outer"] = _recalls(compared, inner)
        return scores

    def _keep_counts(self, place: str, compared: Sequence[Compared]) -> None:
        counts = document_counts([c.gold for c in compared], [c.predicted for c in compared])
        self.counts.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self.counts / f"{self.name}-on-{place}.npz", counts=counts.astype(np.uint8))


def _without(document: Document, types: dict[str, str]) -> Document:
    return document.with_entities(entity for entity in document.entities if entity.type in types)


def _surface(document: Document, span: tuple[int, int, str]) -> str:
    return document.text[span[0] : span[1]].lower()


def _surfaces(documents: Sequence[Document]) -> set[str]:
    return {d.surface(entity).lower() for d in documents for entity in d.entities if entity.type != UNKNOWN}


def _f1(compared: Sequence[Compared], wanted: Any) -> float:
    counts: Counts = sum(
        (c for d in compared for c in count_spans(filter(wanted, d.gold), filter(wanted, d.predicted)).values()),
        Counts(),
    )
    return counts.f1


def _recalls(compared: Sequence[Compared], marks: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """Recall of the gold spans with a mark and of those without."""
    hits = {True: [0, 0], False: [0, 0]}
    for document, marked in zip(compared, marks, strict=True):
        for span, mark in zip(sorted(document.gold), marked, strict=True):
            hits[mark][0] += span in document.predicted
            hits[mark][1] += 1
    return tuple(found / max(1, n) for found, n in (hits[True], hits[False]))  # type: ignore[return-value]


def _is_inner(span: tuple[int, int, str], gold: Any) -> bool:
    return any(other[:2] != span[:2] and other[0] <= span[0] and span[1] <= other[1] for other in gold)


if __name__ == "__main__":
    main()
