"""What holds for any text at all."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vits.text import CLEANERS, MAX_CHARACTERS, TextError, clean, prepare, sentences
from vits.text.preparation import MAX_SYMBOLS

SYMBOLS: dict[str, list[str]] = json.loads(
    (Path(__file__).resolve().parent / "golden/text/symbols.json").read_text(encoding="utf-8")
)
SYMBOLS["english_cleaners"] = SYMBOLS["english_cleaners2"]
DEADLINE_MS = 20_000

_SPICE = st.sampled_from(
    [
        "[ZH]",
        "[JA]",
        "[EN]",
        "[KO]",
        "\n",
        "。",
        "1,234.5%",
        "$12.50",
        "２０２４年",
        "e.g. ",
        "你好",
        "テスト",
        "안녕",
        "Dr. ",
        # Letters that a case-blind expression takes for others, and that lower() does not.
        "ı",
        "İ",
        "ſ",
        "\u212a",
        "ı.e. ",
        "İ.e. ",
        "vſ. ",
        "ſt. ",
        "İ.E.T.T. ",
        "5 \u212am ",
    ]
)
_CHARACTERS = st.one_of(
    st.characters(),
    st.characters(max_codepoint=0x7F),
    st.characters(min_codepoint=0x3040, max_codepoint=0x30FF),
    st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF),
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3),
    st.characters(min_codepoint=0x0900, max_codepoint=0x097F),
    st.integers(0xD800, 0xDFFF).map(chr),
    _SPICE,
)
ANY_TEXT = st.one_of(
    st.lists(_CHARACTERS, max_size=200).map("".join),
    st.tuples(st.lists(_CHARACTERS, min_size=1, max_size=5).map("".join), st.integers(1, 2000)).map(
        lambda part: (part[0] * part[1])[:2000]
    ),
)
bounded = settings(max_examples=25, deadline=DEADLINE_MS, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("cleaner", CLEANERS)
@bounded
@given(text=ANY_TEXT, normalize=st.booleans())
def test_any_text_gives_ids_or_a_clear_error(cleaner: str, text: str, normalize: bool) -> None:
    try:
        prepared = prepare(text, cleaner, SYMBOLS[cleaner], normalize=normalize)
    except TextError:
        return
    assert prepared.sentences
    for sentence in prepared.sentences:
        assert 0 < len(sentence.ids) <= MAX_SYMBOLS
        assert max(sentence.ids) < len(SYMBOLS[cleaner])
        assert len(sentence.written) <= MAX_CHARACTERS
    assert all(count > 0 for count in prepared.dropped.values())


@pytest.mark.parametrize("cleaner", CLEANERS)
@bounded
@given(text=ANY_TEXT)
def test_any_text_can_be_cleaned(cleaner: str, text: str) -> None:
    assert isinstance(clean(text, cleaner), str)


@settings(max_examples=50, deadline=DEADLINE_MS)
@given(text=ANY_TEXT, max_characters=st.integers(1, 50))
def test_sentences_lose_nothing_but_blanks(text: str, max_characters: int) -> None:
    pieces = sentences.split(text, max_characters)
    assert all(0 < piece.end - piece.start <= max_characters for piece in pieces)
    spoken = "".join(text[piece.start : piece.end] for piece in pieces)
    assert "".join(spoken.split()) == "".join(text.split())
