"""One grammar of facts, which every language renders in its own way.

A fact is what a sentence says, in numbers of words. Two sentences of one fact are paraphrases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from dabs_rq.miniature.writers import Rng

T = TypeVar("T")
Words = tuple[str, ...]  # a common word and, where there is one, a rarer one for the same
UNSAID = -1
ALWAYS, OFTEN = ("who", "verb", "what"), ("who_like", "what_like", "where", "when")  # the latter may be left out


class Fact(NamedTuple):
    """Who does what to what: numbers of words, those of `OFTEN` or UNSAID. many: several people do it."""

    topic: int
    who: int = UNSAID
    verb: int = UNSAID
    what: int = UNSAID
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
        return self._replace(**dict.fromkeys(parts, UNSAID))  # type: ignore[arg-type]


class Wording(NamedTuple):
    """rare: the parts for which the rarer word stands. front: "where" or "when" if that comes first."""

    rare: frozenset[str] = frozenset()
    passive: bool = False
    front: str = ""


def pick(rng: Rng, among: Sequence[T]) -> T:
    return among[int(rng.random() * len(among))]  # many times as fast as `integers`


def chance(rng: Rng, probability: float) -> bool:
    return rng.random() < probability


def some(rng: Rng, among: Sequence[T], count: int) -> list[T]:
    """`count` different ones in any order, or all there are."""
    left = list(among)
    return [left.pop(int(rng.random() * len(left))) for _ in range(min(count, len(left)))]


def wording(rng: Rng, other: float = 0.5, free: float = 0.4, before: Wording | None = None) -> Wording:
    """One that differs from `before`, or from the plain one. other: the chance of another word for each part. free:
    that the voice changes, and what comes first."""
    rare, passive, front = before or Wording()
    rare ^= {part for part in ALWAYS + OFTEN if chance(rng, other)}
    front = pick(rng, ("where", "when", "")) if chance(rng, free) else front
    return Wording(rare, passive ^ chance(rng, free), front)


@dataclass(frozen=True)
class Language:
    """words: by kind ("who", "verb", "what", "where", "who_like", "what_like", "when") and topic.
    forms: role -> pattern of a word in it. order: "svo", "sov", or "v2", where the verb is always second."""

    name: str
    words: Mapping[str, Any]
    forms: Mapping[str, str]
    order: str = "svo"
    space: str = " "
    like_last: bool = False
    end: str = "."

    def draw(self, rng: Rng, topic: int | None = None, said: float = 0.5) -> Fact:
        """A fact of a topic, or of any. said: the chance of each part that may be left out."""
        fact = Fact(pick(rng, range(len(self.words["verb"]))) if topic is None else topic, many=chance(rng, 0.3))
        return self.vary(rng, fact, *ALWAYS, *(part for part in OFTEN if chance(rng, said)))

    def vary(self, rng: Rng, fact: Fact, *parts: str) -> Fact:
        """The fact with another value of each of `parts`, never true with the old one; attributes turn opposite."""
        new: dict[str, Any] = fact._asdict()
        for part in parts:
            if part.endswith("_like") and new[part] != UNSAID:
                new[part] ^= 1
                continue
            same = {"who": "what", "what": "who"}.get(part, part) if self.name != "English" else part
            taken = (new[part], new[same])
            new[part] = pick(rng, [n for n in range(len(self.words[part][fact.topic])) if n not in taken])
        return Fact(**new)

    def tell(self, rng: Rng, fact: Fact, other: float = 0.5, free: float = 0.4) -> str:
        """A sentence that says the fact in any wording."""
        return self.sentence(fact, wording(rng, other, free))

    def sentence(self, fact: Fact, how: Wording) -> str:
        return self.arrange(self.phrases(fact, how), how.front)

    def phrases(self, fact: Fact, how: Wording) -> dict[str, list[str]]:
        """The words of every role that the sentence has: subject, verb, object, where, when."""
        first, second, role = ("what", "who", "by") if how.passive else ("who", "what", "object")
        found = {"subject": self._form("subject", *self._noun(fact, first, how)), "verb": self._verb(fact, how)}
        found["object"] = self._form(role, *self._noun(fact, second, how))
        said = [part for part in fact.said if not part.endswith("_like")]
        return found | {part: self._form(part, self.word(fact, part, how)) for part in said}

    def arrange(self, found: dict[str, list[str]], front: str = "") -> str:
        """Join phrases to a sentence in the word order of the language; `front` names the role that comes first."""
        first, subject, verb, thing = (found.get(role, []) for role in (front, "subject", "verb", "object"))
        rest = [word for role in ("where", "when") if role != front for word in found.get(role, [])]
        words = [*subject, *rest, *thing, *verb] if self.order == "sov" else [*subject, *verb, *thing, *rest]
        if first and self.order == "v2":
            words = [*verb, *subject, *thing, *rest]
        return self.space.join([*first, *[","][: first != [] and self.name == "English"], *words]) + self.end

    def word(self, fact: Fact, part: str, how: Wording) -> str:
        return self.words[part][fact.topic][getattr(fact, part)][-1 if part in how.rare else 0]

    def _noun(self, fact: Fact, part: str, how: Wording) -> list[str]:
        """The phrase for "who" or "what"."""
        like = [self.word(fact, f"{part}_like", how)] if f"{part}_like" in fact.said else []
        noun, many = self.word(fact, part, how), part == "who" and fact.many
        if self.name != "English":
            return [noun, *like] if self.like_last else [*like, noun]
        words = [*like, plural(noun) if many else noun]
        return ["the" if many or part in how.rare else article(words[0]), *words]

    def _verb(self, fact: Fact, how: Wording) -> list[str]:
        word, denial = self.word(fact, "verb", how), ["not"] if fact.negated else []
        if self.name != "English":
            return self._form("passive" if how.passive else "active", word)
        if how.passive:
            return ["was", *denial, past(word)]  # things come one at a time
        return ["did", *denial, word] if denial else [past(word)]

    def _form(self, role: str, *words: str) -> list[str]:
        return self.forms.get(role, "{}").format(self.space.join(words)).split()


# Of English: people, things, places and verbs of a topic; "a/b" are two words for the same.
TOPICS = """\
farmer/grower shepherd/herder milkmaid/dairymaid rider/jockey|cow horse goat plough basket wagon barrel fence|\
field/meadow barn/stable village/hamlet|gather/collect wash/clean load/pack trade/exchange water/sprinkle
sailor/seafarer captain/skipper diver/swimmer pilot/navigator|whale seal gull anchor sail rope net lantern|\
harbour/port island/isle beach/shore|moor/fasten rescue/save haul/pull notice/detect cover/shroud
mayor/alderman driver/chauffeur builder/mason lawyer/attorney|pigeon rat cat lamp window ladder ticket engine|\
street/avenue station/terminal office/bureau|repair/restore rent/hire paint/colour order/request inspect/check
teacher/tutor student/pupil scholar/researcher librarian/archivist|parrot turtle rabbit book map desk pen letter|\
library/archive classroom/lecture college/academy|explain/clarify describe/depict mark/label copy/duplicate translate
singer/vocalist composer/songwriter dancer/performer violinist/fiddler|lark cricket swan drum flute song harp melody|\
theatre/playhouse studio/workshop ballroom/stage|play/perform record/tape praise/applaud admire/adore tune/adjust
soldier/warrior general/commander guard/sentry spy/scout|falcon hound mule sword cannon shield flag helmet|\
castle/fortress camp/base tower/turret|attack/assault defend/secure capture/seize surround/encircle ruin/demolish
hunter/trapper ranger/warden explorer/pathfinder climber/hiker|bear fox eagle axe tent trap branch torch|\
forest/woodland valley/glen cave/cavern|track/trail follow/chase discover/uncover burn/scorch bury/entomb
chef/caterer baker/confectioner waiter/servant guest/visitor|duck lobster pig kettle spoon plate oven bottle|\
kitchen/pantry inn/tavern garden/orchard|boil/simmer taste/sample serve/offer slice/carve bake/roast
doctor/physician nurse/caregiver surgeon/specialist midwife/attendant|dog frog monkey needle syringe mirror blanket|\
hospital/clinic ward/infirmary laboratory/institute|treat/heal examine/study measure/assess replace/change cleanse
merchant/trader dealer/seller tailor/dressmaker jeweller/goldsmith|donkey camel spider coin ring scarf carpet necklace|\
market/bazaar shop/store warehouse/depot|purchase/acquire display/exhibit polish/buff value/appraise deliver/send"""


def words(text: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in text.split())


def _pairs(text: str) -> tuple[Words, ...]:
    return tuple(tuple(word.split("/")) for word in words(text))


_KINDS = zip(*(map(_pairs, line.split("|")) for line in TOPICS.split("\n")), strict=True)
_LIKE = "old/aged young/youthful tall short rich/wealthy poor/needy famous/renowned unknown/obscure"  # in opposites
_THING_LIKE = "large/big small/little heavy/weighty light wet/damp dry red blue first last valuable cheap"
_WHEN = "in_spring in_summer in_autumn in_winter at_night at_dawn on_monday on_sunday in_june in_1861"
_WORDS: dict[str, Any] = dict(zip(("who", "what", "where", "verb"), _KINDS, strict=True))
_WORDS |= {"who_like": [_pairs(_LIKE)] * 10, "what_like": [_pairs(_THING_LIKE)] * 10, "when": [_pairs(_WHEN)] * 10}
ENGLISH = Language("English", _WORDS, {"where": "in the {}", "by": "by {}"}, end=" .")
QUESTIONS = ("where", "when", "who", "what", "why", "how")


def ask(rng: Rng, fact: Fact, about: str) -> str:
    """An English question that begins with `about`, one of QUESTIONS."""
    how = wording(rng, other=0.3, free=0)
    found = ENGLISH.phrases(fact._replace(negated=False), how)
    rest = [word for role in ("where", "when") if role != about for word in found.get(role, [])]
    did = found["verb"] if about == "who" else ["did", *found["subject"], ENGLISH.word(fact, "verb", how)]
    return " ".join([about, *did, *([] if about == "what" else found["object"]), *rest, "?"])


def article(word: str) -> str:
    return "an" if word == "honest" or (word[0] in "aeiou" and not word.startswith("uni")) else "a"


def plural(noun: str) -> str:
    return noun + "es" if noun.endswith(("s", "sh", "ch", "x", "o")) else re.sub("(?<![aeiou])y$", "ie", noun) + "s"


def past(verb: str) -> str:
    """Past tense and participle."""
    return verb + "d" if verb.endswith("e") else re.sub("(?<![aeiou])y$", "i", verb) + "ed"


# Of the made-up languages.
NAMES = ("Marlo", "Tessa", "Oduya", "Brandt")  # the same in every language, as are the years
ROLES = ("where", "when", "by", "active", "passive", "subject", "object")
FORMS = {  # patterns of a word in each of ROLES; a role without one leaves the word unchanged
    "en": "at {}|in {}|by {}|{}s|is {}ed",
    "fr": "à {}|en {}|par {}|{}e|est {}é",
    "de": "bei {}|um {}|von {}|{}t|wird ge{}t",
    "zh": "在{}|{}|被{}|{}了|{}过",
    "es": "en {}|el {}|por {}|{}a|es {}ado",
    "ja": "{}で|{}に|{}に|{}る|{}られる|{}は|{}を",
    "ko": "{}에서|{}에|{}에게|{}다|{}된다|{}는|{}를",
}
SOUNDS = {  # beginnings, middles and ends of words; scripts without an alphabet are given by their letters
    "en": "b br ch d f g h k l m n p r s sh st t th w|a e i o u ea oo|n r l t ck sh m",
    "fr": "b c ch d f j l m n p r s t v gr pl|a é è ê i o ou eu au|r l x ç t n",
    "de": "b d f g h k l m n r s sch st t w z|a ä e i o ö u ü ei au|n r l ß cht ng t",
    "zh": "山水木火土金石田竹米花草林森海江河湖雨雪风云星月日光天春夏秋冬东西南北高长短大小白黑红青黄马牛羊",
    "es": "b c d f g j l ll m n ñ p r s t v|a á e é i í o ó u|s r l n z d",
    "ja": "あいうえおかきくけこさしすせそたちつてとなねのひふほまみむもやゆよらりるろわアイウカキク",
    "ko": "가나다라마바사아자차하거너더러머버서어저고노도로모보소오조구누두루무부수우주기니디리미",
}


def made_up(rng: Rng) -> dict[str, Language]:
    """The seven languages, with words by `rng`. Who and what are the same words, so that they can change roles."""
    languages = {}
    for name, sounds in SOUNDS.items():
        parts, found = [part.split() for part in sounds.split("|")], dict[str, None]()
        while len(found) < 112:  # words that all differ, in pairs
            word = [pick(rng, parts[i]) for i in (0, 1, 0, 1, 2)] if "|" in sounds else some(rng, sounds, 2)
            found["".join(word)] = None
        new = zip(words := iter(found), words, strict=True)
        who, verb, where = ([list(islice(new, count)) for _ in range(3)] for count in (8, 4, 3))  # of three topics
        like = [list(islice(new, 6))] * 3
        when = [[*new, *((str(year),) for year in range(1908, 2008, 9))]] * 3
        nouns = [[*topic, *((name,) for name in NAMES)] for topic in who]
        kinds = {"who": nouns, "what": nouns, "verb": verb, "where": where, "who_like": like, "what_like": like}
        order = {"de": "v2", "ja": "sov", "ko": "sov"}.get(name, "svo")
        forms = dict(zip(ROLES, FORMS[name].split("|"), strict=False))
        space, end = ("", "。") if name in ("zh", "ja") else (" ", ".")
        languages[name] = Language(name, kinds | {"when": when}, forms, order, space, name in ("fr", "es"), end)
    return languages
