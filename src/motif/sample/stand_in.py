"""Stand-ins: the auxiliary prompt, which says the same with an ordinary noun in the concept's place.

    "a <new1> fluffy cat in the snow"  ->  "a fluffy dog in the snow"      (the concept: <new1>, cat; the stand-in: dog)

Jin et al. 2024 (arXiv 2412.04831), section 3.3: "V* <noun>" is replaced, the rest is unaltered; the noun must differ,
and one of a compatible kind does well. The list of nouns by kind is ours, the paper's is not published.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from motif.base import Base
from motif.errors import InputError
from motif.text import Tokens
from motif.tokens import TOKEN

log = logging.getLogger("motif")

LEAD = re.compile(r"(?:\bof\s+)?(?:\b(?:an?|the|my|one)\s+)?$", re.IGNORECASE)
"""What goes with a phrase that is cut out of a prompt: "a photo [of a] <new1> cat"."""

KINDS: Mapping[str, str] = {
    "animal": "dog cat duck horse fox bear rabbit cow sheep goat pig tiger lion panda elephant monkey wolf mouse frog "
    "turtle tortoise bird chicken owl penguin fish corgi kitten puppy hamster",
    "person": "man woman boy girl child person king queen knight wizard doctor teacher",
    "vehicle": "car boat rocket truck bus bicycle bike train motorcycle motorbike tank van plane airplane ship tractor",
    "vessel": "mug teapot vase bowl cup bottle bucket jug pot kettle glass can plate dish barrel jar",
    "furniture": "chair table sofa bench stool desk bed lamp shelf clock couch",
    "plant": "cactus mushroom flower tree bush rose sunflower tulip plant pumpkin",
    "building": "house castle barn tower church lighthouse temple cabin windmill",
    "figure": "snowman robot toy doll statue plushy plushie teddy figurine sculpture gnome stuffed",
    "bag": "backpack bag suitcase basket purse handbag box",
    "garment": "hat shirt coat dress sweater jacket scarf helmet",
    "pair": "shoes boots gloves socks sandals sneakers slippers",
    "glasses": "glasses goggles sunglasses",
    "instrument": "guitar violin piano drum camera phone radio",
    "food": "cake apple pizza sandwich bread pie banana",
}
"""Common nouns of a kind; the first that is not said yet stands in for the concept."""

ANYTHING = ("cat", "car")
"""Where the noun's kind is not known."""

BETWEEN = 3
"""At most so many words stand between a learned token and its noun."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Pair:
    """The two prompts, and where in them the concept and its stand-ins are (stretches of letters)."""

    main: str
    aux: str
    concept: tuple[Span, ...]
    stand_in: tuple[Span, ...]

    @staticmethod
    def of(base: Base, prompt: str, stand_in: Mapping[str, str] | Sequence[str] = ()) -> Pair:
        """The prompts of a concept and of what stands in for it.

        Args:
            base: It wears the concepts.
            prompt: Names them.
            stand_in: {"<new1> cat": "fox"} or ["<new1> cat=fox"]; one word alone, where there is one concept. A phrase
                without a learned token is replaced too. Concepts that are not named get a noun of their kind.
        Raises:
            InputError: nothing to replace, a phrase that the prompt does not hold, a stand-in that is the noun itself.
        """
        found = _learned(base, prompt)
        names = list(dict.fromkeys(phrase.name for phrase in found))
        chosen: dict[_Phrase, str] = {}
        for key, word in _given(stand_in, names).items():
            mine = [p for p in found if key in (p.name, p.tokens)] or _literal(base, prompt, key)
            chosen |= dict.fromkeys(mine, word)
        covered = [span for phrase in chosen for span in phrase.spans]
        for phrase in found:
            if phrase not in chosen and not _touches(phrase.spans, covered):
                same = next((word for one, word in chosen.items() if one.name == phrase.name), "")
                chosen[phrase] = same or preset(phrase, " ".join([prompt, *chosen.values()]))
        if not chosen:
            raise InputError(
                f'the prompt "{prompt}" names no learned token: say what is replaced, --stand-in "cat=fox"'
            )
        for phrase, word in chosen.items():
            if word.lower() in (phrase.noun.lower(), phrase.name.lower()):
                raise InputError(f"{word} cannot stand in for {phrase.name}: name another noun")
        return _written(prompt, chosen)

    @staticmethod
    def apart(base: Base, prompt: str) -> Pair:
        """The prompt cut in two, "a <new1> cat" and "a photo in the snow": the paper's "without entire prompt".

        InputError where it does not name one concept, once, and something else.
        """
        found = _learned(base, prompt)
        if len(found) != 1:
            raise InputError(
                f'the prompt "{prompt}" names {len(found)} concepts: one can be cut out, named once'
            )
        (phrase,) = found
        first, end = phrase.spans[0][0], phrase.spans[-1][1]
        last = len(prompt) - len(re.sub(r"^\w+", "", prompt[end:]))  # of "cats" the s too
        before = LEAD.sub("", prompt[:first], count=1)
        article = re.search(r"\b(?:an?|the|my|one)\s+$", prompt[:first], re.IGNORECASE)
        begins = article.start() if article else first
        rest = " ".join((before + " " + prompt[last:]).split()).strip(" ,")
        if not re.search(r"\w", rest):
            raise InputError(
                f'the prompt "{prompt}" says nothing but the concept: nothing is left to draw beside it'
            )
        return Pair(prompt[begins:last], rest, tuple((a - begins, b - begins) for a, b in phrase.spans), ())


@dataclass(frozen=True)
class _Phrase:
    """A concept in a prompt: the last of its spans gives way to the stand-in, the others are dropped."""

    name: str  # "<new1> cat"
    tokens: str  # "<new1>"
    noun: str
    spans: tuple[Span, ...]


def positions(tokens: Tokens, spans: Iterable[Span]) -> tuple[int, ...]:
    """The token positions of stretches of the prompt. InputError where one lies behind the last that is read."""
    found: list[int] = []
    for first, last in spans:
        hits = [i for i, c in enumerate(tokens.chars) if c and c[0] < last and c[1] > first]
        if not hits:
            raise InputError(
                f'"{tokens.prompt[first:last]}" lies behind the encoder\'s last token: shorten the prompt'
            )
        found += hits
    return tuple(sorted(set(found)))


def preset(phrase: _Phrase, said_so_far: str) -> str:
    """A noun that is not the concept's and not said yet, of its kind where that is known."""
    if not phrase.noun:
        raise InputError(
            f'{phrase.name} has no noun in the prompt, to find a stand-in by: name one, --stand-in "{phrase.name}=cat"'
        )
    said = set(re.findall(r"\w+", said_so_far.lower()))
    last = phrase.noun.lower().split()[-1]
    forms = {last, last.removesuffix("s"), f"{last}s"}
    kinds = [words.split() for words in KINDS.values() if forms & set(words.split())]
    if not kinds:
        log.info("%s is of no kind that motif knows: name what stands in for it (stand-in)", phrase.noun)
    free = [word for word in (kinds[0] if kinds else ANYTHING) if not {word, f"{word}s"} & (said | forms)]
    if not free:
        raise InputError(
            f'the prompt says every noun like {phrase.noun}: name a stand-in, --stand-in "{phrase.name}=cat"'
        )
    return free[0]


