"""Starting Ray, and the process settings that torch on a CPU needs.

On a cluster (`ray job submit`, `RAY_ADDRESS`) the entry points join it; elsewhere they start a Ray of their own with
enough logical CPUs that Train and Data do not wait for each other.
"""

from __future__ import annotations

import logging
import os
import sys

MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""glibc gives every large tensor back to the kernel and faults it in again: training is then 5 to 10 times slower."""

_DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "TOKENIZERS_PARALLELISM": "false",
}
_LOUD = {
    "ray.train": logging.WARNING,
    "ray.data": logging.ERROR,
    "ray._private.authentication": logging.ERROR,
}
_MINIMAL_CPUS = 6
_NO_PROGRESS_S = 120


def with_process_settings() -> None:
    """Start this process anew with `MALLOC` and Ray's settings in its environment, once, unless they are set already.

    Call it first thing in an entry point. glibc reads these when a process starts; setting them later has no effect.
    """
    wanted = MALLOC | _DEFAULTS
    if all(key in os.environ for key in wanted) or not sys.platform.startswith("linux"):
        return
    os.environ.update({key: value for key, value in wanted.items() if key not in os.environ})
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def start_ray(num_cpus: int | None = None) -> None:
    """Join the cluster of `RAY_ADDRESS`, or start a local Ray; does nothing when Ray runs in this process already.

    Args:
        num_cpus: logical CPUs of a local Ray; by default those of the machine, at least 6.
    """
    import ray.data  # not before it is needed: restarting a process has no use for Ray

    for name, level in _LOUD.items():
        logging.getLogger(name).setLevel(level)
    if not ray.is_initialized():
        environment = {"env_vars": MALLOC | _DEFAULTS}
        if os.environ.get("RAY_ADDRESS"):
            ray.init(runtime_env=environment, log_to_driver=True)
        else:
            ray.init(
                "local",
                num_cpus=num_cpus or max(_MINIMAL_CPUS, os.cpu_count() or 1),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                runtime_env=environment,
            )
    context = ray.data.DataContext.get_current()
    # Without this a pipeline that cannot be scheduled hangs for half an hour before it says so.
    context.execution_no_progress_timeout_s = _NO_PROGRESS_S
    context.execution_options.preserve_order = True  # a run that starts again reads what it read before
