"""The `kogner` command: the same functions as the jobs, for the terminal."""

import json
import logging
import sys
from dataclasses import asdict, is_dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from kogner_ray.config import Config, load_config
from kogner_ray.errors import ConfigError, KognerError

if TYPE_CHECKING:
    from kogner_ray.tagger import Tagger

app = typer.Typer(
    help="Knowledge-graph-distilled, open-type biomedical NER on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Public corpora and knowledge graphs: list, download, convert.", no_args_is_help=True)
kg_app = typer.Typer(help="Knowledge graphs: build the canonical tables, look at coverage.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(kg_app, name="kg")

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file; defaults without one.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: --set train.epochs=3 (repeatable).")
]
_COMPUTING = {"distill", "train-teacher", "tag"}
ConfigT = TypeVar("ConfigT", bound=Config)

# Tables that go into a file or a pipe are not squeezed into 80 columns.
console = Console(width=None if sys.stdout.isatty() else 160)


@app.command()
def distill(config: ConfigFile = None, set_: Overrides = None) -> None:
    """Train a student with a KG and evaluate it; without a config, the embedded KG and corpus."""
    from kogner_ray.cluster import start_ray
    from kogner_ray.train.distill import DistillConfig
    from kogner_ray.train.distill import distill as run
    from kogner_ray.train.show import show_report

    settings = _load(DistillConfig, config or Path("embedded"), set_)
    start_ray()
    show_report(run(settings), console)


@app.command("train-teacher")
def train_teacher(config: ConfigFile = None, set_: Overrides = None) -> None:
    """Train the teacher on a KG folder and write the entity table H."""
    from kogner_ray.train.teacher import TeacherConfig
    from kogner_ray.train.teacher import train_teacher as run

    _print_json(run(_load(TeacherConfig, config, set_)))


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    corpus: Annotated[list[str], typer.Argument(help="Annotated files, or one catalog name such as bc5cdr.")],
    split: Annotated[str, typer.Option(help="Split of a catalog corpus.")] = "test",
    format: Annotated[str | None, typer.Option(help="Format of the files; guessed by default.")] = None,
    types: Annotated[str | None, typer.Option(help="Comma-separated types; the checkpoint's by default.")] = None,
    threshold: Annotated[float, typer.Option(help="Probability that a span must exceed.")] = 0.5,
    nested: Annotated[bool, typer.Option(help="Let predictions nest.")] = False,
    conll: Annotated[bool, typer.Option(help="Also print seqeval's CoNLL report (flat spans only).")] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the scores as JSON.")] = None,
) -> None:
    """Score a checkpoint on an annotated corpus: strict span P, R, F1 with a bootstrap interval."""
    from kogner_ray.evaluate import EvaluateConfig, run_evaluation

    values = {"checkpoint": checkpoint, "corpus": corpus, "split": split, "format": format, "nested": nested}
    values |= {"types": types.split(",") if types else None, "threshold": threshold, "conll": conll, "output": output}
    run_evaluation(EvaluateConfig.model_validate(values), console)


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
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or int8.")] = None,
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
    wanted = types.split(",") if types else None
    if inputs and len(inputs) == 1 and config is None:
        if checkpoint is None:
            raise ConfigError("--checkpoint: expected a checkpoint folder, or an id on the hub")
        if as_json and color:
            raise ConfigError("--json and --color: expected one of them")
        coloured = color or (sys.stdout.isatty() and not as_json)
        out = Console(force_terminal=True, color_system="standard") if coloured else None
        from kogner_ray.tagger import Tagger

        limit = 0.5 if threshold is None else threshold
        tagger = Tagger.load(checkpoint, precision=precision or "fp32")  # type: ignore[arg-type]  # it checks
        _tag_text(inputs[0], tagger, wanted, threshold=limit, nested=nested, out=out)
        return
    *sources, output = inputs or [""]
    given: dict[str, Any] = {"inputs": sources or None, "output": output or None, "checkpoint": checkpoint}
    given |= {"types": wanted, "threshold": threshold, "nested": nested or None, "precision": precision}
    given |= {"format": format, "to": to and to.split(","), "workers.max": workers, "max_failures": max_failures}
    _tag_corpus(config, [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None], set_ or [])


