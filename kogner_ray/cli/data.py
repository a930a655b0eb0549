"""`kogner data`: public corpora and knowledge graphs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kogner_ray.cli.options import console

app = typer.Typer(help="Public corpora and knowledge graphs: list, download, convert.", no_args_is_help=True)


@app.command("list")
def data_list() -> None:
    """What can be downloaded, with size, licence and content."""
    from kogner_ray.data import catalog

    table = Table("name", "kind", "MB", "licence", "content")
    for entry in catalog.entries():
        megabytes = sum(file.n_bytes for file in entry.files) / 1e6
        table.add_row(entry.name, entry.kind, f"{megabytes:.1f}", entry.licence, entry.description)
    console.print(table)


@app.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="A name from `kogner data list`.")],
    folder: Annotated[Path | None, typer.Option(help="Where to; by default the cache of this user.")] = None,
) -> None:
    """Download an entry, check its sha256, and state its licence and citation."""
    from kogner_ray.data import catalog

    entry = catalog.find(name)
    place = catalog.get(name, folder, progress=True)
    console.print(f"{name}: {place}\nlicence: {entry.licence}\ncitation: {entry.citation}", highlight=False)


@app.command("convert")
def data_convert(
    source: Annotated[Path, typer.Argument(help="File to read.")],
    target: Annotated[Path, typer.Argument(help="File to write.")],
    source_format: Annotated[str | None, typer.Option("--from", help="Format of the source; guessed.")] = None,
    target_format: Annotated[str | None, typer.Option("--to", help="Format of the target; guessed.")] = None,
) -> None:
    """Convert a corpus between formats; what the target cannot hold is refused by name."""
    from kogner_ray.data.formats import read_documents, write_documents

    write_documents(read_documents(source, source_format), target, target_format)
