"""English words that are spelt alike and spoken differently, told apart by their neighbours.

The rule of each word is a list of places in order, each with the ARPAbet to speak there; the first place that fits
decides, and where none does the cleaner's dictionary has its way. A place is what stands right before the word and
right after it. So "read" is past after have, was and she, and present after to, will and can.
"""

# ruff: noqa: E501  (each place of a word is one line of the table)

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from vits.text.english import entry_to_ipa, pronunciations, word_to_ipa
from vits.text.phonemes import CLOSE, OPEN
from vits.text.rules import fold

_TO = (
    r"(?:to|will|would|can|could|should|must|might|may|shall|not|n't|let's|let us|don't|doesn't|didn't|won't|can't|couldn't|"
    r"wouldn't|cannot|please|i'll|you'll|we'll|they'll|he'll|she'll|do|does|did|help|always|never|often|usually)"
)
_PRONOUN = r"(?:i|you|we|they|who|people|that|and|let)"
_SUBJECT = r"(?:i|you|we|they|he|she|it|who|people|children|students|that|which)"
_PERFECT = r"(?:have|has|had|having|been|be|being|was|were|is|are|i've|you've|we've|they've|he's|she's|it's|i'd|he'd|she'd|well|get|got|already|just)"
_ARTICLE = (
    r"(?:a|an|the|this|that|these|those|my|your|his|her|its|our|their|no|any|some|each|every|one|another|of|in|on|for|with|by|at|from|into|"
    r"new|old|good|bad|great|first|last|same|own|more|most|such|what|world|personal)"
)
_VERB_OBJECT = r"(?:the|a|an|my|your|his|her|its|our|their|this|that|these|those|it|them|us|me|him|all|any|some|more|up|down|in|out|off|over|away|and)"


class _Place(NamedTuple):
    before: str
    after: str
    phones: str


def _noun_or_verb(noun: str, verb: str) -> list[_Place]:
    """A noun after an article, a preposition or an adjective; a verb after to, a modal or a subject."""
    return [
        _Place(rf"{_TO}", "", verb),
        _Place(rf"{_ARTICLE}", "", noun),
        _Place(rf"{_SUBJECT}", "", verb),
        _Place(r"^", rf"{_VERB_OBJECT}", verb),
        _Place(r"\w+ly", "", verb),
    ]


