"""Print what serving installs: `python serving_requirements.py pyproject.toml > serving.txt`.

The dependencies in pyproject.toml and the embedded encoder, without what only training uses.
"""

import re
import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # CPython 3.10
    from pip._vendor import tomli as tomllib

TRAINING = {"dgl", "torchkge", "scikit-learn", "seqeval", "matplotlib"}
RAY_EXTRAS = "ray[default,serve]"


def serving_requirements(pyproject: Path) -> list[str]:
    """Requirements as in `pyproject`, sorted out; Ray with the extras that serving uses."""
    project = tomllib.loads(pyproject.read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["embedded"]]
    return [re.sub(r"^ray\[[^]]*\]", RAY_EXTRAS, line) for line in wanted if name_of(line) not in TRAINING]


def name_of(requirement: str) -> str:
    """The package's name: `ray` of `ray[serve]>=2.60`."""
    return re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


if __name__ == "__main__":
    sys.stdout.write("\n".join(serving_requirements(Path(sys.argv[1]))) + "\n")