def _tag_corpus(config: Path | None, given: list[str], overrides: list[str]) -> None:
    from kogner_ray.tag.corpus import TagConfig, tag_corpus

    report = tag_corpus(_load(TagConfig, config, [*given, *overrides]))
    for file, reason in report.refused.items():
        console.print(f"[yellow]not converted:[/yellow] {file}: {reason}", highlight=False, soft_wrap=True)
    table = Table("inputs", *report.counts.as_dict(), "seconds")
    numbers = [report.n_inputs, *report.counts.as_dict().values(), round(report.seconds)]
    table.add_row(*(f"{number:,}" for number in numbers))
    console.print(table)
    console.print(f"output: {report.output}", highlight=False, soft_wrap=True)


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint folder, or an id on the hub.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[str, typer.Option(help="gliner: for GLiNER.from_pretrained; onnx: for onnxruntime.")] = "gliner",
    precision: Annotated[str | None, typer.Option(help="Of the ONNX graphs: fp32 (default) or int8.")] = None,
) -> None:
    """Write a checkpoint as another package reads it."""
    from kogner_ray.student.gliner import write_gliner
    from kogner_ray.student.hub import load_checkpoint
    from kogner_ray.student.onnx.export import checked_precision, write_onnx

    if format not in ("gliner", "onnx"):
        raise ConfigError(f"format: expected gliner or onnx, got {format}")
    if format == "gliner" and precision is not None:
        raise ConfigError("precision: only --format onnx has one")
    source = load_checkpoint(checkpoint)
    if format == "gliner":
        folder = write_gliner(source, output)
    else:
        folder = write_onnx(source, output, precision=checked_precision(precision or "fp32"))
    console.print(f"{folder}", highlight=False, soft_wrap=True)


@data_app.command("list")
def data_list() -> None:
    """What can be downloaded, with size, licence and content."""
    from kogner_ray.data import catalog

    table = Table("name", "kind", "MB", "licence", "content")
    for entry in catalog.entries():
        megabytes = sum(file.n_bytes for file in entry.files) / 1e6
        table.add_row(entry.name, entry.kind, f"{megabytes:.1f}", entry.licence, entry.description)
    console.print(table)


@data_app.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="A name from `kogner data list`.")],
    folder: Annotated[Path | None, typer.Option(help="Where to; by default the cache of this user.")] = None,
) -> None:
    """Download an entry, check its sha256, and state its licence and citation."""
    from kogner_ray.data import catalog

    entry = catalog.find(name)
    place = catalog.get(name, folder, progress=True)
    console.print(f"{name}: {place}\nlicence: {entry.licence}\ncitation: {entry.citation}", highlight=False)


@data_app.command("convert")
def data_convert(
    source: Annotated[Path, typer.Argument(help="File to read.")],
    target: Annotated[Path, typer.Argument(help="File to write.")],
    source_format: Annotated[str | None, typer.Option("--from", help="Format of the source; guessed.")] = None,
    target_format: Annotated[str | None, typer.Option("--to", help="Format of the target; guessed.")] = None,
) -> None:
    """Convert a corpus between formats; what the target cannot hold is refused by name."""
    from kogner_ray.data.formats import read_documents, write_documents

    write_documents(read_documents(source, source_format), target, target_format)


@kg_app.command("build")
def kg_build(config: ConfigFile = None, set_: Overrides = None) -> None:
    """Read a KG of any format into canonical tables, with a report of what was left out and why."""
    from kogner_ray.kg.build import BuildKgConfig, build_kg

    _print_json(build_kg(_load(BuildKgConfig, config, set_)))


@kg_app.command("coverage")
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


def main() -> None:
    """Entry point: errors of the user's making are one line and exit code 1."""
    if _COMPUTING & set(sys.argv[1:2]) and "--help" not in sys.argv:
        from kogner_ray.cluster import with_process_settings

        with_process_settings()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(show_path=False)])
    try:
        app()
    except KognerError as error:
        Console(stderr=True).print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)


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


def _load(kind: type[ConfigT], path: Path | None, overrides: list[str] | None) -> ConfigT:
    shipped = Path(__file__).parent / "configs" / f"{path}.yaml"
    if path is not None and not path.is_file() and shipped.is_file():
        path = shipped
    return load_config(kind, path, overrides or [])


def _print_json(report: Any) -> None:
    values = asdict(report) if is_dataclass(report) and not isinstance(report, type) else report
    sys.stdout.write(json.dumps(values, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