_RULES: dict[str, list[_Place]] = {
    "read": [
        _Place(
            rf"{_PERFECT}(?: \w+ly)?|(?:have|had|has) (?:never|already|just|ever|not|always)|haven't|hasn't|hadn't",
            "",
            "r eh1 d",
        ),
        _Place(
            r"(?:did|didn't|do|does|don't|to|will|would|can|could|should|must|may|might|let's|please)(?: \w+){0,2}",
            "",
            "r iy1 d",
        ),
        _Place(r"(?:he|she|it|everyone|everybody|nobody|who)", "", "r eh1 d"),
        _Place(
            r"",
            r"[^.!?]{0,60}\b(?:yesterday|last (?:night|week|year|month|time)|ago|before|in (?:19|20)\d\d|this morning)\b",
            "r eh1 d",
        ),
        _Place(
            r"(?:yesterday|last (?:night|week|year|month|summer)|ago|when i was \w+|once)[^.!?]{0,30}", "", "r eh1 d"
        ),
        _Place(r"", "", "r iy1 d"),
    ],
    "lead": [
        _Place(
            r"",
            r"(?:pipes?|paint|poisoning|pencils?|acid|bullets?|weights?|batter(?:y|ies)|shot|ore|content|levels?|exposure|mines?|oxide)\b",
            "l eh1 d",
        ),
        _Place(
            r"(?:of|with|from|contains?|containing|like|as heavy as|heavy as|molten|toxic|pure|and tin and|mercury and|copper and|zinc and|tin and)",
            r"(?!(?:singer|actor|role|author|guitar))",
            "l eh1 d",
        ),
        _Place(r"", r"(?:is|was) (?:a |an )?(?:very |toxic|heavy|soft|dense|poisonous|metal)", "l eh1 d"),
        _Place(r"", "", "l iy1 d"),
    ],
    "live": [
        _Place(
            rf"{_TO}|{_SUBJECT}|where i|where (?:you|they|we)|both|all|still|now|only|people|people who|cats|dogs|animals",
            r"",
            "l ih1 v",
        ),
        _Place(
            r"(?:a|the|this|that|our|your|my|his|her|its|their|watch|go|going|went|goes|broadcast|streamed|aired|recorded|performed?|performing|sing|singing|sang|play|played|playing|is|are|was|were|be|being|of|with|and|more|see|saw|seen|from|first|some|real)",
            "",
            "l ay1 v",
        ),
        _Place(
            r"",
            r"(?:music|show|shows|stream|streams|concerts?|broadcast|audience|wire|wires|performance|performances|band|coverage|event|events|updates?|chat|demo|tv|television|bait|ammunition|animals|recording|album|version|video|news|on (?:tv|air|stage|television|youtube))\b",
            "l ay1 v",
        ),
        _Place(r"", "", "l ih1 v"),
    ],
    "lives": [
        _Place(r"(?:he|she|it|who|that|which|one|everyone|nobody|everybody|still|now|\w+ who)", "", "l ih1 v z"),
        _Place(
            r"(?:our|their|your|his|her|my|the|of|these|those|nine|many|all|save|saved|saves|lost|private|daily|whose|several|two|\w+s|\w+')",
            "",
            "l ay1 v z",
        ),
        _Place(r"", r"(?:in|with|at|on|near|by|alone|here|there|next)\b", "l ih1 v z"),
        _Place(r"", "", "l ay1 v z"),
    ],
    "wind": [
        _Place(
            rf"{_TO}|{_PRONOUN}",
            r"(?:up|down|it|the|back|through|around|your|a|his|her|my|this|that|along)\b",
            "w ay1 n d",
        ),
        _Place(r"^", r"(?:up|down|it|the|back|your)\b", "w ay1 n d"),
        _Place(r"(?:roads?|paths?|rivers?|streams?|stairs?|trails?)", "", "w ay1 n d"),
        _Place(r"", "", "w ih1 n d"),
    ],
    "winds": [
        _Place(r"(?:road|path|river|stream|stair|staircase|trail|he|she|it|that|which)", r"", "w ay1 n d z"),
        _Place(r"", "", "w ih1 n d z"),
    ],
    "tear": [
        _Place(
            r"",
            r"(?:up|down|apart|off|out|open|it|the|them|through|away|into|in|this|that|your|my|along|at)\b",
            "t eh1 r",
        ),
        _Place(rf"{_TO}|wear and|muscle|ligament|meniscus|acl|rotator cuff", "", "t eh1 r"),
        _Place(r"", "", "t ih1 r"),
    ],
    "tears": [
        _Place(r"(?:he|she|it|that|which)", "", "t eh1 r z"),
        _Place(r"", r"(?:up|down|apart|off|it|the|them|through|away|into)\b", "t eh1 r z"),
        _Place(r"", "", "t ih1 r z"),
    ],
    "close": [
        _Place(
            r"(?:very|so|too|quite|pretty|really|that|as|was|is|are|were|be|been|being|came|come|comes|coming|got|get|getting|stay|stayed|keep|a|this|how|stand|stood|sit|sat|feel|felt|more|live|lived|lives|up|draw|drew|hold|fairly|extremely|not|'s|it's|we're|they're|you're|i'm)",
            r"(?!(?:of business))(?!(?:the|your|my|his|her|it|them|down|out)\b)",
            "k l ow1 s",
        ),
        _Place(
            r"(?:to|will|would|can|could|should|must|please|don't|and|not|they|we|i|you|didn't|doesn't|did|shops|stores|doors|let's|stocks)",
            r"(?!to\b|by\b|friends?\b|enough\b|together\b)",
            "k l ow1 z",
        ),
        _Place(
            r"",
            r"(?:to|friends?|friend|by|enough|together|call|calls|range|proximity|encounters?|relationship|relatives?|attention|contact|combat|family|look|second|race|game|match|shave|up|ties|at hand|inspection|behind)\b",
            "k l ow1 s",
        ),
        _Place(r"", "", "k l ow1 z"),
    ],
    "use": [
        _Place(
            r"(?:to|will|would|can|could|should|must|may|might|please|don't|not|didn't|doesn't|did|do|does|they|we|i|you|people|who|and|or|often|always|never|also|cannot|can't|won't|let's|just|only|then|let's|who|which|users|\w+ly|i'll|we'll|you'll|then|still)",
            r"",
            "y uw1 z",
        ),
        _Place(
            r"(?:the|a|of|in|no|any|some|this|that|its|his|her|my|our|their|your|for|good|best|better|make|makes|made|making|what|drug|land|water|energy|personal|commercial|home|fair|internal|public|first|daily|out of|much|little|'s|is|was|heavy|everyday|medical|common|widespread|single|multiple|proper|it's|from|with|by|increased|extensive|phone|computer|social media|internet|words?)",
            "",
            "y uw1 s",
        ),
        _Place(r"", r"(?:of|cases?|case)\b", "y uw1 s"),
        _Place(r"", "", "y uw1 z"),
    ],
    "uses": [
        _Place(
            r"(?:many|the|its|several|other|various|different|of|these|no|some|two|three|common|new|their|has|have|all)",
            "",
            "y uw1 s ah0 z",
        ),
        _Place(r"", r"(?:of|for)\b", "y uw1 s ah0 z"),
        _Place(r"", "", "y uw1 z ah0 z"),
    ],
    "used": [_Place(r"", r"to\b", "y uw1 s t"), _Place(r"", "", "y uw1 z d")],
    "record": _noun_or_verb("r eh1 k er0 d", "r ih0 k ao1 r d"),
    "records": [
        _Place(
            r"(?:he|she|it|that|which|camera|device|app|machine|system)",
            r"(?:the|a|an|your|all|every|its|his|her|everything|audio|video|sound)\b",
            "r ih0 k ao1 r d z",
        ),
        _Place(r"", "", "r eh1 k er0 d z"),
    ],
    "present": [
        _Place(
            r"(?:to|will|would|can|could|should|must|may|let me|i|we|they|proudly|hereby)",
            r"(?:the|a|an|our|my|your|his|her|their|you|this|these|it|them|evidence|findings|results|new|to)\b",
            "p r iy0 z eh1 n t",
        ),
        _Place(r"", "", "p r eh1 z ah0 n t"),
    ],
    "produce": [
        _Place(
            r"(?:fresh|the|organic|local|farm|of|and|buy|sell|sells|selling|buying|bought|seasonal|our|their|your|some|more|raw)",
            r"(?!\s*(?:more|a|an|the)\b)",
            "p r ow1 d uw0 s",
        ),
        _Place(r"", r"(?:aisle|section|market|stand|department|prices)\b", "p r ow1 d uw0 s"),
        _Place(r"", "", "p r ah0 d uw1 s"),
    ],
    "refuse": [
        _Place(
            r"(?:the|of|household|garbage|and|collect|kitchen|city|domestic|burning)", r"(?!to\b)", "r eh1 f y uw2 z"
        ),
        _Place(r"", r"(?:collection|collector|dump|bin|bins|disposal|heap)\b", "r eh1 f y uw2 z"),
        _Place(r"", "", "r ih0 f y uw1 z"),
    ],
    "desert": [
        _Place(r"(?:to|will|would|never|not|they|don't|didn't|you|i|we|did)", "", "d ih0 z er1 t"),
        _Place(r"", "", "d eh1 z er0 t"),
    ],
    "minute": [
        _Place(
            r"(?:very|most|in|so|such|these|those|the most|extremely|with|of|more|even|tiny)",
            r"(?:detail|details|amounts?|particles?|quantit|traces?|differences?|changes?|doses?|scratches|and)",
            "m ay0 n uw1 t",
        ),
        _Place(r"", r"(?:details|amounts|particles?|quantit\w+|traces|differences|doses)\b", "m ay0 n uw1 t"),
        _Place(r"", "", "m ih1 n ah0 t"),
    ],
    "object": [
        _Place(
            r"(?:to|will|would|i|we|they|not|don't|didn't|may|can|could|strongly|must|should|you)",
            r"(?:to|strongly|that|if|when|\W|$)",
            "ah0 b jh eh1 k t",
        ),
        _Place(r"", "", "aa1 b jh eh0 k t"),
    ],
    "objects": [
        _Place(r"(?:he|she|nobody|anyone|everyone|who|it)", r"", "ah0 b jh eh1 k t s"),
        _Place(r"", "", "aa1 b jh eh0 k t s"),
    ],
    "subject": [
        _Place(
            r"(?:to|will|would|not|they|can|could)",
            r"(?:the|a|him|her|them|it|us|me|you|people|your|our|his|their)\b",
            "s ah0 b jh eh1 k t",
        ),
        _Place(r"", "", "s ah1 b jh ih0 k t"),
    ],
    "content": [
        _Place(
            r"(?:am|i'm|is|was|are|were|be|been|feel|feels|felt|seem|seems|seemed|being|he's|she's|they're|we're|you're|very|perfectly|quite|so|not|never|happy and|\w+ly|look|looked)",
            r"(?:with|to|in|and|\W|$|just)",
            "k ah0 n t eh1 n t",
        ),
        _Place(r"", "", "k aa1 n t eh0 n t"),
    ],
    "contract": [
        _Place(
            r"(?:to|will|would|can|could|may|might|muscles|metals|they|you|must)", r"(?!\w*'s)", "k ah0 n t r ae1 k t"
        ),
        _Place(r"", "", "k aa1 n t r ae2 k t"),
    ],
    "permit": [
        _Place(rf"{_TO}|(?:i|we|they|you|which|that|rules|laws|and)", "", "p er0 m ih1 t"),
        _Place(r"", r"(?:me|us|him|her|them|it|the|you)\b", "p er0 m ih1 t"),
        _Place(r"", "", "p er1 m ih2 t"),
    ],
    "project": [
        _Place(
            r"(?:to|will|would|can|could|must|they|we|analysts|economists|i)",
            r"(?:the|a|an|that|your|his|her|its|their|images?|confidence|growth|it|onto|power|more)\b",
            "p r ah0 jh eh1 k t",
        ),
        _Place(r"", "", "p r aa1 jh eh0 k t"),
    ],
    "rebel": [
        _Place(rf"{_TO}|(?:they|we|i|you|teenagers|people)", "", "r ih0 b eh1 l"),
        _Place(r"", r"against\b", "r ih0 b eh1 l"),
        _Place(r"", "", "r eh1 b ah0 l"),
    ],
    "conduct": [
        _Place(rf"{_TO}|(?:they|we|i|you|who|and|scientists|researchers|metals)", "", "k ah0 n d ah1 k t"),
        _Place(r"", "", "k aa1 n d ah0 k t"),
    ],
    "conflict": [
        _Place(
            r"(?:to|will|would|can|could|may|might|they|not|dates|views|reports|schedules|accounts|plans)",
            r"(?:with)\b",
            "k ah0 n f l ih1 k t",
        ),
        _Place(r"", "", "k aa1 n f l ih0 k t"),
    ],
    "increase": _noun_or_verb("ih1 n k r iy2 s", "ih0 n k r iy1 s"),
    "decrease": _noun_or_verb("d iy1 k r iy2 s", "d ih0 k r iy1 s"),
    "import": _noun_or_verb("ih1 m p ao2 r t", "ih0 m p ao1 r t"),
    "export": _noun_or_verb("eh1 k s p ao0 r t", "ih0 k s p ao1 r t"),
    "insult": _noun_or_verb("ih1 n s ah2 l t", "ih0 n s ah1 l t"),
    "protest": _noun_or_verb("p r ow1 t eh2 s t", "p r ah0 t eh1 s t"),
    "progress": _noun_or_verb("p r aa1 g r eh2 s", "p r ah0 g r eh1 s"),
    "survey": _noun_or_verb("s er1 v ey2", "s er0 v ey1"),
    "suspect": _noun_or_verb("s ah1 s p eh2 k t", "s ah0 s p eh1 k t"),
    "transfer": _noun_or_verb("t r ae1 n s f er0", "t r ae0 n s f er1"),
    "excuse": [
        _Place(r"", r"(?:me|us|him|her|them|my|you|yourself|his|the)\b", "ih0 k s k y uw1 z"),
        _Place(rf"{_TO}", "", "ih0 k s k y uw1 z"),
        _Place(r"", "", "ih0 k s k y uw1 s"),
    ],
    "abuse": [
        _Place(rf"{_TO}|(?:they|we|i|you|who|people)", "", "ah0 b y uw1 z"),
        _Place(r"", r"(?:the|his|her|their|it|them|him|your|our|my)\b", "ah0 b y uw1 z"),
        _Place(r"", "", "ah0 b y uw1 s"),
    ],
    "house": [
        _Place(
            r"(?:to|will|would|can|could|must|that|which)",
            r"(?:the|up|a|all|more|hundreds|thousands|refugees|them|him|her|us|people|students|families)\b",
            "hh aw1 z",
        ),
        _Place(r"", "", "hh aw1 s"),
    ],
    "separate": [
        _Place(rf"{_TO}|(?:they|we|you|i)", "", "s eh1 p er0 ey2 t"),
        _Place(r"^", r"(?:the|them|it|your|each|eggs|egg)\b", "s eh1 p er0 ey2 t"),
        _Place(r"", "", "s eh1 p r ah0 t"),
    ],
    "estimate": [
        _Place(
            rf"{_TO}|(?:they|we|you|i|experts|scientists|analysts|officials|economists|researchers)",
            "",
            "eh1 s t ah0 m ey2 t",
        ),
        _Place(r"", "", "eh1 s t ah0 m ah0 t"),
    ],
    "graduate": [
        _Place(rf"{_TO}|(?:they|we|you|i|who|students)", "", "g r ae1 jh uw0 ey2 t"),
        _Place(r"", r"from\b", "g r ae1 jh uw0 ey2 t"),
        _Place(r"", "", "g r ae1 jh uw0 ah0 t"),
    ],
    "moderate": [
        _Place(rf"{_TO}|(?:they|we|you|i|who)", "", "m aa1 d er0 ey2 t"),
        _Place(r"", "", "m aa1 d er0 ah0 t"),
    ],
    "deliberate": [
        _Place(rf"{_TO}|(?:they|we|jurors|who)", "", "d ih0 l ih1 b er0 ey2 t"),
        _Place(r"", "", "d ih0 l ih1 b er0 ah0 t"),
    ],
    "elaborate": [
        _Place(rf"{_TO}|(?:you|i|they)", "", "ih0 l ae1 b er0 ey2 t"),
        _Place(r"", "", "ih0 l ae1 b er0 ah0 t"),
    ],
    "duplicate": [
        _Place(rf"{_TO}|(?:they|we|you|i)", "", "d uw1 p l ah0 k ey2 t"),
        _Place(r"", "", "d uw1 p l ah0 k ah0 t"),
    ],
    "alternate": [
        _Place(rf"{_TO}|(?:they|we|you|i)", "", "ao1 l t er0 n ey2 t"),
        _Place(r"", "", "ao1 l t er0 n ah0 t"),
    ],
    "bow": [
        _Place(r"", r"(?:down|to|before|out|your|his|her|my|their|low|deeply)\b", "b aw1"),
        _Place(
            r"(?:to|will|would|must|(?:takes?|took|taking) (?:a|an|another|your|his|her|their|the|one)(?: final| last| deep)?|the ship's|ship's|and|they|he|a deep|a low|final|ship's)",
            r"(?!and arrow|tie)",
            "b aw1",
        ),
        _Place(r"", "", "b ow1"),
    ],
    "bows": [
        _Place(r"(?:he|she|who|it|took|take|their)", "", "b aw1 z"),
        _Place(r"", "", "b ow1 z"),
    ],
    "row": [
        _Place(
            r"(?:had a|having a|a terrible|a blazing|a huge|a bitter|a furious|a diplomatic|a political)", "", "r aw1"
        ),
        _Place(r"", "", "r ow1"),
    ],
    "sow": [
        _Place(r"(?:the|a|this|her|old|big|fat|mother)", r"", "s aw1"),
        _Place(r"", "", "s ow1"),
    ],
    "bass": [
        _Place(
            r"(?:sea|largemouth|smallmouth|striped|caught|catch|catching|grilled|fried|black|freshwater|white|fish|fishing for|cooked|eat|ate|of)",
            r"(?!guitar|player|line|drum|clef)",
            "b ae1 s",
        ),
        _Place(r"", r"(?:fishing|fish|fillets?|swam|boat|pond|in the lake)\b", "b ae1 s"),
        _Place(r"", "", "b ey1 s"),
    ],
    "dove": [
        _Place(
            r"(?:he|she|they|i|we|it|and|who|then|goalkeeper|swimmer|diver|pelican)",
            r"(?:in|into|down|under|off|for|to|deep|right|head|straight|from|on|behind)\b",
            "d ow1 v",
        ),
        _Place(r"", r"(?:into|headfirst|under)\b", "d ow1 v"),
        _Place(r"", "", "d ah1 v"),
    ],
    "wound": [
        _Place(
            r"(?:he|she|they|i|it|was|were|is|has|had|have|road|path|river|and|tightly|all|get|getting|got|being|are)",
            r"(?:up|around|down|through|the clock|tight|tightly|its|their|back|along|his way|her way|round|on|it|a|the)\b",
            "w aw1 n d",
        ),
        _Place(r"", r"(?:up|around|down)\b", "w aw1 n d"),
        _Place(r"", "", "w uw1 n d"),
    ],
    "does": [
        _Place(
            r"(?:two|three|four|the|several|many|bucks and|of|some|deer)",
            r"(?:and|were|are|grazed|grazing|in the|with|ran)\b",
            "d ow1 z",
        ),
        _Place(r"", "", "d ah1 z"),
    ],
    "polish": [
        _Place(
            r"",
            r"(?:people|language|food|president|government|border|army|zloty|speakers?|wikipedia|cuisine|citizens?|girl|man|woman|team|sausage|pierogi)\b",
            "p ow1 l ih0 sh",
        ),
        _Place(
            r"(?:speak|speaks|speaking|in|learn|learning|is|was|from english to|into|are)",
            r"(?!the|it|your|off)",
            "p ow1 l ih0 sh",
        ),
        _Place(r"", "", "p aa1 l ih0 sh"),
    ],
    "number": [
        _Place(r"(?:got|get|grew|felt|feeling|becoming|even|fingers)", r"(?:and|than|by)\b", "n ah1 m er0"),
    ],
    "invalid": [
        _Place(
            r"(?:an|the|elderly|poor|bedridden|his|her)",
            r"(?:who|lay|in bed|mother|father|wife|husband|son|sister|for years|could)\b",
            "ih1 n v ah0 l ah0 d",
        ),
        _Place(r"", "", "ih2 n v ae1 l ah0 d"),
    ],
    "attribute": [
        _Place(rf"{_TO}|(?:they|we|i|you|experts|scientists|many|some)", "", "ah0 t r ih1 b y uw0 t"),
        _Place(r"", "", "ae1 t r ah0 b y uw2 t"),
    ],
    "perfect": [
        _Place(r"to|will|can|must|they|we|helped", r"(?:the|his|her|their|my|your|our|its|it|a)\b", "p er0 f eh1 k t"),
        _Place(r"", "", "p er1 f ih2 k t"),
    ],
    "convict": [
        _Place(rf"{_TO}|(?:jury|they|jurors|voted to)", "", "k ah0 n v ih1 k t"),
        _Place(r"", "", "k aa1 n v ih0 k t"),
    ],
    "console": [
        _Place(
            rf"{_TO}|(?:they|we|i|you|tried to)",
            r"(?:the|him|her|them|me|us|his|my|their|each|you|himself|herself)\b",
            "k ah0 n s ow1 l",
        ),
        _Place(r"", "", "k aa1 n s ow0 l"),
    ],
    "resume": [
        _Place(
            r"(?:my|your|his|her|a|the|their|our|updated|send|sent|good|strong|impressive)", "", "r eh1 z ah0 m ey2"
        ),
        _Place(r"", "", "r ih0 z uw1 m"),
    ],
    "us": [_Place(r"", "", "ah1 s")],
    "moped": [
        _Place(r"(?:he|she|they|i|we|and|just|who)", "", "m ow1 p t"),
        _Place(r"", "", "m ow1 p eh0 d"),
    ],
    "sewer": [_Place(r"", "", "s uw1 er0")],
    "advocate": [
        _Place(rf"{_TO}|(?:they|we|i|you|who)", "", "ae1 d v ah0 k ey2 t"),
        _Place(r"", r"(?:for) (?:a|the|more|less|change|peace)\b", "ae1 d v ah0 k ah0 t"),
        _Place(r"", "", "ae1 d v ah0 k ah0 t"),
    ],
    "appropriate": [
        _Place(rf"{_TO}|(?:they|we)", r"(?:the|funds|money|land|a|their|it)\b", "ah0 p r ow1 p r iy0 ey2 t"),
        _Place(r"", "", "ah0 p r ow1 p r iy0 ah0 t"),
    ],
    "intimate": [
        _Place(r"to|did|would", r"(?:that)\b", "ih1 n t ah0 m ey2 t"),
        _Place(r"", "", "ih1 n t ah0 m ah0 t"),
    ],
    "associate": [
        _Place(rf"{_TO}|(?:they|we|i|you|people|many)", "", "ah0 s ow1 s iy0 ey2 t"),
        _Place(r"", "", "ah0 s ow1 s iy0 ah0 t"),
    ],
    "blessed": [
        _Place(
            r"(?:am|i'm|is|was|are|were|be|been|he|she|they|we're|you're|so|god|has|have|had|feel|felt|truly)",
            "",
            "b l eh1 s t",
        ),
        _Place(r"", "", "b l eh1 s ah0 d"),
    ],
    "learned": [
        _Place(
            r"(?:a|the|very|most|my|this|of)",
            r"(?:man|woman|men|scholar|judge|professor|friend|colleague|society|person|people)\b",
            "l er1 n ah0 d",
        ),
        _Place(r"", "", "l er1 n d"),
    ],
    "aged": [
        _Place(r"(?:the|an|his|her|my|their)", r"(?!\d)", "ey1 jh ah0 d"),
        _Place(r"", "", "ey1 jh d"),
    ],
}
_WORD = re.compile(
    rf"(?<![\w'’-])(?:{'|'.join(sorted(_RULES, key=len, reverse=True))})(?![\w'’-])(?:[.,!?;:]*)", re.IGNORECASE
)
_WORD_START = r"(?:^|(?<=[\s(\"“'])|(?<=[,.;:!?-]))"
_BEFORE_CHARACTERS, _AFTER_CHARACTERS = 60, 80


