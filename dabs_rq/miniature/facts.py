"""One grammar of facts, which every language renders in its own way.

A fact is what a sentence says, apart from its words: somebody does something to something, here or there, now or then.
Its parts are numbers, so that a fact belongs to no language, and two sentences of one fact are paraphrases. A wording
is what a language is free to choose. `ENGLISH` has real words; the languages of `made_up` have words of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")
Words = tuple[str, ...]  # a common word and, where there is one, a rarer one for the same
UNSAID = -1
ALWAYS = ("who", "verb", "what")
OFTEN = ("who_like", "what_like", "where", "when")  # parts that may be left out
PARTS = (*ALWAYS, "many", *OFTEN)


class Fact(NamedTuple):
    """Who does what to what: numbers of words, those of `OFTEN` or UNSAID. many: several people do it."""

    topic: int
    who: int
    verb: int
    what: int
    many: bool = False
    who_like: int = UNSAID
    what_like: int = UNSAID
    where: int = UNSAID
    when: int = UNSAID
    negated: bool = False

    @property
    def said(self) -> list[str]:
        """The parts that may be left out and are not."""
        return [part for part in OFTEN if getattr(self, part) != UNSAID]

    def without(self, *parts: str) -> Fact:
        return self._replace(**dict.fromkeys(parts, UNSAID))


class Wording(NamedTuple):
    """rare: the parts for which the rarer word stands. definite: the nouns with a definite article. front: "where" or
    "when" if that comes first. now: present tense. general: nouns said by their kind only, such as "animal"."""

    rare: frozenset[str] = frozenset()
    definite: frozenset[str] = frozenset()
    passive: bool = False
    front: str = ""
    now: bool = False
    general: tuple[str, ...] = ()


def pick(rng: np.random.Generator, among: Sequence[T]) -> T:
    return among[int(rng.random() * len(among))]  # many times as fast as `integers`


def chance(rng: np.random.Generator, probability: float) -> bool:
    return rng.random() < probability


def some(rng: np.random.Generator, among: Sequence[T], count: int) -> list[T]:
    """`count` different ones in any order, or all there are."""
    left = list(among)
    return [left.pop(int(rng.random() * len(left))) for _ in range(min(count, len(left)))]


def wording(
    rng: np.random.Generator, other: float = 0.5, free: float = 0.4, now: bool = False, general: tuple[str, ...] = ()
) -> Wording:
    """A wording at random. other: chance of a rarer word. free: chance of the passive, and of a place or time first."""
    rare = frozenset(part for part in PARTS if rng.random() < other)
    definite = frozenset(part for part in ("who", "what") if rng.random() < 0.5)
    front = pick(rng, ("where", "when")) if chance(rng, free) else ""
    return Wording(rare, definite, chance(rng, free), front, now, general)


def reworded(rng: np.random.Generator, before: Wording, words: float, order: float) -> Wording:
    """Another word for each part with probability `words`; voice and what comes first change with `order` each."""
    rare = before.rare ^ {part for part in PARTS if chance(rng, words)}
    front = pick(rng, ("", "where", "when")) if chance(rng, order) else before.front
    return before._replace(rare=rare, front=front, passive=before.passive ^ chance(rng, order))


# ---- languages -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Language:
    """words: by kind ("who", "verb", "what", "where") and topic, or by kind alone ("who_like", "what_like", "when").
    order: "svo", "sov", or "v2" where the verb stays second. forms: how a word is said in its role."""

    name: str
    words: Mapping[str, Any]
    order: str = "svo"
    forms: Mapping[str, str] = field(default_factory=dict)
    space: str = " "
    like_last: bool = False

    # ---- facts

    def _of(self, part: str, topic: int) -> Sequence[Words]:
        return self.words[part] if part in ("who_like", "what_like", "when") else self.words[part][topic]

    def draw(self, rng: np.random.Generator, topic: int | None = None, said: float = 0.5) -> Fact:
        """A fact of a topic, or of any. said: the chance of each part that may be left out."""
        chosen = int(rng.integers(len(self.words["verb"]))) if topic is None else topic
        parts = (*ALWAYS, *(part for part in OFTEN if chance(rng, said)))
        return self.vary(rng, Fact(chosen, UNSAID, UNSAID, UNSAID, many=chance(rng, 0.3)), *parts)

    def vary(self, rng: np.random.Generator, fact: Fact, *parts: str) -> Fact:
        """The fact with another value of each of `parts`, never true with the old one; attributes turn opposite."""
        new: dict[str, Any] = fact._asdict()
        for part in parts:
            old = new[part]
            if part == "many" or (part.endswith("_like") and old != UNSAID):
                new[part] = not old if part == "many" else old ^ 1
                continue
            taken = {old, new[{"who": "what", "what": "who"}.get(part, part)] if self.name != "English" else old}
            new[part] = pick(rng, [n for n in range(len(self._of(part, fact.topic))) if n not in taken])
        return Fact(**new)

    # ---- sentences

    def tell(self, rng: np.random.Generator, fact: Fact, **chosen: Any) -> str:
        """A sentence that says the fact in any wording; `chosen` are arguments of `wording`."""
        return self.sentence(fact, wording(rng, **chosen))

    def sentence(self, fact: Fact, how: Wording) -> str:
        return self.join(self.arrange(self.phrases(fact, how), how.front))

    def join(self, words: Sequence[str]) -> str:
        end = {"English": " .", "zh": "。", "ja": "。"}.get(self.name, ".")
        return self.space.join(word for word in words if word) + end

    def phrases(self, fact: Fact, how: Wording) -> dict[str, list[str]]:
        """The words of every role that the sentence has: subject, verb, object, where, when."""
        who, what = self.noun(fact, "who", how), self.noun(fact, "what", how)
        subject, thing = (what, self._form("by", who)) if how.passive else (who, self._form("object", what))
        found = {"subject": self._form("subject", subject), "verb": self.verb(fact, how), "object": thing}
        for part in ("where", "when"):
            if (number := getattr(fact, part)) != UNSAID:
                word = self._either(self._of(part, fact.topic)[number], part, how)
                found[part] = self._form(part, word.split())
        return found

    def arrange(self, found: dict[str, list[str]], front: str = "") -> list[str]:
        """The words of the phrases in the order of the language; `front` comes first if it is said."""
        first = found.get(front, [])
        rest = [word for role in ("where", "when") if role in found and role != front for word in found[role]]
        subject, verb, thing = (found[role] for role in ("subject", "verb", "object"))
        if self.order == "sov":
            return [*first, *subject, *rest, *thing, *verb]
        if self.order == "v2" and first:
            return [*first, *verb, *subject, *thing, *rest]
        return [*first, *([","] if first and self.name == "English" else []), *subject, *verb, *thing, *rest]

    def noun(self, fact: Fact, part: str, how: Wording) -> list[str]:
        """The phrase for "who" or "what"."""
        noun = self._either(self._of(part, fact.topic)[getattr(fact, part)], part, how)
        like = self._like(fact, part, how)
        many, english = part == "who" and fact.many, self.name == "English"
        if english and part in how.general:
            noun = KINDS["people" if part == "who" else "animals" if fact.what < ANIMALS else "objects"]
        words = [*like, plural(noun) if english and many else noun]
        if self.like_last:
            words.reverse()
        if not english:
            return words
        return ["the" if part in how.definite else "some" if many else article(words[0]), *words]

    def _like(self, fact: Fact, part: str, how: Wording) -> list[str]:
        number = getattr(fact, f"{part}_like")
        return [] if number == UNSAID else [self._either(self.words[f"{part}_like"][number], f"{part}_like", how)]

    def verb(self, fact: Fact, how: Wording) -> list[str]:
        word = self._either(self._of("verb", fact.topic)[fact.verb], "verb", how)
        if self.name != "English":
            return self.forms["passive" if how.passive else "active"].format(word).split()
        negation, many = ["not"] if fact.negated else [], fact.many
        if how.passive:
            return ["is" if how.now else "was", *negation, past(word)]  # things come one at a time
        if fact.negated:
            return [("do" if many else "does") if how.now else "did", "not", word]
        return [(word if many else plural(word)) if how.now else past(word)]

    def _form(self, role: str, words: list[str]) -> list[str]:
        return self.forms.get(role, "{}").format(self.space.join(words)).split() if words else []

    def _either(self, words: Words, part: str, how: Wording) -> str:
        return words[-1] if part in how.rare else words[0]


# ---- English -------------------------------------------------------------------------------------------------------


def _pairs(text: str) -> tuple[Words, ...]:
    return tuple(tuple(word.replace("_", " ").split("/")) for word in text.split())


ANIMALS = 3  # the first things of every topic
KINDS = {"people": "person", "animals": "animal", "objects": "object"}
TOPICS = tuple(
    tuple(line.split(" | "))
    for line in """\
