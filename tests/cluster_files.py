"""The files of `clusters/`, read, and the parts of KubeRay's that tests look at."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CLUSTERS = ROOT / "clusters"
KUBERAY = ["raycluster", "rayjob-distill", "rayservice"]
_CLUSTER_SPEC = {"rayjob-distill": "rayClusterSpec", "rayservice": "rayClusterConfig"}


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((CLUSTERS / f"{name}.yaml").read_text())


def kuberay(name: str) -> dict[str, Any]:
    return load(f"kuberay/{name}")


def cluster_of(name: str) -> dict[str, Any]:
    """The RayCluster spec within a KubeRay file."""
    spec = kuberay(name)["spec"]
    return spec[_CLUSTER_SPEC[name]] if name in _CLUSTER_SPEC else spec


def groups(name: str) -> list[dict[str, Any]]:
    cluster = cluster_of(name)
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def pod(group: dict[str, Any]) -> dict[str, Any]:
    return group["template"]["spec"]


def container(group: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod(group)["containers"]
    return only


def altered(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with `value` at the dotted path; numbers are positions in lists."""
    config = copy.deepcopy(config)
    *parents, last = path.split(".")
    inner: Any = config
    for key in parents:
        inner = inner[int(key) if isinstance(inner, list) else key]
    inner[last] = value
    return config
