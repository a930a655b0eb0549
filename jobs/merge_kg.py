"""Merge KGs: `python jobs/merge_kg.py KG... OUT [--collapse] [--config FILE]`."""

import sys

from kogner_ray.cli import main

if __name__ == "__main__":
    sys.argv = [sys.argv[0], "kg", "merge", *sys.argv[1:]]
    main()
