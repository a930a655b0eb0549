"""What a distillation run prints when it ends: the scores side by side, and a tagged, linked example."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from kogner_ray.evaluate import comparison_table
from kogner_ray.tagger import Tagger
from kogner_ray.train.distill import DistillReport

EXAMPLE = (
    "Metformin lowered fasting glucose in women with polycystic ovary syndrome, but caused nausea and lactic acidosis."
)
_COLOURS = ("green", "magenta", "cyan", "yellow", "blue", "red")


def show_report(report: DistillReport, console: Console) -> None:
    """Print the table of scores, the checkpoint's place, and one example sentence."""
    name = "student" if report.coverage is None else "with KG"
    scores = {name: report.test, "without KG": report.baseline}
    found = {name: evaluation for name, evaluation in scores.items() if evaluation is not None}
    if found:
        console.print(comparison_table(found))
        for name, evaluation in found.items():
            if evaluation.report.micro_interval is not None:
                low, high = evaluation.report.micro_interval
                console.print(
                    f"{name}: F1 {100 * evaluation.report.micro.f1:.1f} (95 % {100 * low:.1f}-{100 * high:.1f})"
                )
    census = ", ".join(f"{count} {name}" for name, count in sorted(report.census.items()))
    console.print(f"training annotations: {census}", highlight=False)
    show_example(Tagger.load(report.checkpoint), EXAMPLE, console)
    console.print(f"checkpoint: {report.checkpoint}", highlight=False, soft_wrap=True)


def show_example(tagger: Tagger, text: str, console: Console) -> None:
    """Print `text` with its entities coloured, and their KG entries below."""
    entities = tagger.tag(text)
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(tagger.types)}
    shown = Text(text)
    for entity in entities:
        shown.stylize(f"bold {colours[entity.type]}", entity.start, entity.end)
    console.print(shown)
    for entity in entities:
        linked = "not linked" if entity.kg_id is None else f"{entity.kg_id} ({entity.kg_name}, {entity.link_score:.2f})"
        console.print(
            f"  [{colours[entity.type]}]{entity.type:10}[/] {entity.text}  {entity.score:.2f}  -> {linked}",
            highlight=False,
        )
