"""The exceptions that a user is meant to read: input that can be mended, and failures at run time."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ConfigError(ValueError):
    """Bad usage or configuration, found before any work started.

    The message is one sentence that names the field, the value given and the fix.
    The command line prints it and exits with status 2.
    """


class RunError(RuntimeError):
    """A failure at run time that a user can understand: a full disk, a cluster that is not there.

    The message is one sentence; the command line prints it and exits with status 1.
    """


def unknown_name(field: str, given: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that is not registered; it offers the nearest names.

    Args:
        field: what was being named, e.g. ``scenario`` or ``link``.
        given: the name that was not found.
        known: all names that would have been accepted.
    """
    names = sorted(known)
    near = get_close_matches(given, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"{field} {given!r} is not known: {hint}choose one of {', '.join(names)}")
