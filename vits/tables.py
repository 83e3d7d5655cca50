"""Tables of settings files, TOML or JSON, whose values are checked as they are read.

Every refusal is one line: the file, the table in it, the key, the value found and what was expected.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn

TOP_LEVEL = "top level"
"""How messages call the table that is the whole file."""

LONGEST_VALUE = 60
"""How many characters of a value a message shows; the rest is cut off."""


class Table:
    """One table of a file, read key by key; `end` refuses the keys that were not read."""

    def __init__(self, path: Path, where: str, values: object, error: type[Exception]) -> None:
        """Take the table that messages call `where`; refusals are raised as `error`."""
        self.path = path
        self.where = where
        self._error = error
        if not isinstance(values, dict):
            raise error(f"{path}: {where} = {_shown(values)}: expected a table")
        self.values: Mapping[str, Any] = values
        self._known: dict[str, None] = {}

    def fail(self, key: str, expected: str) -> NoReturn:
        """Raise the error about one key."""
        found = _shown(self.values[key]) if key in self.values else "(missing)"
        raise self._error(f"{self.path}: {self.where}: {key} = {found}: expected {expected}")

    def get(self, key: str) -> Any:
        """Return the value as it is, or None."""
        self._known[key] = None
        return self.values.get(key)

    def take(self, key: str, kind: type | UnionType, default: object, expected: str) -> Any:
        """Return the value, which must be of that kind, or the default. A bool is no number."""
        self._known[key] = None
        if key not in self.values:
            return default
        value = self.values[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fail(key, expected)
        return value

    def table(self, key: str) -> "Table":
        """Return the table within."""
        expected = "a table"
        values = self.take(key, dict, None, expected)
        if values is None:
            self.fail(key, expected)
        return Table(self.path, key if self.where == TOP_LEVEL else f"{self.where}.{key}", values, self._error)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        """Return true or false. Here as below, a key without a default is required."""
        expected = "true or false"
        value: bool | None = self.take(key, bool, default, expected)
        return self.fail(key, expected) if value is None else value

    def integer(self, key: str, low: int = 1, high: int | None = None, *, default: int | None = None) -> int:
        """Return a whole number of at least `low` and at most `high`."""
        expected = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"
        value: int | None = self.take(key, int, default, expected)
        if value is None or value < low or (high is not None and value > high):
            self.fail(key, expected)
        return value

    def number(self, key: str, low: float, high: float) -> float | None:
        """Return a number from `low` to `high`, or None where the key is missing."""
        expected = f"a number from {low:g} to {high:g}"
        value: float | None = self.take(key, int | float, None, expected)
        if value is None or low <= value <= high:
            return value
        self.fail(key, expected)

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """Return one of `choices`, the first being the default."""
        expected = "one of " + ", ".join(choices)
        value: str = self.take(key, str, choices[0], expected)
        return value if value in choices else self.fail(key, expected)

    def file(self, key: str) -> Path:
        """Return the path of a file that exists, given relative to the folder of this one."""
        expected = "the path of a file, relative to " + self.path.name
        value: str | None = self.take(key, str, None, expected)
        if value is None:
            self.fail(key, expected)
        path = self.path.parent / value
        try:
            exists = path.is_file()
        except OSError as error:  # a name that is too long, or a folder that may not be entered
            self.fail(key, f"{expected}; {error.strerror}")
        return path if exists else self.fail(key, f"{expected}; there is none at {path}")

    def existing(self, key: str) -> Path | None:
        """Return the path of a file or folder that exists, given relative to the folder of this one, or None."""
        expected = "the path of a file or folder, relative to " + self.path.name
        value: str | None = self.take(key, str, None, expected)
        if value is None:
            return None
        path = self.path.parent / value
        try:
            exists = path.exists()
        except OSError as error:  # a name that is too long, or a folder that may not be entered
            self.fail(key, f"{expected}; {error.strerror}")
        return path if exists else self.fail(key, f"{expected}; there is none at {path}")

    def matching(self, key: str, pattern: str, expected: str) -> tuple[str, ...]:
        """Return a list of strings that match a regular expression, empty by default."""
        values: list[object] = self.take(key, list, [], expected)
        for value in values:
            if not isinstance(value, str) or not re.fullmatch(pattern, value):
                self.fail(key, expected)
        return tuple(map(str, values))

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of strings that is not empty."""
        values = self.get(key)
        if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
            self.fail(key, "a list of strings")
        return tuple(values)

    def integers(self, key: str, high: int, most: int) -> tuple[int, ...]:
        """Return a list of 1 to `most` whole numbers from 1 to `high`."""
        values = self.get(key)
        if not _are_within(values, high, most):
            self.fail(key, f"a list of 1 to {most} whole numbers from 1 to {high}")
        return tuple(values)

    def lists(self, key: str, high: int, most: int) -> tuple[tuple[int, ...], ...]:
        """Return a list of at most `most` lists, each of 1 to `most` whole numbers from 1 to `high`."""
        rows = self.get(key)
        if not isinstance(rows, list) or len(rows) > most or not all(_are_within(row, high, most) for row in rows):
            self.fail(key, f"a list of at most {most} lists of 1 to {most} whole numbers from 1 to {high}")
        return tuple(map(tuple, rows))

    def end(self) -> None:
        """Refuse the keys that were not read."""
        for key in self.values:
            if key not in self._known:
                self.fail(key, "none: unknown key; known are " + ", ".join(self._known))


def is_whole(value: object, low: int) -> bool:
    """Whether a value is a whole number of at least `low`; a bool is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _are_within(values: object, high: int, most: int) -> bool:
    return isinstance(values, list) and 0 < len(values) <= most and all(is_whole(v, 1) and v <= high for v in values)


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or tables within tables within tables
        return f"({type(value).__name__})"
    return shown if len(shown) <= LONGEST_VALUE else f"{shown[: LONGEST_VALUE - 3]}..."
