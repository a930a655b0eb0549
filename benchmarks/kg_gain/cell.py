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
from corpora import bare, labelled, read, sentences, write
from names import entity_table, nodes_for

from kogner_ray.config import make_config
from kogner_ray.data.metrics import Counts, count_spans, document_counts
from kogner_ray.data.spans import UNKNOWN, Document
from kogner_ray.evaluate import Compared, compare
from kogner_ray.kg.linking import LinkerConfig
from kogner_ray.silver.annotate import Annotator, NamesConfig, believed
from kogner_ray.silver.evidence import gather
from kogner_ray.silver.names import NameFinder
from kogner_ray.tagger import Tagger
from kogner_ray.train.distill import DistillConfig, distill
from kogner_ray.train.silver import SilverStage

HERE = Path(__file__).parent


def main() -> None:
    """Run the cell that the command line names and print its result as one line of JSON, the last one."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("corpus", "share", "recipe", "seed", "work"):
        parser.add_argument(name)
    given = parser.parse_args()
    matrix = yaml.safe_load((HERE / "matrix.yaml").read_text())
    started = time.monotonic()
    cell = Cell(matrix, given.corpus, float(given.share), given.recipe, int(given.seed), Path(given.work))
    result = cell.run()
    print(json.dumps(result | {"seconds": round(time.monotonic() - started)}))


class Cell:
    """A cell and where its files are."""

    def __init__(self, matrix: dict[str, Any], corpus: str, share: float, recipe: str, seed: int, work: Path) -> None:
        self.matrix, self.corpus, self.share, self.recipe, self.seed = matrix, corpus, share, recipe, seed
        self.settings: dict[str, Any] = matrix["recipes"][recipe]
        self.world: dict[str, Any] = matrix["corpora"][corpus]
        self.cap: int = matrix["cap"]
        self.work = work.absolute()
        self.name = f"{corpus}-{share:g}-{recipe}-{seed}"

    def run(self) -> dict[str, Any]:
        """Train (or look names up) and score on each test set."""
        if self.settings.get("dictionary"):
            find, steps = self._dictionary(), 0
        else:
            config, steps = self._config()
            checkpoint = distill(config).checkpoint
            tagger = Tagger.load(checkpoint, precision="bf16")
            find = lambda documents, types: tagger.tag(  # noqa: E731
                [d.text for d in documents], types, nested=self.world.get("nested", False), link=False
            )
        scores = {}
        for name in [self.corpus, *self.matrix["transfer"].get(self.corpus, [])]:
            types = {t: text for t, text in self.matrix["corpora"][name]["types"].items() if t in self.world["types"]}
            if types:
                scores[name] = self._score(name, types, find)
        key = {"corpus": self.corpus, "share": self.share, "recipe": self.recipe, "seed": self.seed}
        return key | {"steps": steps, "test": scores}

    def _config(self) -> tuple[DistillConfig, int]:
        data, kgs = self.work / "data", self.work / "kg"
        text = sentences(self.corpus, self.cap)
        n_raw, n_gold, epochs = len(text), 0, 1
        if self.settings.get("raw") == "more":
            text = text + read(self.corpus, "dev")
        raw = write(bare(text), data / f"{self.corpus}-raw-{len(text)}.jsonl")
        values: dict[str, Any] = {
            "output": str(self.work / "cells" / self.name),
            "corpus": {"types": self.world["types"]},
            "kg": {"linker": {"types": self.world.get("linker", {})}},
            "student": self.matrix["student"],
            "bootstrap": 0,
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
        if "modalities" in self.settings:
            values["modalities"] = self.settings["modalities"]
        if "dist" in self.settings:
            values["loss"] = {"lang": 1 - self.settings["dist"], "dist": self.settings["dist"]}
        if table := self.settings.get("table"):
            found = entity_table(list(self.matrix["corpora"]), self.cap, kgs / "teacher", shuffled=table == "shuffled")
            values["kg"]["entity_table"] = str(found)
        else:
            values["kg"]["source"] = None
        steps = epochs * math.ceil(n_gold / 16)
        if silver := self.settings.get("silver"):
            stage = SilverStage(**silver)
            variant = self.settings.get("names", "biokg")
            names = nodes_for(variant, self.corpus, self.cap, kgs)
            values["silver"] = {**silver, "raw": [str(raw)], "names": str(names)}
            steps += math.ceil(stage.passes * len(text) / 16)
            if n_gold:
                steps += math.ceil(stage.label_passes * n_gold / 16)
            self._share_silver(Path(values["output"]))
        return make_config(DistillConfig, values), steps

    def _share_silver(self, output: Path) -> None:
        """The silver stage of a corpus and recipe is run once, with the first seed, for all shares and seeds."""
        once = self.work / "silver" / f"{self.corpus}-{self.settings.get('stage', self.recipe)}"
        once.mkdir(parents=True, exist_ok=True)
        output.mkdir(parents=True, exist_ok=True)
        if not (output / "silver").exists():
            (output / "silver").symlink_to(once)

    def _dictionary(self) -> Any:
        types = tuple(self.world["types"])
        path = nodes_for(self.settings.get("names", "biokg"), self.corpus, self.cap, self.work / "kg")
        nodes = pq.read_table(path, columns=["name", "type", "synonyms"])
        finder = NameFinder(nodes, types, linker=LinkerConfig(types=self.world.get("linker", {})))
        annotator = Annotator(finder, gather(sentences(self.corpus, self.cap), finder), NamesConfig())
        return lambda documents, _: [believed(annotator.annotate(document)).entities for document in documents]

    def _score(self, corpus: str, types: dict[str, str], find: Any) -> dict[str, Any]:
        documents = [_without(document, types) for document in read(corpus, "test")]
        compared = [
            compare(document, found, types) for document, found in zip(documents, find(documents, types), strict=True)
        ]
        self._keep_counts(corpus, compared)
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

    def _keep_counts(self, corpus: str, compared: Sequence[Compared]) -> None:
        counts = document_counts([c.gold for c in compared], [c.predicted for c in compared])
        folder = HERE / "counts"
        folder.mkdir(exist_ok=True)
        np.savez_compressed(folder / f"{self.name}-on-{corpus}.npz", counts=counts.astype(np.uint8))


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
