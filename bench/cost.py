"""How cost grows: python -m bench.cost [length | models]. With clients: python -m bench.load.

length: RTF and resident memory against the characters of a text, one server, from short to long. models: the same
against the number of loaded models, all different, a server for each number; every model is asked in turn.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.full_size import sentence, sentences, write_settings
from bench.report import arguments, progress, spread, table, write
from bench.serving import Server, serve

LENGTHS = (10, 20, 50, 100, 200, 500, 1000, 2000)
MODELS = (1, 2, 3, 4, 5)
SENTENCE_CHARACTERS = 80


def text_of(characters: int, source: random.Random) -> str:
    """Return sentences of that many characters in all."""
    parts: list[str] = []
    while (left := characters - sum(len(part) + 1 for part in parts)) > 0:
        # What would be left over for a last sentence of nearly nothing goes to this one.
        parts.append(sentence(left if left < 1.5 * SENTENCE_CHARACTERS else SENTENCE_CHARACTERS, source))
    return " ".join(parts)


def by_length(server: Server, lengths: Sequence[int], repeats: int) -> list[tuple[object, ...]]:
    """Return a row for every length."""
    rows: list[tuple[object, ...]] = []
    source = random.Random(0)
    for characters in lengths:
        answers = []
        for number in range(repeats):
            progress(f"{characters} characters: {number + 1} of {repeats}")
            answers.append(server.speak(text=text_of(characters, source), lang="en", seed=number))
        factors = [took_s / sound_s for took_s, sound_s in answers]
        sound_s = spread((sound_s for _, sound_s in answers), 0.5)
        rows.append((characters, sound_s, spread(factors, 0.5), server.resident_mb, server.peak_mb))
    return rows


def by_models(
    folder: Path, threads: int, voice: Path | None, counts: Sequence[int], repeats: int
) -> list[tuple[object, ...]]:
    """Return a row for every number of models."""
    rows: list[tuple[object, ...]] = []
    for count in counts:
        with serve(write_settings(folder, threads, count, voice=voice)) as server:
            ready_mb, factors = server.resident_mb, []
            for number, text in enumerate(sentences(count * repeats)):
                progress(f"{count} models: {number + 1} of {count * repeats}")
                took_s, sound_s = server.speak(text=text, lang="en", speaker=f"full{number % count}", seed=number)
                factors.append(took_s / sound_s)
            rows.append((count, server.ready_s, spread(factors, 0.5), ready_mb, server.resident_mb, server.peak_mb))
    return rows


def present(name: str, columns: Sequence[str], rows: Sequence[Sequence[object]], out: Path) -> None:
    """Print and write a table."""
    print(table(columns, rows))
    write(name, [dict(zip(columns, row, strict=True)) for row in rows], out)


def main() -> None:
    """Print one or both of the tables."""
    parser = arguments(__doc__)
    parser.add_argument("what", nargs="?", choices=("length", "models"), help="default: both")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--models", type=int, nargs="+", default=MODELS)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.what != "models":
            with serve(write_settings(Path(folder), options.threads, voice=options.voice)) as server:
                rows = by_length(server, options.lengths, options.repeats)
            present("cost-length", ("characters", "sound, s", "RTF", "RSS, MB", "peak, MB"), rows, options.out)
        if options.what != "length":
            rows = by_models(Path(folder), options.threads, options.voice, options.models, options.repeats)
            columns = ("models", "start to ready, s", "RTF", "RSS when ready, MB", "RSS, MB", "peak, MB")
            present("cost-models", columns, rows, options.out)


if __name__ == "__main__":
    main()
