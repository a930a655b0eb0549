"""A grid over settings of recipes as Ray Tune trials, for those who have machines; scored on dev, never on test.

    python benchmarks/kg_gain/tune.py --work /shared/kg_tune [--grid benchmarks/kg_gain/grid.yaml] [--cpus 4] [--gpus 0]

Each trial is a cell in a process of its own with a private Ray, so that trials share nothing but the files of `--work`,
which all nodes must see. Run again, it goes on: finished trials stay, others go on in their run folders. Results are
lines of `tune.jsonl` in `--work`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import ray
import yaml
from ray import tune

HERE = Path(__file__).resolve().parent
_START_S = "300"  # several Rays that start at once on one machine are slow


def main() -> None:
    """Run what is missing of the grid and print its best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="run folders, KGs, Tune's own state")
    parser.add_argument("--grid", type=Path, default=HERE / "grid.yaml")
    parser.add_argument("--cpus", type=float, default=2, help="of each trial")
    parser.add_argument("--gpus", type=float, default=0, help="of each trial")
    given = parser.parse_args()
    work = given.work.absolute()
    trials = list(trials_of(yaml.safe_load(given.grid.read_text())))
    ray.init(ignore_reinit_error=True)
    results = fitted(trials, work, cpus=given.cpus, gpus=given.gpus)
    rows = [{**result.config["trial"], **(result.metrics or {}).get("scores", {})} for result in results]
    (work / "tune.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for row in sorted(rows, key=lambda row: -row.get("f1", -1.0)):
        said = f"{100 * row['f1']:.2f}" if "f1" in row else "FAILED"
        print(said, row["corpus"], f"{100 * row['share']:g} %", row["recipe"], row["override"], f"seed {row['seed']}")
    sys.exit(1 if results.num_errors else 0)


def trials_of(grid: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every cell of the grid with every combination of settings."""
    cells, over = grid["cells"], grid.get("over", {})
    for corpus, share, recipe, seed in product(*(cells[name] for name in ("corpora", "shares", "recipes", "seeds"))):
        for values in product(*over.values()):
            override = dict(zip(over, values, strict=True))
            yield {"corpus": corpus, "share": share, "recipe": recipe, "seed": seed, "override": override}


def fitted(trials: list[dict[str, Any]], work: Path, *, cpus: float, gpus: float) -> tune.ResultGrid:
    """The results of all trials; those of an earlier run in `work` are taken over."""
    runnable = tune.with_resources(tune.with_parameters(trial, work=str(work)), {"cpu": cpus, "gpu": gpus})
    state = work / "tune"
    if tune.Tuner.can_restore(str(state)):
        return tune.Tuner.restore(
            str(state), runnable, resume_unfinished=True, resume_errored=True, param_space=_space(trials)
        ).fit()
    config = tune.RunConfig(name=state.name, storage_path=str(work))
    return tune.Tuner(runnable, param_space=_space(trials), run_config=config).fit()


def trial(config: dict[str, Any], work: str) -> None:
    """One trial on a worker of Tune."""
    tune.report({"scores": run_trial(config["trial"], Path(work))})


def run_trial(settings: dict[str, Any], work: Path) -> dict[str, float]:
    """Scores on the dev set of the trial's own corpus.

    Raises:
        RuntimeError: the cell failed; its log says why.
    """
    place = [str(settings[name]) for name in ("corpus", "share", "recipe", "seed")]
    more = ["--override", json.dumps(settings["override"]), "--split", "dev", "--counts", str(work / "counts")]
    command = [sys.executable, str(HERE / "cell.py"), *place, str(work), *more]
    log = work / "logs" / ("-".join([*place, *(f"{k}={v}" for k, v in settings["override"].items())]) + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    # what a worker of Ray is told of its own Ray would tie the cell's to it
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_") or k == "RAY_USAGE_STATS_ENABLED"}
    with log.open("a") as errors:
        finished = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
            env={**environment, "RAY_ADDRESS": "local", "RAY_raylet_start_wait_time_s": _START_S},
        )
    if finished.returncode:
        raise RuntimeError(f"the cell failed: {log}")
    row = json.loads(finished.stdout.splitlines()[-1])
    own = row["test"][settings["corpus"]]
    return {"f1": own["f1"], "p": own["p"], "r": own["r"], "steps": row["steps"], "seconds": row["seconds"]}


def _space(trials: list[dict[str, Any]]) -> dict[str, Any]:
    return {"trial": tune.grid_search(trials)}


if __name__ == "__main__":
    main()
