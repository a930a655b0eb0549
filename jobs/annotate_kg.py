"""Annotate raw text by a KG's names: `python jobs/annotate_kg.py KG RAW... OUT [--types A,B] [--gold FILE]`.

A report with counts, and strict scores on the gold sample, lies beside the output as `OUT.report.json`.
"""

import sys

from kogner_ray.cli import main

if __name__ == "__main__":
    sys.argv = [sys.argv[0], "kg", "annotate", *sys.argv[1:]]
    main()
