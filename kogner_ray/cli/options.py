"""What the commands share: options, settings from files, the console."""

import json
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from kogner_ray.config import Config, load_config

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file; defaults without one.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: --set train.epochs=3 (repeatable).")
]
ConfigT = TypeVar("ConfigT", bound=Config)

# Tables that go into a file or a pipe are not squeezed into 80 columns.
console = Console(width=None if sys.stdout.isatty() else 160)


def load(kind: type[ConfigT], path: Path | None, overrides: list[str] | None) -> ConfigT:
    """Settings from a file, or from one that comes with the package by its name, and from `--set`."""
    shipped = Path(__file__).parents[1] / "configs" / f"{path}.yaml"
    if path is not None and not path.is_file() and shipped.is_file():
        path = shipped
    return load_config(kind, path, overrides or [])


def print_json(report: Any) -> None:
    """A report on standard output."""
    values = asdict(report) if is_dataclass(report) and not isinstance(report, type) else report
    sys.stdout.write(json.dumps(values, indent=2, default=str) + "\n")
