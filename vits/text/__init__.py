"""Text to symbols, without torch: each front end as the checkpoints' training had it, and what text needs before it."""

from __future__ import annotations

from collections.abc import Sequence

from vits.text.cleaners import clean

__all__ = ["clean", "to_ids"]


def to_ids(cleaned: str, symbols: Sequence[str]) -> list[int]:
    """The ids of those characters of a cleaned text that the symbol table has, in order."""
    id_of = {symbol: index for index, symbol in enumerate(symbols)}
    return [id_of[character] for character in cleaned if character in id_of]
