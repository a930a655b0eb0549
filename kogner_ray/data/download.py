"""One file over HTTP(S) or `file://`: resumed where it broke off, checked by size and sha256, never half-written."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from kogner_ray.data.files import file_sha256
from kogner_ray.errors import DownloadError

_CHUNK = 1 << 16
_TIMEOUT_S = 30
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_RANGE_REFUSED = 416


@dataclass(frozen=True, slots=True)
class Download:
    """What to fetch.

    Attributes:
        url: `https://`, `http://` or `file://`.
        target: where it goes; while under way it is `target` with `.partial` at its end.
        n_bytes: its exact size.
        sha256: of its content, hexadecimal.
    """

    url: str
    target: Path
    n_bytes: int
    sha256: str

    @property
    def partial(self) -> Path:
        """Where the bytes so far are."""
        return self.target.with_name(self.target.name + ".partial")

    def is_done(self) -> bool:
        """Whether the target is there with the right content."""
        return (
            self.target.is_file()
            and self.target.stat().st_size == self.n_bytes
            and file_sha256(self.target) == self.sha256
        )

    def run(
        self, on_progress: Callable[[int], object] | None = None, *, attempts: int = 4, wait_s: float = 0.5
    ) -> Path:
        """Fetch the file, going on with what an earlier run left.

        Args:
            on_progress: called with the bytes so far.
            attempts: tries in a row without a new byte, after which it gives up; what came is kept for the next run.
            wait_s: seconds before the second try, doubled before each further one.

        Returns:
            `target`.

        Raises:
            DownloadError: the server refuses or keeps failing, the content is not the expected one (nothing is kept),
                or the folder does not take it.
        """
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DownloadError(f"{self.target}: cannot be written: {error.strerror or error}") from error
        resumed = self._size() > 0
        while True:
            self._fetch(on_progress or (lambda _: None), attempts=attempts, wait_s=wait_s)
            found = file_sha256(self.partial) if self.partial.exists() else "nothing"
            if found == self.sha256:
                self.partial.replace(self.target)
                return self.target
            self.partial.unlink(missing_ok=True)
            if not resumed:
                raise DownloadError(f"{self.url}: expected sha256 {self.sha256}, got {found}; nothing was kept")
            resumed = False  # what an earlier run left may have been of another file: once more from the start

    def _fetch(self, on_progress: Callable[[int], object], *, attempts: int, wait_s: float) -> None:
        failures = 0
        while (have := self._size()) < self.n_bytes:
            try:
                self._receive(have, on_progress)
                problem = "the connection was closed early"
            except HTTPError as error:
                if error.code == _RANGE_REFUSED:
                    return  # the server's file ends before ours should
                problem = f"HTTP {error.code} {error.reason}"
                if error.code not in _TRY_AGAIN:
                    raise DownloadError(f"{self.url}: {problem}") from error
            except (OSError, http.client.HTTPException) as error:
                problem = str(error) or type(error).__name__
            failures = 0 if self._size() > have else failures + 1
            if failures >= attempts or (failures and self.url.startswith("file:")):
                raise DownloadError(
                    f"{self.url}: {problem}; got {self._size()} of {self.n_bytes} bytes, kept for the next try"
                )
            time.sleep(wait_s * 2 ** (failures - 1) if failures else 0)

    def _receive(self, have: int, on_progress: Callable[[int], object]) -> None:
        headers = {"User-Agent": "kogner_ray"} | ({"Range": f"bytes={have}-"} if have else {})
        with urlopen(Request(self.url, headers=headers), timeout=_TIMEOUT_S) as response:
            goes_on = str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-")
            done = have if goes_on else 0
            with self._open(append=goes_on) as file:
                while done <= self.n_bytes and (chunk := response.read(_CHUNK)):  # one more byte is proof enough
                    self._write(file, chunk)
                    done += len(chunk)
                    on_progress(done)

    def _open(self, *, append: bool) -> FileIO:
        try:
            return FileIO(self.partial, "ab" if append else "wb")
        except OSError as error:
            raise DownloadError(f"{self.partial}: cannot be written: {error.strerror or error}") from error

    def _write(self, file: FileIO, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:
            raise DownloadError(f"{self.partial}: cannot be written: {error.strerror or error}") from error

    def _size(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0
