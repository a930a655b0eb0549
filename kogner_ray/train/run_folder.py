"""A run's folder: claimed by one set of settings, its small files written whole."""

from __future__ import annotations

from pathlib import Path

import yaml

from kogner_ray.config import Config, differences
from kogner_ray.errors import CheckpointError, ConfigError


def claim(folder: Path, config: Config) -> None:
    """Write `folder/config.yaml`, or make sure that the one there asks for the same.

    Raises:
        ConfigError: the folder was made with other settings; names them.
        CheckpointError: the folder cannot be written, or its config.yaml cannot be read.
    """
    wanted = config.model_dump(mode="json")
    path = folder / "config.yaml"
    if not path.is_file():
        write_text(yaml.safe_dump(wanted, sort_keys=False), path)
        return
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    different = sorted(differences(wanted, found))
    if different:
        raise ConfigError(
            f"{path}: this run folder was made with other settings of {', '.join(different)}; "
            "give the same ones to go on with it, or another output"
        )


def write_text(text: str, path: Path) -> None:
    """Write a file, whole or not at all, and its folder where there is none.

    Raises:
        CheckpointError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from error
