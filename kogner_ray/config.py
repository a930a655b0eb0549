"""Strict, frozen configuration values, read from YAML and overridden by `--set a.b=c`.

Each part of the system declares its own settings beside what it builds, as a subclass of `Config`. An unknown key stops
the run and names the nearest known one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from kogner_ray.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound="Config")


class Config(BaseModel):
    """Base of every settings class: frozen, and strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def load_config(kind: type[ConfigT], path: str | Path | None = None, overrides: Iterable[str] = ()) -> ConfigT:
    """Read `kind` from a YAML file (defaults without one) and apply `a.b=value` overrides.

    Raises:
        ConfigError: the file is missing or no YAML mapping, a key is unknown (with a suggestion), or a value is wrong.
    """
    values = {} if path is None else _read_yaml(Path(path))
    for override in overrides:
        _set(values, override)
    return make_config(kind, values, where="" if path is None else f"{path}: ")


def make_config(kind: type[ConfigT], values: Mapping[str, Any], *, where: str = "") -> ConfigT:
    """Validate `values` as `kind`; `where` prefixes the error."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(where + "; ".join(_explain(kind, item) for item in error.errors())) from error


def differences(wanted: object, found: object, key: str = "") -> Iterator[str]:
    """Dotted keys at which two trees of settings differ."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in wanted.keys() | found.keys():
            yield from differences(wanted.get(name), found.get(name), f"{key}.{name}" if key else name)
    elif wanted != found:
        yield key or "everything"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, found {type(values).__name__}")
    return values


def _set(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {override!r}: expected key=value, such as train.epochs=3")
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override!r}: {parent!r} is a value, not a group of settings")
    try:
        values[leaf] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not YAML: {error}") from error


def _explain(kind: type[Config], item: Any) -> str:
    *parents, leaf = [str(part) for part in item["loc"]] or [""]
    dotted = ".".join([*parents, leaf])
    if item["type"] == "extra_forbidden":
        known = list(_fields_at(kind, parents))
        near = difflib.get_close_matches(leaf, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {dotted!r}; {hint}"
    return f"{dotted}: {item['msg']}, got {item['input']!r}"


def _fields_at(kind: type[BaseModel], parents: list[str]) -> Iterable[str]:
    for parent in parents:
        field = kind.model_fields.get(parent)
        inner = None if field is None else _model_in(field.annotation)
        if inner is None:
            continue
        kind = inner
    return kind.model_fields


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)
