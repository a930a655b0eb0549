"""Training speed and memory of our student beside the `gliner` package's trainer, in one paired run.

Both sides train the same architecture from the same weights on the same batches of BC5CDR sentences in the same order,
in bf16 autocast with fused AdamW, the same threads and the same malloc settings. Each run is a process of its own: an
untimed epoch over a few other sentences, then one epoch on the clock, without evaluation or saving. A round runs every
row once, ours and the peer's in turn.

    KOGNER_SHARED=... python benchmarks/train_speed.py

The peer needs its `training` extra: pip install 'gliner[training]==0.2.29'.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measure import Job, Measured
from results import RESULTS, conditions, markdown_table, write_section
from rich.console import Console

from kogner_ray.cluster import with_process_settings
from kogner_ray.data import catalog
from kogner_ray.data.formats.registry import write_documents
from kogner_ray.data.spans import Document
from kogner_ray.data.words import split_words
from kogner_ray.encoder import load_tokenizer, resolve_encoder
from kogner_ray.student.checkpoint import Checkpoint, write_checkpoint
from kogner_ray.student.model import StudentConfig, pretrained_student
from kogner_ray.student.windows import Windower
from kogner_ray.train.examples import ExampleMaker
from kogner_ray.train.plan import epoch_batches

BATCH_SIZE = 16
TYPES = ("Chemical", "Disease")
_WARM_UP = 4 * BATCH_SIZE
_PACKAGES = ("torch", "transformers", "ray", "gliner", "accelerate")


@dataclass(frozen=True)
class Row:
    """A row of the table: one side with some of its settings."""

    name: str
    side: str
    options: Mapping[str, Any]

    @property
    def is_peer(self) -> bool:
        """Whether it is the peer's."""
        return self.side == "gliner"


ROWS = (
    Row("kogner_ray, defaults", "ours", {}),
    Row("gliner, 0 loaders", "gliner", {"loaders": 0}),
    Row("kogner_ray, bc5cdr.yaml", "ours", {"freeze_word_embeddings": False}),
    Row("kogner_ray, everything trained", "ours", {"freeze_word_embeddings": False, "train_labels_encoder": True}),
    Row("gliner, 1 loader", "gliner", {"loaders": 1}),
)
_NOTE = """\
`defaults` leaves the word embeddings and the label encoder as they were pretrained, `bc5cdr.yaml` the label encoder
alone; `everything trained` trains what the peer trains. Loaders are the peer's data-loading processes (it comes
with 1)."""


def main() -> None:
    """Prepare the input, run all rounds, print and write the table."""
    with_process_settings()
    arguments, console = _arguments(), Console()
    if missing := _missing():
        console.print(f"skipped: {missing}", highlight=False, markup=False)
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="train_speed.") as scratch:
        n_words = prepare(Path(scratch), n_sentences=arguments.sentences, seed=arguments.seed)
        console.print(
            f"{arguments.sentences} sentences, {n_words} words, {arguments.rounds} rounds of {len(ROWS)} runs"
        )
        rounds = [_round(Path(scratch), number, arguments, n_words, console) for number in range(arguments.rounds)]
    section = report(rounds, n_words, arguments, load)
    print(section)
    write_section("train_speed", section, arguments.results)


def prepare(folder: Path, *, n_sentences: int, seed: int) -> int:
    """Write the starting weights and, as each side reads them, the sentences; returns how many words are timed."""
    shared = Path(os.environ["KOGNER_SHARED"])
    catalog.get("bc5cdr", folder / "catalog", base_url=str(shared / "mirror"))
    documents = list(catalog.read_split("bc5cdr", "train", folder / "catalog"))
    chosen = random.Random(seed).sample(documents, n_sentences + _WARM_UP)
    torch.manual_seed(seed)
    config, tokenizer = StudentConfig(), load_tokenizer("embedded")
    types = {name: name for name in TYPES}
    write_checkpoint(Checkpoint(pretrained_student(config), tokenizer, tokenizer, types), folder / "start")
    (folder / "gliner.json").write_text(json.dumps(_peer_config(config)), encoding="utf-8")
    maker = ExampleMaker(
        Windower(tokenizer, max_tokens=config.max_tokens), types=list(TYPES), max_width=config.max_width
    )
    for part, sentences in (("timed", chosen[:n_sentences]), ("warm", chosen[n_sentences:])):
        write_documents(sentences, folder / f"{part}.jsonl")
        records = _peer_records(sentences, maker, seed)
        (folder / f"{part}.order.json").write_text(json.dumps([record.pop("id") for record in records]))
        (folder / f"{part}.gliner.json").write_text(json.dumps(records), encoding="utf-8")
    return sum(len(split_words(sentence.text)) for sentence in chosen[:n_sentences])


def _peer_config(config: StudentConfig) -> dict[str, Any]:
    encoder = resolve_encoder(config.encoder)
    return {
        "model_name": encoder,
        "labels_encoder": encoder,
        "labels_decoder": None,
        "hidden_size": 384,
        "max_width": config.max_width,
        "span_mode": "markerV0",
        "dropout": config.dropout,
        "max_len": 384,
        "name": "peer",
        "subtoken_pooling": "first",
        "fine_tune": True,
        "has_rnn": True,
    }


