"""Every error that CARS raises on purpose.

    CarsError                 has .hint: what to do about it
    ├── DataError             a file, row or value of the user's data is wrong
    │   └── FilmError         one film cannot be decoded
    ├── SettingError          a setting, flag or plug-in name is wrong
    ├── WorkspaceError        no workspace there, or a stage has not run yet
    ├── MissingDependency     an optional package or weight file is absent
    ├── ResourceError         disk full, out of memory
    └── Cancelled             the job was asked to stop

The command line prints `message` and `hint` without a traceback; pages show both.
"""

from __future__ import annotations


class CarsError(Exception):
    """An error with a sentence that says what is wrong and a hint that says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class DataError(CarsError):
    """A file, row or value of the user's data is wrong; the message quotes it."""


class FilmError(DataError):
    """One film cannot be decoded; `reason` is a short phrase for the quarantine table."""

    def __init__(self, message: str, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint)
        self.reason = reason or message


class SettingError(CarsError):
    """A setting, flag or plug-in name is wrong; the message quotes it and the allowed ones."""


class WorkspaceError(CarsError):
    """There is no workspace at that place, or a stage that this one needs has not run."""


class MissingDependency(CarsError):
    """An optional package or a weight file is absent; the hint says how to get it."""


class ResourceError(CarsError):
    """The disk is full or memory ran out; nothing already made is lost."""


class Cancelled(CarsError):
    """The job was asked to stop."""
