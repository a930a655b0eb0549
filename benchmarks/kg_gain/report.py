"""REPORT.md and its plots from cells.jsonl: means, spreads, gains over the controls, paired bootstrap p-values.

python benchmarks/kg_gain/report.py
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib as mpl
import numpy as np
import yaml

sys.path.append(str(Path(__file__).parents[1]))
from results import conditions, markdown_table, write_section
from run import Key, done, wanted

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
REPORT = HERE / "REPORT.md"
_RESAMPLES = 10_000
Cells = Mapping[Key, dict[str, Any]]


def main() -> None:
    """Write the tables between their markers; the words around them stay."""
    cells = done()
    matrix = yaml.safe_load((HERE / "matrix.yaml").read_text())
    transfer = [(source, target) for source, targets in matrix["transfer"].items() for target in targets]
    unseen = [(corpus, f"{corpus}-unseen") for corpus in matrix["corpora"]]
    places = [(corpus, corpus) for corpus in matrix["corpora"]] + transfer + unseen
    write_section("f1", _f1_table(cells, places), REPORT)
    write_section("gains", _gains(cells, places), REPORT)
    write_section("variants", _variants(cells, places, matrix["recipes"]), REPORT)
    write_section("density", _density(cells), REPORT)
    write_section("parts", _parts(cells), REPORT)
    write_section("run", _run(cells), REPORT)
    packages = ["torch", "ray", "transformers"]
    said = {"threads": "2", "dtype": "bf16 training and tagging", "malloc": "as README advises"}
    write_section("conditions", conditions(packages=packages, **said), REPORT)
    _plot(cells, list(matrix["corpora"]))


def _values(cells: Cells, corpus: str, test: str, share: float, recipe: str, name: str = "f1") -> dict[int, float]:
    """The value of each seed, in percent."""
    return {
        seed: 100 * row["test"][test][name]
        for (c, s, r, seed), row in sorted(cells.items())
        if (c, s, r) == (corpus, share, recipe) and test in row["test"] and name in row["test"][test]
    }


def _said(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f} ({len(values)})" if len(values) > 1 else "")


def _f1_table(cells: Cells, places: Sequence[tuple[str, str]]) -> str:
    recipes = list(dict.fromkeys(recipe for _, _, recipe, _ in cells))
    rows = []
    for corpus, test in places:
        for share in sorted({share for c, share, _, _ in cells if c == corpus}):
            values = [_said(list(_values(cells, corpus, test, share, recipe).values())) for recipe in recipes]
            where = corpus if corpus == test else f"{corpus} → {test}"
            if any(values):
                rows.append([f"{where}, {100 * share:g} %", *values])
    return "Test F1; mean ± standard deviation (seeds).\n\n" + markdown_table(["trained on, labels", *recipes], rows)


def _gains(cells: Cells, places: Sequence[tuple[str, str]]) -> str:
    rows = []
    for corpus, test in places:
        for share in sorted({share for c, share, _, _ in cells if c == corpus}):
            for recipe in ("ours", "ours-masked", "ours-more", "paper", "shuffled"):
                for control in ("none", "shuffled", "dictionary"):
                    row = None if recipe == control else _gain(cells, corpus, test, share, recipe, control)
                    if row is not None:
                        where = corpus if corpus == test else f"{corpus} → {test}"
                        rows.append([f"{where}, {100 * share:g} %: {recipe} − {control}", *row])
    said = (
        "Difference of test F1, seeds paired where both have them. p: share of paired bootstrap resamples of test "
        f"sentences ({_RESAMPLES:,}; counts of all common seeds together) in which the first is not better."
    )
    return f"{said}\n\n" + markdown_table(["", "gain", "seeds", "p"], rows)


def _variants(cells: Cells, places: Sequence[tuple[str, str]], recipes: Mapping[str, Mapping[str, Any]]) -> str:
    """Each recipe that changes another one, against it."""
    rows = []
    for corpus, test in places:
        for share, recipe in sorted(
            {(share, recipe) for c, share, recipe, _ in cells if c == corpus and "-" in recipe}
        ):
            base = recipes.get(recipe, {}).get("against", recipe.partition("-")[0])
            row = _gain(cells, corpus, test, share, recipe, base)
            if row is not None:
                where = corpus if corpus == test else f"{corpus} → {test}"
                rows.append([f"{where}, {100 * share:g} %: {recipe} − {base}", *row])
    if not rows:
        return "No variant of a recipe was run."
    return "Against the recipe that each one changes; p as above.\n\n" + markdown_table(
        ["", "gain", "seeds", "p"], rows
    )


def _density(cells: Cells) -> str:
    """Gain over no KG beside what the KG holds of the test set's mentions, and how dense it is."""
    rows = []
    for (corpus, share, recipe, seed), row in sorted(cells.items()):
        known = row.get("kg", {})
        if "linked" in known and "edges_per_node" in known:
            base = cells.get((corpus, share, "none", seed))
            gain = f"{100 * (row['test'][corpus]['f1'] - base['test'][corpus]['f1']):+.1f}" if base else ""
            said = [f"{100 * known['linked']:.0f}", f"{known['edges_per_node']:.1f}"]
            rows.append([f"{corpus}, {100 * share:g} %, {recipe}, seed {seed}", *said, _percent(row, corpus), gain])
    if not rows:
        return "No cell says how much of the test set its KG names."
    header = ["", "mentions that the KG names, %", "edges a node", "F1", "gain over none"]
    return markdown_table(header, rows)