def _peer_records(sentences: Sequence[Document], maker: ExampleMaker, seed: int) -> list[dict[str, Any]]:
    """The sentences in GLiNER's training format, in the order of our first epoch: its batches are then ours."""
    ordered = sorted(sentences, key=lambda sentence: sentence.id)  # as ExampleStore has them
    examples, _ = maker.make(ordered)
    assert [example.document for example in examples] == [sentence.id for sentence in ordered], "one window each"
    lengths = torch.tensor([example.window.n_tokens for example in examples]).numpy()
    batches = epoch_batches(lengths, batch_size=BATCH_SIZE, seed=seed, epoch=0)
    return [
        {
            "id": ordered[row].id,
            "tokenized_text": split_words(ordered[row].text).texts,
            "ner": [[first, last, TYPES[kind]] for first, last, kind in examples[row].spans.tolist()],
            "ner_label": list(TYPES),
        }
        for batch in batches
        for row in batch
    ]


def _round(
    data: Path, number: int, arguments: argparse.Namespace, n_words: int, console: Console
) -> dict[str, Measured]:
    measured = {}
    for place, row in enumerate(ROWS):
        folder = data / f"round{number}-{place}"
        folder.mkdir()
        job = Job(str(data), str(folder), arguments.threads, BATCH_SIZE, arguments.seed, row.options)
        with console.status(f"round {number + 1} of {arguments.rounds}: {row.name}", refresh_per_second=1):
            found = measured[row.name] = _run(row, job)
        if found.n_steps * BATCH_SIZE != arguments.sentences:
            raise SystemExit(
                f"{row.name}: {found.n_steps} steps of {BATCH_SIZE}, expected {arguments.sentences} sentences"
            )
        speed, peak = n_words / found.seconds, found.peak_mb
        console.print(f"round {number + 1}  {speed:6.0f} words/s  {peak:6.0f} MB  {row.name}", highlight=False)
    return measured


def _run(row: Row, job: Job) -> Measured:
    folder = Path(job.folder)
    (folder / "job.json").write_text(json.dumps(vars(job)), encoding="utf-8")
    script = Path(__file__).with_name(f"train_speed_{row.side}.py")
    environment = os.environ | {
        "OMP_NUM_THREADS": str(job.threads),
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
    }
    with (folder / "log").open("w+") as log:
        command = [sys.executable, str(script), str(folder / "job.json")]
        ended = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
        log.seek(0)
        if ended.returncode or not (folder / "result.json").is_file():
            raise SystemExit(f"{row.name}: exit code {ended.returncode}\n{log.read()[-4000:]}")
    return Measured.read(folder)


def report(rounds: Sequence[Mapping[str, Measured]], n_words: int, arguments: argparse.Namespace, load: float) -> str:
    """The section: a row's medians with their range, and its ratio to the peer's fastest row, round by round."""
    seconds = {row.name: [measured[row.name].seconds for measured in rounds] for row in ROWS}
    best = min((row.name for row in ROWS if row.is_peer), key=lambda name: statistics.median(seconds[name]))
    lines = []
    for row in ROWS:
        speeds = [n_words / second for second in seconds[row.name]]
        ratios = [peer / second for second, peer in zip(seconds[row.name], seconds[best], strict=True)]
        peaks = [measured[row.name].peak_mb for measured in rounds]
        others = [measured[row.name].children_mb for measured in rounds]
        lines.append([row.name, _spread(speeds, 0), _spread(ratios, 2), _spread(peaks, 0), _spread(others, 0)])
    header = ("", "words/s", f"× {best}", "peak MB, training process", "MB, its child processes")
    facts = conditions(
        packages=_PACKAGES,
        input=f"BC5CDR train, {arguments.sentences} sentences, {n_words} words, batches of {BATCH_SIZE}",
        model="span bi-encoder on the embedded encoder (text and labels), K = 12",
        threads=str(arguments.threads),
        dtype="bf16 autocast over fp32 weights",
        seed=str(arguments.seed),
        rounds=f"{arguments.rounds}; median (min-max); ratios within a round",
        load_before=f"{load:.1f}",
    )
    return f"## Training speed beside `gliner`\n\n{markdown_table(header, lines)}\n\n{_NOTE}\n\n{facts}"


def _spread(values: Sequence[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def _missing() -> str | None:
    shared = os.environ.get("KOGNER_SHARED")
    if not shared or not Path(shared, "mirror").is_dir():
        return "needs BC5CDR; set KOGNER_SHARED to the folder that holds mirror/"
    for package in ("gliner", "accelerate"):
        if importlib.util.find_spec(package) is None:
            return f"needs {package}; pip install 'gliner[training]==0.2.29'"
    return None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=640, help=f"timed sentences, a multiple of {BATCH_SIZE}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the table goes")
    arguments = parser.parse_args()
    if arguments.sentences <= 0 or arguments.sentences % BATCH_SIZE:
        parser.error(f"--sentences: expected a multiple of {BATCH_SIZE}, got {arguments.sentences}")
    return arguments


if __name__ == "__main__":
    main()
