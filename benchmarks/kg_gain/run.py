"""What does the KG add? Runs the cells of matrix.yaml that cells.jsonl does not have, one process each.

    python benchmarks/kg_gain/run.py --work runs/kg_gain [--tier 1 2] [--limit N]

Safe to kill and start again: a finished cell is a line of cells.jsonl, an unfinished one goes on in its run folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
CELLS = HERE / "cells.jsonl"
Key = tuple[str, float, str, int]


def main() -> None:
    """Run what is missing, in the order of the matrix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/kg_gain"), help="run folders, KGs, logs")
    parser.add_argument("--tier", type=int, nargs="+", default=[1])
    parser.add_argument("--limit", type=int, help="stop after so many cells")
    given = parser.parse_args()
    missing = [key for key in wanted(given.tier) if key not in done()]
    print(f"{len(missing)} cells to run", flush=True)
    failed = 0
    for number, key in enumerate(missing[: given.limit], start=1):
        started = time.monotonic()
        result = run_cell(key, given.work)
        failed += result is None
        said = "FAILED" if result is None else f"F1 {100 * result['test'][key[0]]['f1']:.2f}"
        print(f"{number}/{len(missing)} {key}: {said}, {time.monotonic() - started:.0f} s", flush=True)
    sys.exit(1 if failed else 0)


def wanted(tiers: list[int]) -> Iterator[Key]:
    """Keys of the cells of these tiers, each once."""
    matrix = yaml.safe_load((HERE / "matrix.yaml").read_text())
    keys = {
        (corpus, float(share), recipe, seed): None
        for tier in tiers
        for block in matrix["tiers"][tier]
        for recipe in block["recipes"]
        for seed in block["seeds"]
        for corpus in block["corpora"]
        for share in block["shares"]
        if share or seed == 0  # without labels there is the one silver stage
    }
    yield from keys


def done() -> dict[Key, dict[str, Any]]:
    """Results by key."""
    lines = CELLS.read_text().splitlines() if CELLS.is_file() else []
    rows = [json.loads(line) for line in lines]
    return {(row["corpus"], row["share"], row["recipe"], row["seed"]): row for row in rows}


def run_cell(key: Key, work: Path) -> dict[str, Any] | None:
    """Run one cell and append its result; None when it failed (its log says why)."""
    log = work / "logs" / f"{'-'.join(map(str, key))}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(HERE / "cell.py"), *map(str, key), str(work)]
    with log.open("a") as errors:
        finished = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, check=False)
    with log.open("a") as out:
        out.write(finished.stdout)
    if finished.returncode:
        return None
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    with CELLS.open("a") as lines:
        lines.write(json.dumps(result) + "\n")
    return result


if __name__ == "__main__":
    main()
