"""Build a knowledge graph: config -> canonical tables and parts -> a report as JSON.

python jobs/build_kg.py --set output=kg
python jobs/build_kg.py --set source=hetionet/ --set output=kg --set partition.n_parts=8
ray job submit --working-dir . -- python jobs/build_kg.py --config build_kg.yaml
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from kogner_ray.config import load_config
from kogner_ray.errors import KognerError
from kogner_ray.kg.build import BuildKgConfig, build_kg


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="YAML file with the settings of BuildKgConfig")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    arguments = parser.parse_args(argv)
    try:
        report = build_kg(load_config(BuildKgConfig, arguments.config, arguments.set))
    except KognerError as error:
        sys.exit(f"build_kg: {error}")
    print(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
