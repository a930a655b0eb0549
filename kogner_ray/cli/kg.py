"""`kogner kg`: knowledge graphs."""

from pathlib import Path
from typing import Annotated

import typer

from kogner_ray.cli.options import ConfigFile, Overrides, console, load, print_json

app = typer.Typer(
    help="Knowledge graphs: build the canonical tables, look at coverage, index them for linking.", no_args_is_help=True
)


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


@app.command("index")
def kg_index(
    source: Annotated[Path, typer.Argument(help="A checkpoint, an entity table, or a folder of canonical tables.")],
    output: Annotated[Path | None, typer.Argument(help="Folder to write; by default index/ in the source.")] = None,
    train: Annotated[list[Path] | None, typer.Option(help="Annotated file with concept ids to fit to.")] = None,
    dev: Annotated[list[Path] | None, typer.Option(help="Annotated file to choose the threshold on.")] = None,
) -> None:
    """Make the linking index of a checkpoint or KG (anew); of a checkpoint, also fit how it links."""
    from kogner_ray.data.formats import read_documents
    from kogner_ray.errors import ConfigError
    from kogner_ray.kg.ranking.links import FOLDER, index_tables

    if (source / "student.json").is_file():
        from kogner_ray.student.teaching import index_checkpoint

        if output is not None:
            raise ConfigError(f"output: the index of a checkpoint lies in it, got {output}; leave it out")
        splits = [[d for path in paths or () for d in read_documents(path)] for paths in (train, dev)]
        links = index_checkpoint(source, *splits)
    elif train or dev:
        raise ConfigError(f"train, dev: how to link is fitted with a checkpoint's student; {source} is none")
    else:
        links = index_tables(source, output or source / FOLDER)
    print_json(
        {
            "entities": len(links.index),
            "concepts": links.index.n_concepts,
            "threshold": links.ranker.threshold,
            **links.ranker.made,
        }
    )
