"""Tag a corpus: `python jobs/tag.py IN... OUT --checkpoint FOLDER [--types A,B] [--set a.b=c ...]`.

On a cluster: `ray job submit --working-dir . -- python jobs/tag.py s3://bucket/in s3://bucket/out --checkpoint ...`.
Given again, it goes on where it stopped.
"""

import sys

from kogner_ray.cli import main

if __name__ == "__main__":
    sys.argv = [sys.argv[0], "tag", *sys.argv[1:]]
    main()
