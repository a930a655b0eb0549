"""Build a KG's tables and parts: `python jobs/build_kg.py [SOURCE OUTPUT] [--config FILE] [--set output=FOLDER]`.

Without a source it builds the KG inside the package; `--set partition.n_parts=8` also cuts it into parts.
"""

import sys

from kogner_ray.cli import main

if __name__ == "__main__":
    sys.argv = [sys.argv[0], "kg", "build", *sys.argv[1:]]
    main()
