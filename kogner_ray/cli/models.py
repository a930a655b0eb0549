"""`kogner distill`, `train-teacher`, `evaluate` and `export`."""

from pathlib import Path
from typing import Annotated

import typer

from kogner_ray.cli.options import ConfigFile, Overrides, console, load, print_json
from kogner_ray.errors import ConfigError

app = typer.Typer()


@app.command()
def distill(config: ConfigFile = None, set_: Overrides = None) -> None:
    """Train a student with a KG and evaluate it; without a config, the embedded KG and corpus."""
    from kogner_ray.cluster import start_ray
    from kogner_ray.train.distill import DistillConfig
    from kogner_ray.train.distill import distill as run
    from kogner_ray.train.show import show_report

    settings = load(DistillConfig, config or Path("embedded"), set_)
    start_ray()
    show_report(run(settings), console)


@app.command("train-teacher")
def train_teacher(config: ConfigFile = None, set_: Overrides = None) -> None:
    """Train the teacher on a KG folder and write the entity table H."""
    from kogner_ray.train.teacher import TeacherConfig
    from kogner_ray.train.teacher import train_teacher as run

    print_json(run(load(TeacherConfig, config, set_)))


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
