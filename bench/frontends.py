"""Memory and time of the text front ends: python -m bench.frontends.

Each row is a process of its own, which has numpy loaded, as the server has: what the language adds to resident
memory, how long its first sentence takes (imports and dictionaries included), and the later ones. Then English
dictionary look-ups. Times on a busy machine say little; memory does.
"""

from __future__ import annotations

import subprocess
import sys
import time

from bench.report import ROOT, resident_bytes

CLEANER = "cjke_cleaners2"
REPEATS = 200
SENTENCES = {
    "zh": "[ZH]今天天气很好，我们去公园散步吧。[ZH]",
    "ja": "[JA]今日は天気がいいので、公園を散歩しましょう。[JA]",
    "ko": "[KO]오늘은 날씨가 좋으니까 공원을 산책합시다.[KO]",
    "en": "[EN]The weather is fine today, so let us walk in the park.[EN]",
}
LIMITS = "zh+ja+en at most 85 MB together; first use of each under 1 s; English look-ups under 1 ms"


def measure(languages: list[str]) -> None:
    """Print one row: memory, seconds of the first sentences, milliseconds of the later ones."""
    import numpy  # noqa: F401

    from vits.text import clean

    before, started = resident_bytes(), time.perf_counter()
    for language in languages:
        clean(SENTENCES[language], CLEANER)
    first_s = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(REPEATS):
        for language in languages:
            clean(SENTENCES[language], CLEANER)
    later_ms = (time.perf_counter() - started) * 1000 / REPEATS / len(languages)
    grown_mb = (resident_bytes() - before) / 1e6
    print(f"{'+'.join(languages):12} {grown_mb:9.1f} {first_s:12.3f} {later_ms:14.3f}")


def measure_lookups() -> None:
    """Print how long a look-up takes in the English dictionary, of words not seen before."""
    from vits.text.english import pronunciations

    words = [f"{start}{end}" for start in ("over", "under", "re", "un") for end in ("run", "take", "word", "play", "x")]
    pronunciations("warm")
    started = time.perf_counter()
    for word in words * 10:
        pronunciations(word)
    print(f"\nEnglish look-up: {(time.perf_counter() - started) * 1000 / len(words) / 10:.3f} ms")


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 1:
        measure_lookups() if sys.argv[1] == "lookups" else measure(sys.argv[1:])
        return
    print(f"{'languages':12} {'RSS, MB':>9} {'first, s':>12} {'a sentence, ms':>14}", flush=True)
    for languages in (["zh"], ["ja"], ["ko"], ["en"], ["zh", "ja", "en"], ["lookups"]):
        subprocess.run([sys.executable, "-m", "bench.frontends", *languages], check=True, cwd=ROOT)
    print(f"Limits: {LIMITS}")


if __name__ == "__main__":
    main()
