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
        folder = arguments.runs / f"{arguments.config}-{seed}"
        if not (folder / "report.json").is_file():
            distill(arguments, seed, folder)
        reports.append(json.loads((folder / "report.json").read_text(encoding="utf-8")))
    write_section(f"distillation-{arguments.config}", section(arguments, reports))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="bc5cdr", help="shipped configuration")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--entity-table", type=Path, help="finished teacher; trained anew for each seed without one")
    parser.add_argument(
        "--kg", default="hetionet", help="which variant of the KG the teacher was trained on, for the table"
    )
    return parser.parse_args()


def distill(arguments: argparse.Namespace, seed: int, folder: Path) -> None:
    """One run of the job."""
    settings = [f"output={folder}", f"train.seed={seed}", "compare=true"]
    if arguments.entity_table:
        settings.append(f"kg.entity_table={arguments.entity_table}")
    overrides = [part for setting in settings for part in ("--set", setting)]
    job = Path(__file__).parents[1] / "jobs" / "distill.py"
    subprocess.run([sys.executable, str(job), "--config", arguments.config, *overrides], check=True)


def section(arguments: argparse.Namespace, reports: list[dict[str, Any]]) -> str:
    """The table and what it was made with."""
    rows = []
    for seed, report in zip(arguments.seeds, reports, strict=True):
        rows.append([f"seed {seed}", *cells(report["no_kg"]), *cells(report["test"]), gain(report)])
    without = [100 * report["no_kg"]["micro"]["f1"] for report in reports]
    with_kg = [100 * report["test"]["micro"]["f1"] for report in reports]
    gains = [b - a for a, b in zip(without, with_kg, strict=True)]
    rows.append(["mean ± sd", "", "", spread(without), "", "", spread(with_kg), spread(gains, sign=True)])
    header = ["test", "P no KG", "R no KG", "F1 no KG", "P with KG", "R with KG", "F1 with KG", "gain"]
    types = sorted(reports[0]["test"]["types"])
    by_type = [
        [name, *(f"{100 * mean(r[arm]['types'][name]['f1'] for r in reports):.2f}" for arm in ("no_kg", "test"))]
        for name in types
    ]
    config = reports[0]["provenance"]["config"]
    coverage = reports[0]["coverage"]["total"]
    how = conditions(
        packages=["torch", "transformers", "ray", "dgl"],
        KG=f"{arguments.kg}; training mentions linked {100 * coverage['mention_share']:.1f} %, surfaces "
        f"{100 * coverage['surface_share']:.1f} %",
        training=f"{config['train']['epochs']} epochs, batch {config['train']['batch_size']}, K "
        f"{config['student']['max_width']}, encoder `{config['student']['encoder']}`, L = {config['loss']['lang']} L_lang "
        f"+ {config['loss']['dist']} L_dist",
        seeds=", ".join(map(str, arguments.seeds)),
    )
    title = f"## With and without the KG: {arguments.config}\n\nStrict span scores on the whole test split, percent."
    tables = [markdown_table(header, rows), markdown_table(["type (mean F1)", "no KG", "with KG"], by_type)]
    return "\n\n".join([title, *tables, how])


def cells(scores: dict[str, Any]) -> list[str]:
    """Micro P, R, F1."""
    return [f"{100 * scores['micro'][name]:.2f}" for name in ("precision", "recall", "f1")]


def gain(report: dict[str, Any]) -> str:
    """F1 with the KG minus F1 without."""
    return f"{100 * (report['test']['micro']['f1'] - report['no_kg']['micro']['f1']):+.2f}"


def spread(values: list[float], *, sign: bool = False) -> str:
    """Mean and sample standard deviation."""
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):{'+' if sign else ''}.2f} ± {deviation:.2f}"


if __name__ == "__main__":
    main()
