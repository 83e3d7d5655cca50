"""The symbol tables that the cleaners' checkpoints were trained with, for configs that give none.

They are those of text/symbols.py in VITS (english_cleaners, english_cleaners2) and VITS-fast-fine-tuning (the others).
"""

from __future__ import annotations

SYMBOLS = {
    "english_cleaners2": (
        '_;:,.!?¡¿—…"«»“” ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzɑɐɒæɓʙβɔɕçɗɖðʤəɘɚɛɜɝɞ'
        "ɟʄɡɠɢʛɦɧħɥʜɨɪʝɭɬɫɮʟɱɯɰŋɳɲɴøɵɸθœɶʘɹɺɾɻʀʁɽʂʃʈʧʉʊʋⱱʌɣɤʍχʎʏʑʐʒʔʡʕʢǀǁǂǃˈˌːˑʼʴʰʱʲʷˠˤ˞↓↑→↗↘'̩'ᵻ"
    ),
    "chinese_cleaners": "_，。！？—…ㄅㄆㄇㄈㄉㄊㄋㄌㄍㄎㄏㄐㄑㄒㄓㄔㄕㄖㄗㄘㄙㄚㄛㄜㄝㄞㄟㄠㄡㄢㄣㄤㄥㄦㄧㄨㄩˉˊˇˋ˙ ",
    "japanese_cleaners": "_,.!?-AEINOQUabdefghijkmnoprstuvwyzʃʧ↓↑ ",
    "japanese_cleaners2": "_,.!?-~…AEINOQUabdefghijkmnoprstuvwyzʃʧʦ↓↑ ",
    "korean_cleaners": "_,.!?…~ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎㄲㄸㅃㅆㅉㅏㅓㅗㅜㅡㅣㅐㅔ ",
    "zh_ja_mixture_cleaners": "_,.!?-~…AEINOQUabdefghijklmnoprstuvwyzʃʧʦɯɹəɥ⁼ʰ`→↓↑ ",
    "cjks_cleaners": "_,.!?-~…NQabdefghijklmnopstuvwxyzʃʧʥʦɯɹəɥçɸɾβŋɦː⁼ʰ`^#*=→↓↑ ",
    "cjke_cleaners2": "_,.!?-~…NQabdefghijklmnopstuvwxyzɑæʃʑçɯɪɔɛɹðəɫɥɸʊɾʒθβŋɦ⁼ʰ`^#*=ˈˌ→↓↑ ",
}
SYMBOLS |= {"english_cleaners": SYMBOLS["english_cleaners2"], "cjke_cleaners": SYMBOLS["cjke_cleaners2"]}
"""Each cleaner's symbols, in the order of their ids."""
