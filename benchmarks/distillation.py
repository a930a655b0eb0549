"""What does the KG add? The same student with L_dist and without, same seeds, on a public corpus.

    python benchmarks/distillation.py --config bc5cdr --seeds 0 1 2 --entity-table FOLDER --kg hetionet

Each seed is one `kogner distill` with `compare=true`, in `--runs`/CONFIG-SEED; finished ones are not run again, an
interrupted one goes on. Corpora come from the catalog, or from the mirror that KOGNER_SHARED holds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from results import conditions, markdown_table, write_section


def main() -> None:
    """Run what is missing, then write the table."""
    arguments = parse()
    shared = os.environ.get("KOGNER_SHARED")
    if shared:
        os.environ.setdefault("KOGNER_DATA_URL", (Path(shared) / "mirror").as_uri())
    reports = []
    for seed in arguments.seeds:
        folder = arguments.runs / f"{arguments.config}{'-nokg' if arguments.no_kg else ''}-{seed}"
        if not (folder / "report.json").is_file():
            distill(arguments, seed, folder)
        reports.append(json.loads((folder / "report.json").read_text(encoding="utf-8")))
    name = f"{'supervised' if arguments.no_kg else 'distillation'}-{arguments.config}"
    write_section(name, section(arguments, reports))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="bc5cdr", help="shipped configuration")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--entity-table", type=Path, help="finished teacher; trained anew for each seed without one")
    parser.add_argument("--kg", default="hetionet", help="variant of the KG that the teacher read, for the table")
    parser.add_argument("--no-kg", action="store_true", help="only the student without a KG")
    parser.add_argument("--set", action="append", default=[], help="settings passed on to the job")
    return parser.parse_args()


def distill(arguments: argparse.Namespace, seed: int, folder: Path) -> None:
    """One run of the job."""
    settings = [f"output={folder}", f"train.seed={seed}", *arguments.set]
    settings += ["kg.source=null"] if arguments.no_kg else ["compare=true"]
    if arguments.entity_table and not arguments.no_kg:
        settings.append(f"kg.entity_table={arguments.entity_table}")
    overrides = [part for setting in settings for part in ("--set", setting)]
    job = Path(__file__).parents[1] / "jobs" / "distill.py"
    subprocess.run([sys.executable, str(job), "--config", arguments.config, *overrides], check=True)


def section(arguments: argparse.Namespace, reports: list[dict[str, Any]]) -> str:
    """The table and what it was made with."""
    arms = {"no KG": "test"} if arguments.no_kg else {"no KG": "no_kg", "with KG": "test"}
    scores = {arm: [report[key] for report in reports] for arm, key in arms.items()}
    header = ["test", *(f"{measure} {arm}" for arm in arms for measure in ("P", "R", "F1"))]
    rows = [
        [f"seed {seed}", *(cell for found in scores.values() for cell in cells(found[index]))]
        for index, seed in enumerate(arguments.seeds)
    ]
    f1 = {arm: [100 * found["micro"]["f1"] for found in runs] for arm, runs in scores.items()}
    rows.append(["mean ± sd", *(cell for values in f1.values() for cell in ("", "", spread(values)))])
    if not arguments.no_kg:
        gains = [b - a for a, b in zip(f1["no KG"], f1["with KG"], strict=True)]
        header.append("gain")
        for row, gain in zip(rows, [*(f"{gain:+.2f}" for gain in gains), spread(gains, sign=True)], strict=True):
            row.append(gain)
    by_type = [
        [name, *(f"{100 * mean(found['types'][name]['f1'] for found in runs):.2f}" for runs in scores.values())]
        for name in sorted(reports[0]["test"]["types"])
    ]
    title = f"## {'Without a KG' if arguments.no_kg else 'With and without the KG'}: {arguments.config}"
    said = "Strict span scores on the whole test split, percent."
    tables = [markdown_table(header, rows), markdown_table(["type (mean F1)", *arms], by_type)]
    return "\n\n".join([title, said, *tables, how(arguments, reports[0])])


def how(arguments: argparse.Namespace, report: dict[str, Any]) -> str:
    """What the table was made with."""
    config = report["provenance"]["config"]
    train, loss = config["train"], config["loss"]
    settings = {
        "training": f"{train['epochs']} epochs, batch {train['batch_size']}, rates {train['optim']['encoder_lr']} "
        f"(encoder) and {train['optim']['lr']}, K {config['student']['max_width']}, encoder "
        f"`{config['student']['encoder']}`, threshold {train['threshold']}",
        "seeds": ", ".join(map(str, arguments.seeds)),
    }
    if not arguments.no_kg:
        total = report["coverage"]["total"]
        settings["KG"] = (
            f"{arguments.kg}; L = {loss['lang']} L_lang + {loss['dist']} L_dist; training mentions linked "
            f"{100 * total['mention_share']:.1f} %, surfaces {100 * total['surface_share']:.1f} %"
        )
    return conditions(packages=["torch", "transformers", "ray", "dgl"], **settings)


def cells(scores: dict[str, Any]) -> list[str]:
    """Micro P, R, F1."""
    return [f"{100 * scores['micro'][name]:.2f}" for name in ("precision", "recall", "f1")]


def spread(values: list[float], *, sign: bool = False) -> str:
    """Mean and, of several, sample standard deviation."""
    deviation = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{mean(values):{'+' if sign else ''}.2f}{deviation}"


if __name__ == "__main__":
    main()
