"""Files as people have them: JSON that is almost JSON, and what a file really is that was meant to be another."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from vits.errors import BrokenCheckpoint

_COMMENT = r"//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?"
_LOOSE = re.compile(rf'("(?:\\.|[^"\\])*+"?)|{_COMMENT}|,(?=(?:\s|{_COMMENT})*+[}}\]])', re.DOTALL)
"""Strings, which stay, and what JSON lacks: comments, and commas before a closing bracket.

One that is not closed goes on to the end, and nothing is tried twice: so time is in proportion to the text."""

AN_ONNX_FILE = "it is an ONNX file"
LIKE_JSON = "it looks like JSON"
_LONGEST_HEADER = 2**27
"""safetensors allows headers of 100 MB."""


def read_json(path: Path) -> Any:
    """Return what a JSON file says; comments, trailing commas, and the byte order marks of UTF-8, -16 and -32 are read.

    Raises:
        BrokenCheckpoint: the file cannot be read, or is no JSON.

    """
    try:
        require_file(path)
        content = path.read_bytes()
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        reason = _encoding_of(content) or what_it_is(path) or "it is not UTF-8"
        raise BrokenCheckpoint(f"{path}: is not JSON: {reason}") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise BrokenCheckpoint(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            try:
                return json.loads(_LOOSE.sub(lambda match: match[1] or "", text))
            except json.JSONDecodeError:
                raise error from None  # its line and column are those of the file
    except ValueError as error:  # not JSON, or an integer of thousands of digits
        kind = what_it_is(path)
        raise BrokenCheckpoint(f"{path}: is not JSON: {error if kind in (None, LIKE_JSON) else kind}") from error
    except RecursionError as error:
        raise BrokenCheckpoint(f"{path}: is not a config: its tables are nested too deeply") from error


def require_file(path: Path) -> None:
    """Raise BrokenCheckpoint where a path leads to a pipe or a device, whose end might never come."""
    with suppress(OSError):  # a path that cannot be: opening it says why
        if path.exists() and not path.is_file() and not path.is_dir():
            raise BrokenCheckpoint(f"{path}: is no file, but a pipe or a device")


def read_start(path: Path, most_characters: int) -> str:
    """Return the beginning of a text beside a model; nothing where there is none, or none in UTF-8."""
    try:
        if not path.is_file():
            return ""
        with path.open(encoding="utf-8") as file:
            return file.read(most_characters)
    except (OSError, ValueError):
        return ""


def _encoding_of(content: bytes) -> str | None:
    """Return what is wrong with JSON that is not UTF-8; None where it is JSON in no other encoding either."""
    for encoding in ("gbk", "cp932"):
        try:
            json.loads(content.decode(encoding))
        except ValueError:
            continue
        return f"it is not UTF-8, but perhaps {encoding.upper()}: please save it as UTF-8"
    return None


def what_it_is(path: Path) -> str | None:
    """Return what a file is by its first bytes, as "it is ...", where it is of a common kind; None where it is not."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
            size = file.seek(0, 2)
    except (OSError, ValueError):
        return None
    if not start:
        return "it is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, which only names the real file: fetch that with git lfs pull"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page: download the file itself"
    if is_safetensors(start, size):
        return "it is a safetensors file"
    if is_onnx(start):
        return AN_ONNX_FILE
    if start.startswith(b"PK\x03\x04"):
        return "it is a zip archive"
    if start.startswith((b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!")):
        return "it is an archive: unpack it first"
    if start.lstrip()[:1] in (b"{", b"["):
        return LIKE_JSON
    return None


def is_safetensors(start: bytes, size: int) -> bool:
    """Whether a file of that size which starts with these bytes is a safetensors file: its header is JSON."""
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and 2 <= length <= min(size - 8, _LONGEST_HEADER)


def is_onnx(start: bytes) -> bool:
    """Whether a file starts as an ONNX model: its version, then its producer, version, domain, graph or operators."""
    return len(start) > 2 and start[0] == 0x08 and 0 < start[1] < 32 and start[2] in (0x12, 0x1A, 0x22, 0x3A, 0x42)