def _learned(base: Base, prompt: str) -> list[_Phrase]:
    """The learned tokens of a prompt, runs of them as one, each with its noun where that follows soon; of a plural the
    s stays where it is."""
    phrases: list[_Phrase] = []
    for run in re.finditer(rf"{TOKEN.pattern}(?:\s+{TOKEN.pattern})*", prompt):
        tokens = " ".join(run.group().split())
        noun = next((n for t in tokens.split() if (n := base.nouns.get(t, ""))), "")
        spaced = r"\s+".join(map(re.escape, noun.split()))
        between = rf"(?:\s+(?!<)[^\s,.;:]+){{0,{BETWEEN}}}?\s+"
        match = (
            re.compile(rf"{between}({spaced})(?!(?!s\b)\w)", re.IGNORECASE).match(prompt, run.end())
            if noun
            else None
        )
        spans = (run.span(), match.span(1)) if match else (run.span(),)
        phrases.append(_Phrase(f"{tokens} {noun}" if match else tokens, tokens, noun, spans))
    return phrases


def _given(stand_in: Mapping[str, str] | Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """{phrase: noun} of what was asked for."""
    if isinstance(stand_in, Mapping):
        pairs = [(key, "=", value) for key, value in stand_in.items()]
    else:
        pairs = [text.rpartition("=") for text in ([stand_in] if isinstance(stand_in, str) else stand_in)]
    found: dict[str, str] = {}
    for key, sign, word in pairs:
        key, word = " ".join(key.split()), " ".join(word.split())
        if not sign and len(names) == 1:
            key = names[0]
        if not key or not word or TOKEN.search(word):
            raise InputError(f'stand-in "{key}{sign}{word}": write "<new1> cat=fox", an ordinary noun')
        if key in found:
            raise InputError(f'two stand-ins for "{key}": name one')
        found[key] = word
    return found


def _literal(base: Base, prompt: str, key: str) -> list[_Phrase]:
    """Every place of a phrase in the prompt."""
    tokens = base.tokenise([prompt])[0][0]
    found: list[_Phrase] = []
    while True:
        try:
            span = tokens.span(key, occurrence=len(found))
        except InputError:
            if found:
                return found
            raise
        chars = [c for c in tokens.chars[span] if c]
        found.append(_Phrase(key, key, key, ((chars[0][0], chars[-1][1]),)))


def _touches(spans: Iterable[Span], others: Sequence[Span]) -> bool:
    return any(a < d and c < b for a, b in spans for c, d in others)


def _written(prompt: str, chosen: Mapping[_Phrase, str]) -> Pair:
    """The auxiliary prompt; "a" and "an" follow the word behind them."""
    concept = sorted(span for phrase in chosen for span in phrase.spans)
    if any(b > c for (_, b), (c, _) in pairwise(concept)):
        raise InputError(f'stand-ins overlap in "{prompt}": {", ".join(p.name for p in chosen)}')
    news = {phrase.spans[-1]: word for phrase, word in chosen.items()}
    begins = {phrase.spans[0] for phrase in chosen}
    aux, done, stand_in, starts = "", 0, list[Span](), list[int]()
    for span in concept:
        aux += prompt[done : span[0]]
        starts += [len(aux)] if span in begins else []
        if word := news.get(span):
            stand_in.append((len(aux), len(aux) + len(word)))
            aux, done = aux + word, span[1]
        else:  # a token before its noun: the space behind it goes too
            done = len(prompt) - len(prompt[span[1] :].lstrip())
    aux += prompt[done:]
    if left := TOKEN.search(aux):
        raise InputError(
            f'the auxiliary prompt "{aux}" would say {left.group()}: name what stands in for that'
        )
    for at in reversed(starts):
        if article := re.search(r"(?<!\w)(an?)\s+$", aux[:at], re.IGNORECASE):
            said, wanted = article.group(1), article.group(1)[0] + "n" * (aux[at].lower() in "aeio")
            aux = aux[: article.start()] + wanted + aux[article.end(1) :]
            shift = len(wanted) - len(said)
            stand_in = [(a + shift, b + shift) if a >= at else (a, b) for a, b in stand_in]
    return Pair(prompt, aux, tuple(concept), tuple(stand_in))
