"""`kogner kg`: knowledge graphs."""

from pathlib import Path
from typing import Annotated

import typer

from kogner_ray.cli.options import ConfigFile, Overrides, console, load, print_json

app = typer.Typer(help="Knowledge graphs: build the canonical tables, look at coverage.", no_args_is_help=True)


@app.command("build")
def kg_build(config: ConfigFile = None, set_: Overrides = None) -> None:
    """Read a KG of any format into canonical tables, with a report of what was left out and why."""
    from kogner_ray.kg.build import BuildKgConfig, build_kg

    print_json(build_kg(load(BuildKgConfig, config, set_)))


@app.command("coverage")
def kg_coverage(
    kg: Annotated[Path, typer.Argument(help="Folder of canonical tables, or an entity table.")],
    corpus: Annotated[Path, typer.Argument(help="Annotated file.")],
    format: Annotated[str | None, typer.Option(help="Format of the corpus; guessed.")] = None,
) -> None:
    """Share of a corpus's mentions that link to a KG, by mention and by surface, per type."""
    import pyarrow.parquet as pq

    from kogner_ray.data.formats import read_documents
    from kogner_ray.kg.coverage import coverage
    from kogner_ray.kg.linking import Linker

    nodes = kg / "nodes.parquet" if (kg / "nodes.parquet").is_file() else kg / "entities.parquet"
    report = coverage(read_documents(corpus, format), Linker.from_table(pq.read_table(nodes)))
    console.print(report.as_table())
