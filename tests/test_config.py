"""Strict settings: unknown keys, wrong values, overrides, and every shipped configuration."""

from pathlib import Path

import pytest

from kogner_ray.config import load_config
from kogner_ray.errors import ConfigError
from kogner_ray.train.distill import DistillConfig

CONFIGS = sorted((Path(__file__).parents[1] / "kogner_ray" / "configs").glob("*.yaml"))


def test_unknown_key_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'student\.max_widht'; did you mean 'max_width'\?"):
        load_config(DistillConfig, overrides=["student.max_widht=8"])


def test_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("train: {epochs: many}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml: train\.epochs: .*'many'"):
        load_config(DistillConfig, path)


@pytest.mark.parametrize("text", ["- a\n", "a: [", "3\n"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_config(DistillConfig, path)


def test_overrides_win_and_numbers_like_1e_5_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("train: {epochs: 2, optim: {encoder_lr: 1e-5}}\n", encoding="utf-8")
    config = load_config(DistillConfig, path, ["train.epochs=7", "train.optim.lr=2e-3"])
    assert (config.train.epochs, config.train.optim.encoder_lr, config.train.optim.lr) == (7, 1e-5, 2e-3)


@pytest.mark.parametrize("override", ["train.epochs", "=3", "train.epochs.deep=1", "train.epochs=["])
def test_malformed_overrides_are_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        load_config(DistillConfig, overrides=["train.epochs=1", override])


def test_there_are_shipped_configs() -> None:
    assert {path.stem for path in CONFIGS} == {"embedded", "bc5cdr", "ncbi-disease"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_load(path: Path) -> None:
    config = load_config(DistillConfig, path)
    assert config.output.name == path.stem
    assert config.corpus.name == path.stem
