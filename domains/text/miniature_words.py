"""The words of the made-up English: ten topics, attributes, and words of praise and blame.

"a/b" are two words for the same. Every word is inflected by rule (`plural`, `past`), so irregular ones are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[str, str]


@dataclass(frozen=True)
class Topic:
    """The words that keep each other's company. Verbs take any person and any thing of the topic."""

    name: str
    people: tuple[Pair, ...]
    animals: tuple[str, ...]
    objects: tuple[str, ...]
    places: tuple[Pair, ...]
    verbs: tuple[Pair, ...]

    @property
    def things(self) -> tuple[str, ...]:
        return self.animals + self.objects


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(words: str) -> tuple[Pair, ...]:
    first_and_second = (word.partition("/") for word in words.split())
    return tuple((first, second) for first, _, second in first_and_second)


def _topic(name: str, people: str, animals: str, objects: str, places: str, verbs: str) -> Topic:
    return Topic(name, _pairs(people), tuple(animals.split()), tuple(objects.split()), _pairs(places), _pairs(verbs))


TOPICS = (
    _topic(
        "farming",
        "farmer/grower shepherd/herder milkmaid/dairymaid rider/jockey",
        "cow horse goat",
        "plough basket wagon barrel fence",
        "field/meadow barn/stable village/hamlet",
        "gather/collect wash/clean load/pack trade/exchange water/sprinkle",
    ),
    _topic(
        "seafaring",
        "sailor/seafarer captain/skipper diver/swimmer pilot/navigator",
        "whale seal gull",
        "anchor sail rope net lantern",
        "harbour/port island/isle beach/shore",
        "moor/fasten rescue/save haul/pull notice/detect cover/shroud",
    ),
    _topic(
        "city life",
        "mayor/alderman driver/chauffeur builder/mason lawyer/attorney",
        "pigeon rat cat",
        "lamp window ladder ticket engine",
        "street/avenue station/terminal office/bureau",
        "repair/restore rent/hire paint/colour order/request inspect/check",
    ),
    _topic(
        "learning",
        "teacher/tutor student/pupil scholar/researcher librarian/archivist",
        "parrot turtle rabbit",
        "book pencil map desk letter",
        "library/archive classroom/lecture university/college",
        "explain/clarify describe/depict mark/label copy/duplicate translate/interpret",
    ),
    _topic(
        "music",
        "singer/vocalist composer/songwriter dancer/performer violinist/fiddler",
        "nightingale lark cricket",
        "drum flute song melody violin",
        "theatre/playhouse studio/workshop ballroom/stage",
        "play/perform record/tape praise/applaud admire/adore tune/adjust",
    ),
    _topic(
        "war",
        "soldier/warrior general/commander guard/sentry spy/scout",
        "falcon hound mule",
        "sword cannon shield flag helmet",
        "castle/fortress camp/base tower/turret",
        "attack/assault defend/secure capture/seize surround/encircle destroy/demolish",
    ),
    _topic(
        "the woods",
        "hunter/trapper ranger/warden explorer/pathfinder climber/mountaineer",
        "bear fox eagle",
        "axe tent trap branch torch",
        "forest/woodland valley/glen cave/cavern",
        "track/trail follow/chase discover/uncover burn/scorch bury/entomb",
    ),
    _topic(
        "cooking",
        "chef/caterer baker/confectioner waiter/servant guest/visitor",
        "duck lobster pig",
        "kettle spoon plate oven bottle",
        "kitchen/pantry inn/tavern garden/orchard",
        "boil/simmer taste/sample serve/offer slice/carve bake/roast",
    ),
    _topic(
        "medicine",
        "doctor/physician nurse/caregiver surgeon/specialist midwife/attendant",
        "dog frog monkey",
        "bandage needle syringe mirror blanket",
        "hospital/clinic ward/infirmary laboratory/institute",
        "treat/heal examine/study measure/assess replace/substitute disinfect/cleanse",
    ),
    _topic(
        "trade",
        "merchant/trader dealer/seller tailor/dressmaker jeweller/goldsmith",
        "donkey camel spider",
        "coin ring scarf carpet necklace",
        "market/bazaar shop/store warehouse/depot",
        "purchase/acquire display/exhibit polish/buff value/appraise deliver/transport",
    ),
)
KINDS = {"people": ("person", "human"), "animals": ("animal", "creature"), "objects": ("object", "item")}

# Attributes: of each group a person or thing can have one.
OF_PEOPLE = (("old", "young"), ("tall", "short"), ("rich", "poor"), ("famous", "unknown"), ("english", "french"))
OF_THINGS = (
    ("large", "small"),
    ("heavy", "light"),
    ("wet", "dry"),
    ("red", "blue", "green", "white", "black"),
    ("first", "last"),
    ("valuable", "worthless"),
)
SAME = dict(
    _pairs(
        "old/aged young/youthful rich/wealthy poor/needy famous/renowned unknown/obscure large/big small/little "
        "heavy/weighty wet/damp valuable/precious last/final"
    )
)
TIMES = (
    *("in spring", "in summer", "in autumn", "in winter", "at night", "at dawn", "on monday", "on sunday"),
    *("in march", "in june", "in october", "in 1861", "in 1874", "in 1902", "in 1915", "in 1938"),
)

PRAISE = _words(
    "wonderful excellent lovely brilliant charming delightful superb pleasant graceful splendid joyful gentle clever "
    "honest fresh warm elegant witty moving inspired vivid rewarding sincere thrilling"
)
BLAME = _words(
    "terrible awful ugly dreadful boring horrible dull clumsy bitter nasty gloomy rotten cruel hollow tedious weak "
    "bland silly lifeless confused shallow annoying pointless messy"
)
GLADLY = _words("happily gladly proudly beautifully warmly kindly")
SADLY = _words("sadly badly poorly angrily coldly rudely")
LIKE = _words("love enjoy cherish welcome")
DISLIKE = _words("dislike hate resent reject")
WORKS = _words("film story plot score script novel performance acting dialogue scene ending album drama comedy")

FIRST_NAMES = _words(
    "Clara Oscar Edith Hugo Martha Walter Agnes Felix Rosa Victor Helen Arthur Irene Edmund Julia Conrad Sylvia Bruno "
    "Flora Ralph"
)
LAST_NAMES = _words(
    "Holm Becker Lund Varga Moreau Kerr Dalton Frost Quinn Abbott Stone Marsh Hale Winter Cross Reed Vale Pike Lowe "
    "Nash"
)


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
