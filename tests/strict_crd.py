"""KubeRay's custom resource definitions as strict JSON schemas: what the API server would prune is an error."""

from __future__ import annotations

import gzip
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

FOLDER = Path(__file__).parent / "schemas" / "kuberay"
_METADATA = {"name", "namespace", "labels", "annotations"}


def check_resource(resource: dict[str, Any]) -> None:
    """Hold a resource against its definition.

    Raises:
        jsonschema.ValidationError: a field is unknown, missing or of another type. Rules that are written in CEL
            (`x-kubernetes-validations`) are not looked at.
    """
    schema = strict_schema(resource["kind"])
    assert resource["apiVersion"] == "ray.io/v1"
    assert resource["metadata"].keys() <= _METADATA, resource["metadata"]
    jsonschema.Draft202012Validator(schema).validate(resource)


@cache
def strict_schema(kind: str) -> dict[str, Any]:
    """Schema of `ray.io/v1` resources of this kind, unknown fields refused."""
    file = json.loads((FOLDER / "SOURCE.json").read_text())["files"][kind]
    content = gzip.decompress((FOLDER / f"{file['name']}.gz").read_bytes())
    assert hashlib.sha256(content).hexdigest() == file["sha256"], file["name"]
    definition = yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (version,) = [v for v in definition["spec"]["versions"] if v["name"] == "v1"]
    return _strict(version["schema"]["openAPIV3Schema"])


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    strict = dict(schema)
    if "properties" in schema:
        strict["properties"] = {name: _strict(inner) for name, inner in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            strict[key] = _strict(schema[key])
    return strict
