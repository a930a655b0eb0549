"""Train the teacher: `python jobs/train_teacher.py --set kg=FOLDER --set output=FOLDER [--config FILE]`."""

import sys

from kogner_ray.cli import main

if __name__ == "__main__":
    sys.argv = [sys.argv[0], "train-teacher", *sys.argv[1:]]
    main()
