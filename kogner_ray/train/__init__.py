"""Training on Ray Train: losses, optimiser, the worker loop, and the jobs for teacher and student."""
