"""The `kogner` command: the same functions as the jobs, for the terminal; a file a group of commands."""

import logging
import os
import sys

import typer
from rich.console import Console
from rich.logging import RichHandler

from kogner_ray.cli import data, kg, models, serve, tag
from kogner_ray.errors import KognerError

app = typer.Typer(
    help="Knowledge-graph-distilled, open-type biomedical NER on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for commands in (models.app, tag.app, serve.app):
    app.add_typer(commands)
app.add_typer(data.app, name="data")
app.add_typer(kg.app, name="kg")

_COMPUTING = {"distill", "train-teacher", "tag", "serve"}


def main() -> None:
    """Entry point: errors of the user's making are one line and exit code 1."""
    if _COMPUTING & set(sys.argv[1:2]) and "--help" not in sys.argv:
        from kogner_ray.cluster import with_process_settings

        if sys.argv[1] == "serve":
            from kogner_ray.serve.ingress import ingress_environment

            os.environ.update({key: value for key, value in ingress_environment().items() if key not in os.environ})
        with_process_settings()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(show_path=False)])
    try:
        app()
    except KognerError as error:
        Console(stderr=True).print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)
