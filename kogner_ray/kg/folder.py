"""Output folders that appear whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kogner_ray.errors import CheckpointError


@contextmanager
def whole_folder(target: str | Path) -> Iterator[Path]:
    """Yield an empty folder to write into; when the block ends well it becomes `target`, replacing an older one.

    Raises:
        CheckpointError: the folder cannot be written (no permission, full disk); `target` is then as it was.
    """
    final = Path(target)
    partial, older = (final.with_name(f".{final.name}.{state}") for state in ("partial", "older"))
    try:
        for leftover in (partial, older):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        # The old folder steps aside first: it is there to go back to until the new one has its name.
        if final.exists():
            final.rename(older)
        partial.rename(final)
    except OSError as error:
        if older.exists() and not final.exists():
            older.rename(final)
        raise CheckpointError(f"{final}: the folder could not be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(older, ignore_errors=True)
