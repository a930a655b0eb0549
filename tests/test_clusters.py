"""Files of `clusters/`, each against its real schema and against the code: typo'd keys and dead paths are found."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator
from typing import Any, get_type_hints

import jsonschema
import pytest
import yaml
from cluster_files import KUBERAY, ROOT, altered, cluster_of, kuberay, load
from strict_crd import check_resource
from strict_serve import check_serve_config

RAY_UP = ["local", "aws-gpu", "gcp-gpu"]


# ---- ray up


def check_ray_up(config: dict[str, Any]) -> dict[str, Any]:
    """The config with Ray's defaults filled in, as `ray up` would use it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_up_takes_the_file(name: str) -> None:
    prepared = check_ray_up(load(name))
    for key, local in prepared["file_mounts"].items():
        assert key == "~/kogner_ray"
        assert (ROOT / local / "pyproject.toml").is_file()
    for filtered in prepared["rsync_filter"]:
        assert (ROOT / filtered).is_file()
    for commands in ("head_setup_commands", "worker_setup_commands"):
        assert any('pip install "$HOME/kogner_ray[embedded]"' in command for command in prepared[commands]), commands


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_starts_on_every_node_with_options_that_it_has(name: str) -> None:
    from ray.scripts.scripts import start

    known = {option for parameter in start.params for option in parameter.opts}
    for role in ("head", "worker"):
        command = load(name)[f"{role}_start_ray_commands"][-1]
        used = set(re.findall(r"--[a-z-]+", command))
        assert used <= known
        assert ("--head" in used) == (role == "head")
        assert ("--autoscaling-config" in used) == (role == "head")
        assert "RAY_AUTH_MODE=" in command


@pytest.mark.parametrize("name", ["aws-gpu", "gcp-gpu"])
def test_clouds_begin_with_a_head_alone_and_add_spot_workers(name: str) -> None:
    config = load(name)
    types = dict(config["available_node_types"])
    assert types.pop(config["head_node_type"])["resources"] == {"CPU": 0}
    assert [t for t in types.values() if t["resources"].get("GPU")]
    for worker in types.values():
        node = worker["node_config"]
        assert worker["min_workers"] == 0 < worker["max_workers"] <= config["max_workers"]
        assert node.get("InstanceMarketOptions", {}).get("MarketType") == "spot" or (
            node.get("scheduling", {}).get("provisioningModel") == "SPOT"
        )


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("local", "setup_comands", []),
        ("local", "auth.ssh_usr", "ubuntu"),
        ("aws-gpu", "idle_timeout", 5),
        ("aws-gpu", "available_node_types.gpu.min_worker", 0),
        ("aws-gpu", "available_node_types.gpu.resources.GPU", "1"),
        ("aws-gpu", "available_node_types.gpu.min_workers", 99),
        ("gcp-gpu", "head_node_type", "haed"),
        ("gcp-gpu", "docker", {"imge": "x"}),
    ],
)
def test_ray_up_refuses_what_is_wrong(name: str, path: str, value: Any) -> None:
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        check_ray_up(altered(load(name), path, value))


# ---- Serve


def serve_configs() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "serve", load("serve")
    yield "rayservice", yaml.safe_load(kuberay("rayservice")["spec"]["serveConfigV2"])


@pytest.mark.parametrize(("name", "config"), serve_configs())
def test_serve_takes_the_config(name: str, config: dict[str, Any]) -> None:
    checked = check_serve_config(config)
    # A laptop's service is for the laptop; a pod's must be reached by its Service.
    assert checked.http_options.host == {"serve": "127.0.0.1", "rayservice": "0.0.0.0"}[name]
    assert checked.http_options.port == 8000
    (application,) = checked.applications
    assert application.import_path == "kogner_ray.serve:app"
    assert application.deployment_names == ["Service"]


@pytest.mark.parametrize(("name", "config"), serve_configs())
def test_the_application_is_there_and_has_these_arguments(name: str, config: dict[str, Any]) -> None:
    module = pytest.importorskip("kogner_ray.serve")
    (application,) = config["applications"]
    builder = getattr(module, application["import_path"].partition(":")[2])
    (parameter,) = inspect.signature(builder).parameters
    arguments = get_type_hints(builder)[parameter]
    assert application["args"].keys() <= arguments.model_fields.keys()
    arguments.model_validate(application["args"])
    (deployment,) = application["deployments"]
    assert builder(arguments())._bound_deployment.name == deployment["name"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("http_option", {}),
        ("http_options.hots", "127.0.0.1"),
        ("http_options.port", "eight"),
        ("logging_config.levl", "INFO"),
        ("applications.0.import_pth", "a:b"),
        ("applications.0.host", "127.0.0.1"),
        ("applications.0.runtime_env", {"env_var": {}}),
        ("applications.0.deployments.0.max_ongoing_request", 3),
        ("applications.0.deployments.0.num_replicas", 2),
        ("applications.0.deployments.0.autoscaling_config.max_replica", 3),
        ("applications.0.deployments.0.ray_actor_options.num_cpu", 1),
    ],
)
def test_serve_configs_with_a_typo_are_refused(path: str, value: Any) -> None:
    with pytest.raises(ValueError):
        check_serve_config(altered(load("serve"), path, value))


# ---- KubeRay


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_takes_the_resource(name: str) -> None:
    check_resource(kuberay(name))


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("raycluster", "spec.enableInTreeAutoscalling", True),
        ("raycluster", "spec.autoscalerOptions.version", "v3"),
        ("raycluster", "spec.upgradeStrategy.type", "NewCluster"),
        ("raycluster", "spec.workerGroupSpecs.0.maxReplica", 3),
        ("raycluster", "spec.headGroupSpec.resources.CPU", 0),
        ("rayjob-distill", "spec.backofLimit", 1),
        ("rayjob-distill", "spec.shutdownAfterJobFinishes", "yes"),
        ("rayjob-distill", "spec.rayClusterSpec.headGroupSpec.template.spec.container", []),
        ("rayservice", "spec.serveConfig", ""),
        ("rayservice", "spec.rayClusterConfig.headGroupSpec.template.spec.containers.0.ports.0.port", 1),
        ("rayservice", "metadata.lables", {}),
    ],
)
def test_kuberay_resources_with_a_typo_are_refused(name: str, path: str, value: Any) -> None:
    with pytest.raises((jsonschema.ValidationError, AssertionError)):
        check_resource(altered(kuberay(name), path, value))


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_clusters_scale_with_todays_fields_and_no_work_on_the_head(name: str) -> None:
    cluster = cluster_of(name)
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["headGroupSpec"]["resources"] == {"CPU": "0"}
    assert cluster["authOptions"] == {"mode": "token"}
    for worker in cluster["workerGroupSpecs"]:
        assert worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]


def test_each_kind_ends_or_upgrades_as_it_should() -> None:
    assert kuberay("raycluster")["spec"]["upgradeStrategy"] == {"type": "Recreate"}
    assert kuberay("rayservice")["spec"]["upgradeStrategy"] == {"type": "NewCluster"}
    job = kuberay("rayjob-distill")["spec"]
    assert job["backoffLimit"] > 0
    assert job["shutdownAfterJobFinishes"] is True
