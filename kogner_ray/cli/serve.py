"""`kogner serve` and `kogner client`: the online service, and asking it."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kogner_ray.cli.options import ConfigFile, Overrides, console, load
from kogner_ray.data.spans import Document

app = typer.Typer()


@app.command()
def serve(
    model: Annotated[str | None, typer.Option(help="Checkpoint folder or id on the hub.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 (default), bf16 or int8.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Serve a model over HTTP, with Ray Serve's fast ingress, until interrupted.

    KOGNER_API_KEYS, a list by commas, lets in those alone who have one of the keys.
    """
    from kogner_ray.serve.run import run
    from kogner_ray.serve.settings import ServeConfig

    given = {"model": model, "precision": precision}
    overrides = [f"{key}={value}" for key, value in given.items() if value is not None]
    settings = load(ServeConfig, config, [*overrides, *(set_ or [])])
    run(settings, host=host, port=port, ready=lambda address: console.print(f"{settings.model} at {address}"))


@app.command()
def client(
    text: Annotated[str, typer.Argument(help="A text, - for one from stdin, or a file of documents in any format.")],
    address: Annotated[str, typer.Option(help="Of the service.")] = "http://127.0.0.1:8000",
    types: Annotated[str | None, typer.Option(help="Comma-separated types; the model's by default.")] = None,
    threshold: Annotated[float, typer.Option(help="Probability that a span must exceed.")] = 0.5,
    nested: Annotated[bool, typer.Option(help="Keep entities within entities.")] = False,
    model: Annotated[str | None, typer.Option(help="One of the service's models.")] = None,
    api_key: Annotated[str | None, typer.Option(envvar="KOGNER_API_KEY", help="One that the service lets in.")] = None,
) -> None:
    """Tag by a running service: a JSON line a text, with its id and its entities, in order."""
    from kogner_ray.client import Client
    from kogner_ray.tagging import TagRequest

    wanted = types.split(",") if types else None
    with Client(address, api_key=api_key) as service:
        for group in _groups(_documents(text)):
            request = TagRequest([document.text for document in group], wanted, threshold, nested=nested)
            for document, entities in zip(group, service.tag(request, model=model), strict=True):
                line = {"id": document.id, "entities": [asdict(entity) for entity in entities]}
                sys.stdout.write(json.dumps(line) + "\n")


def _documents(text: str) -> Iterator[Document]:
    from kogner_ray.data.formats.registry import read_documents

    if text == "-":
        yield Document("-", sys.stdin.read())
    elif len(text) < 4096 and Path(text).is_file():
        yield from read_documents(text)
    else:
        yield Document("-", text)


def _groups(documents: Iterator[Document], most: int = 64) -> Iterator[list[Document]]:
    group: list[Document] = []
    for document in documents:
        group.append(document)
        if len(group) == most:
            yield group
            group = []
    if group:
        yield group