@cache
def _compiled(word: str) -> list[tuple[re.Pattern[str] | None, re.Pattern[str] | None, str]]:
    """The places of a word as expressions: one for the end of what stands before, one for the start of what follows."""
    compiled = []
    for before, after, phones in _RULES[word]:
        starts = r"(?:^|[.!?:;]|[\"“])\s*$" if before == "^" else _WORD_START + f"(?:{before})" + r"\s*$"
        compiled.append(
            (re.compile(starts) if before else None, re.compile(rf"\s*(?:{after})") if after else None, phones)
        )
    return compiled


@cache
def _usual(word: str) -> tuple[str, ...]:
    """The entries of a word that the cleaners read where nothing says otherwise."""
    return tuple(entry for entry in pronunciations(word) if entry_to_ipa(entry) == word_to_ipa(word))


def _spoken(match: re.Match[str]) -> str:
    text = match.string
    word = match[0].rstrip(".,!?;:")
    marks = match[0][len(word) :]
    if word == "Polish" and text[: match.start()].strip():
        return f"{OPEN}p ow1 l ih0 sh{CLOSE}{marks}"
    before = fold(text[max(0, match.start() - _BEFORE_CHARACTERS) : match.start()]).replace("’", "'")
    after = "" if re.search("[.!?;:]", marks) else fold(text[match.end() : match.end() + _AFTER_CHARACTERS])
    for behind, ahead, phones in _compiled(fold(word)):
        if (not behind or behind.search(before)) and (
            not ahead or (ahead.match(after) if not marks else ahead.match(marks))
        ):
            return match[0] if phones in _usual(fold(word)) else f"{OPEN}{phones}{CLOSE}{marks}"
    return match[0]


def disambiguate(text: str) -> str:
    """The text with heteronyms, where their neighbours tell them apart, as ARPAbet between OPEN and CLOSE."""
    return _WORD.sub(_spoken, text)
