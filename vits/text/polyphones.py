"""Chinese characters with several readings, read by their sentence.

The readings are those of g2pM (Kakao Brain, Apache 2.0), a network of one bidirectional LSTM of 32 units whose weights
come with its package. On the 10 254 sentences of its test set, this module, with its rules and the cleaners' phrases
before the network, reads 97.0 % of the characters asked for right; the network alone reads 97.3 %, the cleaners' phrase
dictionary 87.7 %. The rules are there for everyday speech, of which that set has little. Only the package's data files
are read: its own code computes each step for each direction by itself, in float64.
"""

from __future__ import annotations

import pickle
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vits.text import polyphone_rules
from vits.text.libraries import data_file, load
from vits.text.pinyin import bopomofo, numbered_bopomofo, phrase_is_known

_Floats = NDArray[np.float32]
# These have one reading, whose tone changes with what follows; the cleaners' phrases know where.
_LEFT_ALONE = frozenset("一不")
# The network's training has too little everyday speech for these.
_RULES_ALONE = frozenset("得地了着还数背")


class _Network(NamedTuple):
    """The weights of both directions, [2, ...] each, and what the numbers at both ends stand for."""

    embedding: _Floats
    input: _Floats
    recurrent: _Floats
    bias: _Floats
    hidden: tuple[_Floats, _Floats]
    logits: tuple[_Floats, _Floats]
    number_of: dict[str, int]
    readings: dict[str, tuple[tuple[int, ...], tuple[str, ...]]]
    """For each character of several readings their classes, and their Bopomofo."""


def _read(name: str) -> Any:
    with data_file("g2pM", name, "Chinese").open("rb") as file:
        return pickle.load(file)  # of the pinned package, as trusted as its code


def _readings() -> dict[str, tuple[tuple[int, ...], tuple[str, ...]]]:
    classes: dict[str, int] = _read("class2idx.pkl")
    pinyin: dict[str, list[str]] = _read("digest_cedict.pkl")
    spoken = {name: numbered_bopomofo(name.replace("u:", "v")) for name in classes}
    readings = {}
    for character, names in pinyin.items():
        known = [name for name in names if name in classes]
        if len(known) > 1 and character not in _LEFT_ALONE:
            readings[character] = tuple(classes[name] for name in known), tuple(spoken[name] for name in known)
    return readings


@cache
def _network() -> _Network:
    weights = {name: np.asarray(values, dtype=np.float32) for name, values in _read("np_ckpt.pkl").items()}

    def both(name: str) -> _Floats:
        return np.stack([weights[f"lstm.{name}_l0"], weights[f"lstm.{name}_l0_reverse"]])

    return _Network(
        embedding=weights["embedding.weight"],
        input=both("weight_ih").transpose(0, 2, 1),
        recurrent=np.ascontiguousarray(both("weight_hh").transpose(0, 2, 1)),
        bias=both("bias_ih") + both("bias_hh"),
        hidden=(weights["logit_layer.0.weight"].T, weights["logit_layer.0.bias"]),
        logits=(weights["logit_layer.2.weight"].T, weights["logit_layer.2.bias"]),
        number_of=_read("char2idx.pkl"),
        readings=_readings(),
    )


def _states(network: _Network, numbers: list[int]) -> _Floats:
    """The states [T, 2 H] of both directions after each number."""
    embedded = network.embedding[numbers]
    gates = np.stack([embedded, embedded[::-1]]) @ network.input + network.bias[:, None]
    size = network.recurrent.shape[1]
    h: NDArray[Any] = np.zeros((2, 1, size), np.float32)
    c: NDArray[Any] = h
    states = np.empty((2, len(numbers), size), np.float32)
    for step in range(len(numbers)):
        gate = gates[:, step : step + 1] + h @ network.recurrent
        i_f_g_o = 1 / (1 + np.exp(-gate))
        c = i_f_g_o[..., size : 2 * size] * c + i_f_g_o[..., :size] * np.tanh(gate[..., 2 * size : 3 * size])
        h = i_f_g_o[..., 3 * size :] * np.tanh(c)
        states[:, step] = h[:, 0]
    return np.concatenate([states[0], states[1][::-1]], axis=1)


def readings(text: str) -> dict[int, str]:
    """The Bopomofo of those characters of a text that have several readings, by their places."""
    network = _network()
    places = [place for place, character in enumerate(text) if character in network.readings]
    if not places:
        return {}
    unknown, begin, end = (network.number_of[name] for name in ("<UNK>", "시", "끝"))
    numbers = [begin, *(network.number_of.get(character, unknown) for character in text), end]
    states = _states(network, numbers)[[place + 1 for place in places]]
    hidden = np.maximum(states @ network.hidden[0] + network.hidden[1], 0)
    logits = hidden @ network.logits[0] + network.logits[1]
    found = {}
    for row, place in zip(logits, places, strict=True):
        classes, spoken = network.readings[text[place]]
        found[place] = spoken[int(np.argmax(row[list(classes)]))]
    return found


def spell(text: str) -> str:
    """The text with words in Bopomofo that the cleaners' dictionary would read otherwise than their sentence asks.

    The rules of `polyphone_rules` go first. A phrase of two or more characters of that dictionary keeps its reading;
    the network reads the characters for which no rule fits.
    """
    if not any(character in _ruled() or character in _network().readings for character in text):
        return text
    words: list[str] = load("rjieba", "Chinese").cut(text)
    by_network = readings(text)
    spelt, place = "", 0
    for word in words:
        wanted = _wanted(text, place, word, by_network)
        place += len(word)
        usual = bopomofo(word) if wanted else []
        if len(usual) != len(word) or all(_marked(usual[at]) == reading for at, reading in wanted.items()):
            spelt += word
            continue
        syllables = [wanted.get(at, _marked(syllable)) for at, syllable in enumerate(usual)]
        spelt += (" " if spelt and not spelt[-1].isspace() else "") + "".join(syllables)
    return spelt


def _wanted(text: str, start: int, word: str, by_network: dict[int, str]) -> dict[int, str]:
    """The readings that the sentence asks for, by their places in a word of it."""
    is_phrase = len(word) > 1 and phrase_is_known(word)
    wanted = {}
    for at, character in enumerate(word):
        place = start + at
        reading = polyphone_rules.reading(text, place) if character in _ruled() else None
        if not reading and not is_phrase and character not in _RULES_ALONE:
            reading = by_network.get(place)
        if reading:
            wanted[at] = reading
    return wanted


@cache
def _ruled() -> frozenset[str]:
    return polyphone_rules.characters()


def _marked(syllable: str) -> str:
    """A syllable of Bopomofo with a mark for the first tone too."""
    return syllable + "ˉ" if "\u3105" <= syllable[-1:] <= "\u3129" else syllable
