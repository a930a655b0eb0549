"""`python -m kogner_ray.cli`."""

from kogner_ray.cli import main

if __name__ == "__main__":
    main()
