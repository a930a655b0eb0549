"""`kogner tag`: one text, or a corpus."""

import json
import sys
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from kogner_ray.cli.options import ConfigFile, Overrides, console, load
from kogner_ray.errors import ConfigError

if TYPE_CHECKING:
    from kogner_ray.tagger import Tagger

app = typer.Typer()


@app.command()
def tag(
    inputs: Annotated[
        list[str] | None, typer.Argument(help="One text, or - for stdin; or inputs and an output folder: IN... OUT.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Checkpoint folder, or an id on the hub: org/name[@revision].")
    ] = None,
    types: Annotated[str | None, typer.Option(help="Comma-separated types; the checkpoint's by default.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Probability that a span must exceed; 0.5.")] = None,
    nested: Annotated[bool, typer.Option(help="Keep entities within entities.")] = False,
    precision: Annotated[
        str | None, typer.Option(help="fp32 (default), bf16 or int8; ONNX graphs have their own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One text: JSON lines, also on a terminal.")] = False,
    color: Annotated[bool, typer.Option("--color", help="One text: coloured, also into a file or a pipe.")] = False,
    format: Annotated[str | None, typer.Option(help="Corpus: format of the inputs; guessed by default.")] = None,
    to: Annotated[str | None, typer.Option(help="Corpus: also write jsonl,pubtator,bioc_xml,bioc_json.")] = None,
    workers: Annotated[int | None, typer.Option(help="Corpus: actors at most; by default one a CPU.")] = None,
    max_failures: Annotated[float | None, typer.Option(help="Corpus: share of documents that may fail; 0.5.")] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Tag one text and show its entities; or tag a corpus: files, folders, globs, here or on s3://.

    One text is shown in colours on a terminal, and printed as JSON lines elsewhere. A corpus that was interrupted goes
    on when the same command is given again.
    """
    from kogner_ray.tagger import Tagger

    wanted = types.split(",") if types else None
    if inputs and len(inputs) == 1 and config is None:
        if checkpoint is None:
            raise ConfigError("--checkpoint: expected a checkpoint folder, or an id on the hub")
        if as_json and color:
            raise ConfigError("--json and --color: expected one of them")
        coloured = color or (sys.stdout.isatty() and not as_json)
        out = Console(force_terminal=True, color_system="standard") if coloured else None
        limit = 0.5 if threshold is None else threshold
        tagger = Tagger.load(checkpoint, precision=precision)  # type: ignore[arg-type]  # it checks
        _tag_text(inputs[0], tagger, wanted, threshold=limit, nested=nested, out=out)
        return
    *sources, output = inputs or [""]
    given: dict[str, Any] = {"inputs": sources or None, "output": output or None, "checkpoint": checkpoint}
    given |= {"types": wanted, "threshold": threshold, "nested": nested or None, "precision": precision}
    given |= {"format": format, "to": to and to.split(","), "workers.max": workers, "max_failures": max_failures}
    _tag_corpus(config, [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None], set_ or [])


def _tag_corpus(config: Path | None, given: list[str], overrides: list[str]) -> None:
    from kogner_ray.tag.corpus import TagConfig, tag_corpus

    report = tag_corpus(load(TagConfig, config, [*given, *overrides]))
    for file, reason in report.refused.items():
        console.print(f"[yellow]not converted:[/yellow] {file}: {reason}", highlight=False, soft_wrap=True)
    table = Table("inputs", *report.counts.as_dict(), "seconds")
    numbers = [report.n_inputs, *report.counts.as_dict().values(), round(report.seconds)]
    table.add_row(*(f"{number:,}" for number in numbers))
    console.print(table)
    console.print(f"output: {report.output}", highlight=False, soft_wrap=True)


def _tag_text(
    text: str, tagger: "Tagger", types: list[str] | None, *, threshold: float, nested: bool, out: Console | None
) -> None:
    """Print the entities of a text, or of stdin for `-`: into `out` as marked text, without it as JSON lines.

    Stdin is one text unless it is large (see `text_blocks`); offsets are always those of the whole.
    """
    from kogner_ray.data.blocks import text_blocks
    from kogner_ray.data.files import encoded
    from kogner_ray.highlight import colours, highlighted

    colour_of = colours(tagger.types if types is None else types)
    for before, block in text_blocks(sys.stdin.buffer if text == "-" else BytesIO(encoded(text, "TEXT"))):
        entities = tagger.tag(block, types, threshold=threshold, nested=nested)
        if out is not None:
            out.print(highlighted(block, entities, colour_of), soft_wrap=True, end="" if block.endswith("\n") else "\n")
            continue
        for entity in entities:
            values = asdict(entity) | {"start": before + entity.start, "end": before + entity.end}
            sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
