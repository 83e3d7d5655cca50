"""The checked reader of settings: what a table gives, and the one line in which it refuses."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from vits.tables import TOP_LEVEL, Table

PATH = Path("folder/settings.toml")


class Refused(Exception):
    """What these tables raise."""


def table(where: str = "[server]", **values: object) -> Table:
    return Table(PATH, where, values, Refused)


def test_values_come_as_they_are_written() -> None:
    read = table(on=True, n=3, x=0.5, name="b", names=["a"], sizes=[1, 2], rows=[[1], [2, 3]])
    assert read.boolean("on")
    assert read.integer("n", 1, 3) == 3
    assert read.number("x", 0, 1) == 0.5
    assert read.choice("name", ("a", "b")) == "b"
    assert read.strings("names") == ("a",)
    assert read.integers("sizes", 2, 2) == (1, 2)
    assert read.lists("rows", 3, 2) == ((1,), (2, 3))
    read.end()


def test_what_is_missing_has_its_default() -> None:
    read = table()
    assert read.boolean("on", default=False) is False
    assert read.integer("n", default=7) == 7
    assert read.number("x", 0, 1) is None
    assert read.choice("name", ("a", "b")) == "a"
    assert read.get("other") is None


REFUSALS: list[tuple[Callable[[Table], object], object, str]] = [
    (lambda read: read.boolean("key"), 1, "key = 1: expected true or false"),
    (lambda read: read.integer("key"), True, "key = True: expected a whole number of at least 1"),
    (lambda read: read.integer("key", low=0), -1, "key = -1: expected a whole number of at least 0"),
    (lambda read: read.integer("key", 1, 9), 10, "key = 10: expected a whole number from 1 to 9"),
    (lambda read: read.integer("key", default=1), None, "key = None: expected a whole number of at least 1"),
    (lambda read: read.number("key", 0, 2), float("nan"), "key = nan: expected a number from 0 to 2"),
    (lambda read: read.number("key", 0.25, 4), "1", "key = '1': expected a number from 0.25 to 4"),
    (lambda read: read.choice("key", ("a", "b")), "c", "key = 'c': expected one of a, b"),
    (lambda read: read.strings("key"), ["a", 1], "key = ['a', 1]: expected a list of strings"),
    (lambda read: read.integers("key", 9, 2), [0], "key = [0]: expected a list of 1 to 2 whole numbers from 1 to 9"),
    (lambda read: read.integers("key", 9, 2), [10], "key = [10]: expected a list of 1 to 2 whole numbers from 1 to 9"),
    (lambda read: read.integers("key", 9, 2), [1, 1, 1], "key = [1, 1, 1]: expected a list of 1 to 2 whole numbers"),
    (lambda read: read.lists("key", 9, 2), [[1], []], "key = [[1], []]: expected a list of at most 2 lists of 1 to 2"),
    (lambda read: read.lists("key", 9, 1), [[1], [1]], "key = [[1], [1]]: expected a list of at most 1 lists of 1"),
    (lambda read: read.file("key"), 300 * "x", f"key = '{56 * 'x'}...: expected the path of a file, relative to "),
    (lambda read: read.existing("key"), "absent", "key = 'absent': expected the path of a file or folder, relative to"),
    (lambda read: read.existing("key"), 300 * "x", f"key = '{56 * 'x'}...: expected the path of a file or folder"),
    (lambda read: read.existing("key"), 1, "key = 1: expected the path of a file or folder, relative to "),
    (lambda read: read.table("key"), [], "key = []: expected a table"),
    (lambda read: read.end(), 1, "key = 1: expected none: unknown key; known are "),
]


@pytest.mark.parametrize(("read", "value", "words"), REFUSALS)
def test_a_refusal_names_file_table_key_value_and_expectation(
    read: Callable[[Table], object], value: object, words: str
) -> None:
    with pytest.raises(Refused) as refusal:
        read(table(key=value))
    assert str(refusal.value).startswith(f"{PATH}: [server]: {words}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "read",
    [
        Table.boolean,
        Table.integer,
        Table.strings,
        partial(Table.integers, high=9, most=9),
        partial(Table.lists, high=9, most=9),
        Table.table,
    ],
)
def test_a_key_that_must_be_there_is_said_to_be_missing(read: Callable[[Table, str], object]) -> None:
    with pytest.raises(Refused, match=r"^folder/settings\.toml: \[server\]: key = \(missing\): expected "):
        read(table(), "key")


def test_a_table_within_is_named_by_its_way_from_the_top() -> None:
    inner = table(TOP_LEVEL, a={"b": {"c": 1}}).table("a").table("b")
    with pytest.raises(Refused, match=r": a\.b: c = 1: expected nothing$"):
        inner.fail("c", "nothing")


def test_a_path_is_of_a_file_or_a_folder_relative_to_the_settings(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    read = Table(tmp_path / "settings.toml", TOP_LEVEL, {"a": "folder", "b": "file"}, Refused)
    assert [read.existing(key) for key in "abc"] == [tmp_path / "folder", tmp_path / "file", None]


def test_a_file_that_is_no_table_is_refused() -> None:
    with pytest.raises(Refused, match=r"^folder/settings\.toml: top level = \[1\]: expected a table$"):
        Table(PATH, TOP_LEVEL, [1], Refused)


@pytest.mark.parametrize(("length", "shown"), [(58, "'" + 58 * "x" + "'"), (59, "'" + 56 * "x" + "...")])
def test_a_long_value_is_cut_off(length: int, shown: str) -> None:
    with pytest.raises(Refused) as refusal:
        table(key=length * "x").fail("key", "less")
    assert str(refusal.value) == f"{PATH}: [server]: key = {shown}: expected less"


def nested(depth: int) -> object:
    return [nested(depth - 1)] if depth else 0


@pytest.mark.parametrize(
    ("value", "shown"), [(1 << 100_000, "(int)"), (nested(900), 57 * "[" + "...")], ids=["digits", "depth"]
)
def test_a_value_without_end_is_shown_in_short(value: object, shown: str) -> None:
    with pytest.raises(Refused) as refusal:
        table(key=value).fail("key", "less")
    assert str(refusal.value) == f"{PATH}: [server]: key = {shown}: expected less"


def test_a_value_of_several_lines_is_shown_in_one() -> None:
    with pytest.raises(Refused) as refusal:
        table(key="a\nb").fail("key", "less")
    assert "\n" not in str(refusal.value)


def test_keys_that_were_read_are_known() -> None:
    read = table(a=1, b=2)
    read.integer("a")
    with pytest.raises(Refused, match=r"b = 2: expected none: unknown key; known are a$"):
        read.end()
