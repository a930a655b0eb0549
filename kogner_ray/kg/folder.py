"""Output folders that appear whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kogner_ray.errors import CheckpointError


@contextmanager
def whole_folder(target: str | Path, *, marker: str | None = None) -> Iterator[Path]:
    """Yield an empty folder to write into; when the block ends well it becomes `target`.

    An older `target` is replaced; with `marker`, only if it is empty or holds that file, by which it is known to be an
    output of this kind.

    Raises:
        CheckpointError: `target` is something else, or cannot be written (no permission, full disk). It is then as it
            was before.
    """
    final = Path(target).resolve()
    if marker is not None:
        _refuse_foreign(final, marker)
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


def _refuse_foreign(final: Path, marker: str) -> None:
    if not final.exists() or (final / marker).is_file():
        return
    if not final.is_dir() or any(final.iterdir()):
        raise CheckpointError(
            f"{final}: expected a new or empty folder, or an older output with {marker}; nothing written"
        )
