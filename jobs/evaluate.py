"""Score a checkpoint on an annotated corpus: `python jobs/evaluate.py CHECKPOINT CORPUS... [--split test]`."""

import sys

from kogner_ray.cli import main

if __name__ == "__main__":
    sys.argv = [sys.argv[0], "evaluate", *sys.argv[1:]]
    main()
