"""Every error a user can cause, as a type.

A message says what is wrong, where (file and line when there is one), what was expected and what was found.
"""

from __future__ import annotations


class KognerError(Exception):
    """Base of all errors raised on purpose by this package."""


class ConfigError(KognerError):
    """A configuration key or value that is unknown, missing or out of range."""


class DataError(KognerError):
    """An input file or record that does not hold what its format promises.

    Attributes:
        path: the file (a path, or a `Source`, whose `str` is its URI), or None when the record came from memory.
        line: 1-based line (or record) number, or None.
    """

    def __init__(self, message: str, *, path: object = None, line: int | None = None) -> None:
        """Prefix `message` with `path:line:` as far as they are known."""
        self.message, self.path, self.line = message, path, line
        where = "" if path is None else f"{path}:" if line is None else f"{path}:{line}:"
        super().__init__(f"{where} {message}" if where else message)

    def located(self, path: object, line: int | None = None) -> DataError:
        """The same error with the place that its raiser could not know."""
        return type(self)(self.message, path=self.path or path, line=self.line or line)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling, so that the error crosses a Ray worker's boundary whole."""
        return _rebuild_data_error, (type(self), self.message, self.path, self.line)


class UnreadableRest(DataError):
    """From here on, a file cannot be read: how many records are missing is not known."""


class UnsupportedAnnotation(DataError):
    """An annotation that a format or model cannot hold (nested, overlapping, discontinuous), refused by name."""


class DownloadError(KognerError):
    """A catalog file that could not be fetched, or whose sha256 is not the catalog's."""


class CheckpointError(KognerError):
    """A checkpoint or entity-table folder that is incomplete, of another version, or cannot be written."""


class OutputError(KognerError):
    """An output folder that is something else's, is damaged, or cannot be read or written."""


class TooManyFailures(KognerError):
    """A run stopped because more of its documents failed than it may take."""


class EncoderNotFound(ConfigError):
    """A pretrained encoder that is neither installed, nor a local folder, nor reachable on the hub."""


def quoted(value: object, *, limit: int = 60) -> str:
    """`repr(value)`, cut to `limit` characters, for a message about input of any size."""
    text = repr(value[: limit + 1] if isinstance(value, str) else value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _rebuild_data_error(kind: type[DataError], message: str, path: object, line: int | None) -> DataError:
    return kind(message, path=path, line=line)