farming | farmer/grower shepherd/herder milkmaid/dairymaid rider/jockey | cow horse goat plough basket wagon barrel \
| field/meadow barn/stable village/hamlet | gather/collect wash/clean load/pack trade/exchange water/sprinkle
seafaring | sailor/seafarer captain/skipper diver/swimmer pilot/navigator | whale seal gull anchor sail rope net \
| harbour/port island/isle beach/shore | moor/fasten rescue/save haul/pull notice/detect cover/shroud
city life | mayor/alderman driver/chauffeur builder/mason lawyer/attorney | pigeon rat cat lamp window ladder ticket \
| street/avenue station/terminal office/bureau | repair/restore rent/hire paint/colour order/request inspect/check
learning | teacher/tutor student/pupil scholar/researcher librarian/archivist | parrot turtle rabbit book map desk pen \
| library/archive classroom/lecture college/academy | explain/clarify describe/depict mark/label copy/duplicate teach
music | singer/vocalist composer/songwriter dancer/performer violinist/fiddler | lark cricket swan drum flute song harp \
| theatre/playhouse studio/workshop ballroom/stage | play/perform record/tape praise/applaud admire/adore tune/adjust
war | soldier/warrior general/commander guard/sentry spy/scout | falcon hound mule sword cannon shield flag \
| castle/fortress camp/base tower/turret | attack/assault defend/secure capture/seize surround/encircle ruin/demolish
the woods | hunter/trapper ranger/warden explorer/pathfinder climber/hiker | bear fox eagle axe tent trap branch \
| forest/woodland valley/glen cave/cavern | track/trail follow/chase discover/uncover burn/scorch bury/entomb
cooking | chef/caterer baker/confectioner waiter/servant guest/visitor | duck lobster pig kettle spoon plate oven \
| kitchen/pantry inn/tavern garden/orchard | boil/simmer taste/sample serve/offer slice/carve bake/roast
medicine | doctor/physician nurse/caregiver surgeon/specialist midwife/attendant | dog frog monkey needle syringe \
mirror blanket | hospital/clinic ward/infirmary laboratory/institute | treat/heal examine/study measure/assess \
replace/substitute disinfect/cleanse
trade | merchant/trader dealer/seller tailor/dressmaker jeweller/goldsmith | donkey camel spider coin ring scarf carpet \
| market/bazaar shop/store warehouse/depot | purchase/acquire display/exhibit polish/buff value/appraise deliver/send""".split(
        "\n"
    )
)
ENGLISH = Language(
    "English",
    {part: [_pairs(topic[place]) for topic in TOPICS] for place, part in enumerate(("who", "what", "where", "verb"), 1)}
    | {
        # Attributes come in opposites, side by side.
        "who_like": _pairs("old/aged young/youthful tall short rich/wealthy poor/needy famous/renowned unknown/obscure"),
        "what_like": _pairs(
            "large/big small/little heavy/weighty light wet/damp dry red blue first last/final valuable/precious cheap"
        ),
        "when": _pairs(
            "in_spring in_summer in_autumn in_winter at_night at_dawn on_monday on_sunday in_march in_june "
            "in_october in_1861 in_1874 in_1902 in_1915 in_1938"
        ),
    },
    forms={"where": "in the {}", "by": "by {}"},
)
QUESTIONS = {
    "where": ("where", "in which place"),
    "when": ("when", "at what time"),
    "who": ("who", "which person"),
    "what": ("what", "which thing"),
    "why": ("why", "for what reason"),
    "how": ("how", "in what way"),
}


def ask(rng: np.random.Generator, fact: Fact, about: str, other: float = 0.3) -> str:
    """An English question about a part of the fact, or about its "why" or "how"."""
    how = wording(rng, other, free=0)
    found = ENGLISH.phrases(fact._replace(negated=False), how)
    rest = [word for role in ("where", "when") if role in found and role != about for word in found[role]]
    start, thing = pick(rng, QUESTIONS[about]).split(), found["object"]
    if about == "who":
        return " ".join([*start, *found["verb"], *thing, *rest, "?"])
    verb = ENGLISH._either(ENGLISH._of("verb", fact.topic)[fact.verb], "verb", how)
    return " ".join([*start, "did", *found["subject"], verb, *([] if about == "what" else thing), *rest, "?"])


def article(word: str) -> str:
    return "an" if word == "honest" or (word[0] in "aeiou" and not word.startswith("uni")) else "a"


def plural(word: str) -> str:
    """Of a noun; of a verb, its third person."""
    if word.endswith(("s", "sh", "ch", "x", "o")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2] not in "aeiou" else word + "s"


def past(verb: str) -> str:
    """Past tense and participle."""
    if verb.endswith("e"):
        return verb + "d"
    return verb[:-1] + "ied" if verb.endswith("y") and verb[-2] not in "aeiou" else verb + "ed"


# ---- made-up languages ---------------------------------------------------------------------------------------------

NAMES = ("Marlo", "Tessa", "Oduya", "Brandt")  # the same in every language, as are the years
YEARS = tuple(str(year) for year in range(1908, 2008, 9))
_COUNTS = {"who": 8, "verb": 4, "where": 3}  # of every topic
_TOPICS = 3
# Beginnings, middles and ends of words; scripts without an alphabet are given by their letters.
_SOUNDS = {
    "en": ("b br ch d f g h k l m n p r s sh st t th w", "a e i o u ea oo", "n r l t ck sh m"),
    "fr": ("b c ch d f j l m n p r s t v gr pl", "a é è ê i o ou eu au", "r l x ç t n"),
    "de": ("b d f g h k l m n r s sch st t w z", "a ä e i o ö u ü ei au", "n r l ß cht ng t"),
    "es": ("b c d f g j l ll m n ñ p r s t v", "a á e é i í o ó u", "s r l n z d"),
}
_LETTERS = {
    "zh": "山水木火土金石田竹米花草林森海江河湖雨雪风云星月日光天春夏秋冬东西南北高长短大小白黑红青黄马牛羊犬鸟鱼虫龙虎门",
    "ja": "あいうえおかきくけこさしすせそたちつてとなねのひふほまみむもやゆよらりるろわアイウカキクケコサシタチトナニマミ",
    "ko": "가나다라마바사아자차하거너더러머버서어저고노도로모보소오조구누두루무부수우주기니디리미비시이지강산문물불별솔꽃",
}
_FORMS = {
    "en": {"where": "at {}", "when": "in {}", "by": "by {}", "active": "{}s", "passive": "is {}ed"},
    "fr": {"where": "à {}", "when": "en {}", "by": "par {}", "active": "{}e", "passive": "est {}é"},
    "de": {"where": "bei {}", "when": "um {}", "by": "von {}", "active": "{}t", "passive": "wird ge{}t"},
    "zh": {"where": "在{}", "by": "被{}", "active": "{}了", "passive": "{}过"},
    "es": {"where": "en {}", "when": "el {}", "by": "por {}", "active": "{}a", "passive": "es {}ado"},
    "ja": {"where": "{}で", "when": "{}に", "subject": "{}は", "object": "{}を", "by": "{}に"}
    | {"active": "{}る", "passive": "{}られる"},
    "ko": {"where": "{}에서", "when": "{}에", "subject": "{}는", "object": "{}를", "by": "{}에게"}
    | {"active": "{}다", "passive": "{}된다"},
}


def made_up(rng: np.random.Generator) -> dict[str, Language]:
    """The seven languages, with words by `rng`. Who and what are the same words, so that they can change roles."""
    languages = {}
    for name, forms in _FORMS.items():
        used: set[str] = set()

        def pairs(count: int, name: str = name, used: set[str] = used) -> tuple[Words, ...]:
            return tuple((_new(rng, name, used), _new(rng, name, used)) for _ in range(count))

        of_topic = {part: [pairs(count) for _ in range(_TOPICS)] for part, count in _COUNTS.items()}
        names = tuple((one, one) for one in NAMES)
        of_topic["who"] = of_topic["what"] = [nouns + names for nouns in of_topic["who"]]
        likes, years = pairs(6), tuple((year, year) for year in YEARS)
        words = {**of_topic, "who_like": likes, "what_like": likes, "when": pairs(5) + years}
        order = {"de": "v2", "ja": "sov", "ko": "sov"}.get(name, "svo")
        space = "" if name in ("zh", "ja") else " "
        languages[name] = Language(name, words, order, forms, space, like_last=name in ("fr", "es"))
    return languages


def _new(rng: np.random.Generator, language: str, used: set[str]) -> str:
    """A word that is not `used` yet, to which it is added."""
    while True:
        if language in _SOUNDS:
            begins, middles, ends = (sounds.split() for sounds in _SOUNDS[language])
            word = "".join(pick(rng, sounds) for sounds in (begins, middles, begins, middles, ends))
        else:
            word = "".join(some(rng, _LETTERS[language], 2))
        if word not in used:
            used.add(word)
            return word
