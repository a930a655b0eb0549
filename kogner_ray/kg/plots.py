"""A knowledge graph's figures drawn: as a PNG, and as one HTML page that needs nothing else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kogner_ray.data.files import replacing
from kogner_ray.kg.stats import KgStats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_N_BARS = 25
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222; }
figure { margin: 1em 0; } img { max-width: 100%; }
table { border-collapse: collapse; margin: 0 0 2em; } caption { text-align: left; font-weight: 600; padding: .5em 0; }
th, td { padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


def draw_statistics(stats: KgStats, path: str | Path) -> None:
    """Draw degree law, types and relations side by side into the PNG `path`.

    Raises:
        DataError: it cannot be written.
    """
    with replacing(Path(path)) as file:
        file.write(_png(stats, ("degrees", "types", "relations")))


def write_page(stats: KgStats, path: str | Path, *, title: str) -> None:
    """Write the plots and tables as one HTML page with everything inside it.

    Raises:
        DataError: it cannot be written.
    """
    plots = "\n".join(
        f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{b64encode(_png(stats, (name,))).decode()}">'
        f"</figure>"
        for name, alt in _ALT.items()
    )
    tables = "\n".join(_html_table(caption, header, rows) for caption, header, rows in stats.rows())
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{plots}\n{tables}\n</body>\n</html>\n"
    )
    with replacing(Path(path)) as file:
        file.write(page.encode())


_ALT = {
    "degrees": "Share of the nodes with at least so many edges, both axes logarithmic",
    "types": "Nodes of each type",
    "relations": "Edges of each relation",
}


def _png(stats: KgStats, names: tuple[str, ...]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * len(names), 5), layout="constrained")
    for place, name in enumerate(names, 1):
        axes = figure.add_subplot(1, len(names), place)
        if name == "degrees":
            _draw_degrees(stats, axes)
        elif name == "types":
            _draw_bars({key: value.nodes for key, value in stats.types.items()}, axes, "nodes")
        else:
            _draw_bars({key: value.edges for key, value in stats.relations.items()}, axes, "edges")
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _draw_degrees(stats: KgStats, axes: Axes) -> None:
    points = [(degree, count) for degree, count in stats.degree_counts if degree]
    shares, rest = [], sum(count for _, count in points)
    for _, count in points:
        shares.append(rest / max(stats.nodes, 1))
        rest -= count
    if points:
        axes.loglog([degree for degree, _ in points], shares, marker=".", linestyle="none")
    axes.set_xlabel("degree")
    axes.set_ylabel("share of the nodes with at least this degree")
    axes.grid(alpha=0.3)


def _draw_bars(counts: Mapping[str, int], axes: Axes, label: str) -> None:
    # A name is no formula, whatever it holds: "$" would start one.
    shown = [(name.replace("$", r"\$"), count) for name, count in list(counts.items())[:_N_BARS]][::-1]
    places = range(len(shown))
    axes.barh(places, [count for _, count in shown])
    axes.set_yticks(places, [name if len(name) <= 40 else f"{name[:39]}…" for name, _ in shown])
    if shown:
        axes.set_xscale("log")
    more = len(counts) - len(shown)
    axes.set_xlabel(f"{label} (logarithmic)" + (f"; {more} more not shown" if more else ""))


def _html_table(caption: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    def cells(tag: str, row: tuple[Any, ...]) -> str:
        return "".join(f"<{tag}{_number(cell, tag)}>{escape(str(cell))}</{tag}>" for cell in row)

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption>\n<tr>{cells('th', header)}</tr>\n{body}\n</table>"


def _number(cell: str, tag: str) -> str:
    return ' class="number"' if tag == "td" and cell.replace(",", "").replace(".", "").isdigit() else ""
