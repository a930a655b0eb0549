"""Distil a KG into a student: `python jobs/distill.py [--config FILE] [--set a.b=c ...]`.

With no arguments it trains on the KG and corpus inside the package. On a cluster:
`ray job submit --working-dir . -- python jobs/distill.py --config kogner_ray/configs/bc5cdr.yaml`.
"""

import sys

from kogner_ray.cli import main

if __name__ == "__main__":
    sys.argv = [sys.argv[0], "distill", *sys.argv[1:]]
    main()