def _percent(row: Mapping[str, Any], corpus: str) -> str:
    return f"{100 * row['test'][corpus]['f1']:.1f}"


def _gain(cells: Cells, corpus: str, test: str, share: float, recipe: str, control: str) -> list[str] | None:
    ours, theirs = (_values(cells, corpus, test, share, name) for name in (recipe, control))
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    gains = [ours[seed] - theirs[seed] for seed in seeds]
    spread = f" ± {stdev(gains):.1f}" if len(gains) > 1 else ""
    counts = [sum(_counts(corpus, share, name, seed, test) for seed in seeds) for name in (recipe, control)]
    return [f"{mean(gains):+.1f}{spread}", str(len(seeds)), _p_value(*counts)]


def _counts(corpus: str, share: float, recipe: str, seed: int, test: str) -> Any:
    """(D, 3) correct, predicted and gold spans of each test sentence."""
    name = f"{corpus}-{share:g}-{recipe}-{seed}-on-{test}.npz"
    counts = np.load(HERE / "counts" / name)["counts"].astype(np.int64)
    return counts if counts.ndim == 2 else counts.sum(axis=1)


def _p_value(first: Any, second: Any) -> str:
    generator = np.random.default_rng(0)
    worse = 0
    for _ in range(0, _RESAMPLES, 500):
        drawn = generator.multinomial(len(first), np.full(len(first), 1 / len(first)), size=500)
        a, b = drawn @ first, drawn @ second
        worse += int((2 * a[:, 0] / (a[:, 1] + a[:, 2]) <= 2 * b[:, 0] / (b[:, 1] + b[:, 2])).sum())
    return f"{worse / _RESAMPLES:.4f}" if worse else f"< {1 / _RESAMPLES:.4f}"


def _parts(cells: Cells) -> str:
    rows = []
    for (corpus, share, recipe, seed), row in sorted(cells.items()):
        own = row["test"][corpus]
        if seed == 0:
            values = [f"{100 * own[name]:.1f}" for name in ("p", "r", "recall_seen", "recall_unseen")]
            nested = [f"{100 * own[name]:.1f}" if name in own else "" for name in ("recall_inner", "recall_outer")]
            rows.append([f"{corpus}, {100 * share:g} %, {recipe}", *values, *nested, str(row["steps"])])
    said = "First seed. Seen: a mention of the 4,560 training sentences, labelled or not, is written alike."
    header = ["", "P", "R", "R seen", "R unseen", "R inner", "R outer", "steps"]
    return f"{said}\n\n" + markdown_table(header, rows)


def _run(cells: Cells) -> str:
    rows = []
    for tier in (1, 2):
        keys = list(wanted([tier]))
        missing = [key for key in keys if key not in cells]
        rows.append(f"Tier {tier}: {len(keys) - len(missing)} of {len(keys)} cells run.")
        for recipe in dict.fromkeys(recipe for _, _, recipe, _ in missing):
            places: dict[str, list[str]] = {}
            for corpus, share, other, seed in missing:
                if other == recipe:
                    places.setdefault(f"{corpus} {100 * share:g} %", []).append(str(seed))
            rows.append(f"- not run, {recipe}: " + ", ".join(f"{p} ({' '.join(s)})" for p, s in places.items()))
    return "(Seeds in brackets.)\n\n" + "\n".join(rows)


def _plot(cells: Cells, corpora: Sequence[str]) -> None:
    figure, axes = plt.subplots(1, len(corpora), figsize=(3.2 * len(corpora), 3.4), sharey=True)
    for axis, corpus in zip(axes, corpora, strict=True):
        for recipe, marker in (("none", "o"), ("paper", "s"), ("ours", "^"), ("shuffled", "x"), ("dictionary", "_")):
            shares = sorted({share for c, share, r, _ in cells if (c, r) == (corpus, recipe)})
            means = [mean(_values(cells, corpus, corpus, share, recipe).values()) for share in shares]
            if shares:
                at = [{0: 0.0, 0.01: 1.0, 0.05: 2.0, 0.2: 3.0, 1.0: 4.0}[share] for share in shares]
                axis.plot(at, means, marker=marker, label=recipe)
        axis.set_title(corpus)
        axis.set_xticks(range(5), ["0", "1 %", "5 %", "20 %", "100 %"])
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test F1")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(HERE / "gains.png", dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
