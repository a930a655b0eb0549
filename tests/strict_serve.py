"""Ray Serve's config schema, with the keys refused that Serve passes over in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from ray.runtime_env import RuntimeEnv
from ray.serve.schema import ServeDeploySchema


def check_serve_config(config: Mapping[str, Any]) -> ServeDeploySchema:
    """The config as Serve understands it.

    Raises:
        ValueError: Serve refuses it, or a key at any level is not Serve's.
    """
    unknown = list(unknown_keys(ServeDeploySchema, config, "config"))
    if unknown:
        raise ValueError(f"unknown keys: {', '.join(unknown)}")
    return ServeDeploySchema.model_validate(dict(config))


def unknown_keys(model: type[BaseModel], value: Any, path: str) -> Iterator[str]:
    """Paths of keys that `model` and the models of its fields do not have."""
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        field = model.model_fields.get(key)
        if field is None:
            yield f"{path}.{key}"
        elif key == "runtime_env":
            yield from (f"{path}.{key}.{name}" for name in inner if name not in RuntimeEnv.known_fields)
        else:
            for nested in models_in(field.annotation):
                yield from _in_items(nested, inner, f"{path}.{key}")


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that `annotation` names: in `Optional[Union[dict, M]]` and `list[M]`, M."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def _in_items(model: type[BaseModel], value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        for number, item in enumerate(value):
            yield from unknown_keys(model, item, f"{path}[{number}]")
    else:
        yield from unknown_keys(model, value, path)
