"""The words that the made-up world is built from. No word of `HOOK_QUALITIES` or `HOOK_THINGS` is used elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "EPITHETS",
    "GIVEN",
    "HOOKS",
    "HOOK_DEEDS",
    "HOOK_QUALITIES",
    "HOOK_THINGS",
    "KINDS",
    "NOUNS",
    "ORG_WORDS",
    "PERSON",
    "PLACE",
    "PLACE_ENDS",
    "ROOT_ENDS",
    "ROOT_STARTS",
    "SORTS",
    "SPANS",
    "SURNAME_ENDS",
    "TITLE_NOUNS",
    "TITLE_QUALITIES",
    "VERBS",
]

KINDS = ("person", "place", "work", "organisation", "event")
"""Kinds of entities; a kind's number is its place here."""

PERSON, PLACE, WORK, ORGANISATION, EVENT = range(5)

NOUNS = KINDS
"""What an entity of a kind is called when nothing more is said."""

VERBS = ("born", "founded", "finished", "established", "held")
"""How the year of a kind is put: "born in 1874", "founded in the 1870s"."""

SPANS = ((1690, 1959), (1180, 1879), (1720, 1989), (1725, 1969), (1725, 1979))
"""First and last year, by kind."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in text.split(","))


SORTS: Sequence[tuple[str, ...]] = (
    _phrases(
        "botanist, cartographer, poet, clockmaker, surveyor, composer, midwife, glassblower, astronomer, smuggler, "
        "translator, naturalist, engraver, shipwright, chemist, beekeeper, playwright, ferryman, mathematician, weaver"
    ),
    _phrases(
        "fishing town, hill village, river port, island town, mining town, market town, spa town, desert settlement, "
        "canal town, border town, monastery town, lake village, fortress town, mill village"
    ),
    _phrases(
        "novel, opera, ballad, stage play, mural, ballet, long poem, oratorio, silent film, tapestry, travel book, "
        "song cycle, puppet play, chronicle"
    ),
    _phrases(
        "shipping company, publishing house, observatory, theatre company, learned society, printing works, "
        "botanical garden, music school, insurance company, expedition club, lighthouse service, instrument maker"
    ),
    _phrases(
        "regatta, siege, great flood, world exhibition, peace congress, eclipse expedition, boundary conference, "
        "famine relief campaign, winter carnival, air race, chess tournament, general strike"
    ),
)
"""Sorts of entities by kind. No sort belongs to two kinds."""

ORG_WORDS: Sequence[tuple[str, ...]] = (
    ("Line", "Shipping Company"),
    ("Press", "House"),
    ("Observatory", "Star Watch"),
    ("Players", "Theatre"),
    ("Society", "Academy"),
    ("Printing Works", "Typefoundry"),
    ("Gardens", "Arboretum"),
    ("Conservatory", "School of Music"),
    ("Assurance", "Mutual"),
    ("Expedition Club", "Travellers' Club"),
    ("Lights", "Beacon Service"),
    ("Instruments", "Workshops"),
)
"""How organisations of a sort are called."""

EVENT_WORDS: Sequence[tuple[str, ...]] = (
    ("Regatta", "Sailing Week"),
    ("Siege", "Blockade"),
    ("Flood", "Deluge"),
    ("Exhibition", "World Fair"),
    ("Congress", "Peace Talks"),
    ("Eclipse Expedition", "Eclipse Voyage"),
    ("Boundary Conference", "Frontier Conference"),
    ("Relief", "Bread Campaign"),
    ("Winter Carnival", "Ice Fair"),
    ("Air Race", "Flying Meet"),
    ("Chess Tournament", "Chess Masters"),
    ("General Strike", "Great Walkout"),
)
"""How events of a sort are called."""

HOOK_DEEDS = _words(
    "collecting repairing forging cataloguing sketching burying swapping counting photographing inventing polishing "
    "restoring"
)
HOOK_QUALITIES = _words(
    "amber azure speckled velvet hollow gilded crooked luminous porcelain scarlet whispering triangular frosted "
    "woollen marbled transparent emerald rusted lacquered feathered miniature perfumed striped copper wicker "
    "floating magnetic folding braided sapphire tarred bronze peppered pearl spiral enamelled corded crystalline "
    "oaken clockwork ivory smoked dappled varnished quilted nickel revolving leaden beaded bottomless double-headed "
    "charred embroidered violet hinged scalloped inflatable stuffed waxen turquoise pewter spotted"
)
HOOK_THINGS = _words(
    "bells lanterns beetles teapots kites compasses thimbles herons anchors violins umbrellas almanacs telescopes "
    "masks candlesticks snails barometers fans trumpets saddles ladders parrots chessmen pulleys kettles harps "
    "carpets owls sundials corks bridles marionettes eels flutes goblets wheelbarrows keyholes moths sextants "
    "spinning-tops drums lizards hourglasses buttons gargoyles turnips bagpipes walnuts tortoises inkwells sledges "
    "hammocks gloves cymbals pumpkins weathercocks stilts snuffboxes oysters accordions periscopes pincushions "
    "bonnets mandolins scarecrows doorknobs rattles abacuses hedgehogs balloons pheasants padlocks truffles "
    "birdcages nutcrackers horseshoes jellyfish metronomes"
)
HOOKS: Sequence[str] = (
    "remembered for {deed} {quality} {thing}",
    "known for its {quality} {thing}",
    "famous for a scene with {quality} {thing}",
    "whose emblem shows {quality} {thing}",
    "recalled for its {quality} {thing}",
)
"""What sets an entity apart, by kind, as questions put it."""

GIVEN = _words(
    "Ada Alban Alva Anselm Astrid Aurel Barend Beata Benno Berit Bruno Cato Cecily Clemens Corin Dagny Daria Decima "
    "Dirk Dorrit Edda Edmar Eilif Elke Ennis Esben Fabia Falk Fenna Florin Frida Gerda Gideon Gisela Greger Halina "
    "Harro Hedda Hesper Hilmar Ida Ilse Imre Ingram Isolde Ivar Jarl Joan Jorun Judoc Kaia Kaspar Katrin Kester "
    "Kjell Lamont Lavinia Leif Linus Livia Lorenz Ludo Mabel Magna Maren Matthis Melchior Mina Morwen Nadia Neville "
    "Nils Nora Odile Olaf Orla Osric Ottilie Pavel Petra Piers Quentin Ragna Ralph Reto Rhona Rolf Runa Sabine "
    "Selma Sigrid Silas Solveig Sten Tabea Tancred Thea Tilda Tobias Ulla Ulrich Una Valdis Vera Viggo Wanda Wendel "
    "Wilma Xaver Ymke Yorick Zelda Zeno"
)
ROOT_STARTS = _words(
    "Ab Al An Ar Bal Bar Bel Ber Bran Bren Cal Car Cor Cran Dal Dar Del Dor Drum Dun El Er Fal Far Fen Fer Gal Gar "
    "Glen Gor Hal Har Hel Hol Hun Il Ing Ker Kil Kin Lan Lar Lin Lor Mal Mar Mel Mor Nar Nor Ob Or Os Pel Pen Por "
    "Quar Ral Ran Ros Rud Sal Sar Sel Sor Tal Tar Tor Tul Ul Ur Val Var Ver Vol Wal War Wen Wyn Yar Zel"
)
ROOT_ENDS = _words(
    "an ander ard ash aver eck eld ell en ent er eth eva ey ick iden im in inger isk ith iver ock ol om on or orn "
    "oss oth ow uck ud ul um un ur usk yl yth"
)
SURNAME_ENDS = _words(
    "by croft dale den fell gren holt hurst kamp lind lock man mark more ney quist rup sen son stad ton wright"
)
PLACE_ENDS = _words(
    "beck bourne bury combe dale fell ford gate ham haven holm lake mere minster mouth ness pool stead strand vale "
    "wick worth"
)
PLACE_PREFIXES = _words("New Upper Lower East West North South Great Little Old Nether Saint Port")

EPITHETS = _phrases("Captain, Old, Doctor, Blind, Mother, Lucky, Professor, Silent, Red, Sister, Honest, Wandering")

TITLE_QUALITIES = _words(
    "Salt Winter Broken Silver Hidden Distant Paper Iron Second Burning Quiet Drowned Golden Restless Northern Last "
    "Empty Bitter Stolen Painted Blind Narrow Lost Patient Wooden Midnight Crimson Forgotten Seventh Idle Faithful "
    "Shallow Rising Unsent Barefoot Green Solemn Borrowed Sleepless Hungry"
)
TITLE_NOUNS = _words(
    "Ledger Harbour Orchard Letter Bridge Garden Voyage Winter Mountain Daughter Journey Witness Island Promise "
    "Shadow Tower Stranger Harvest Season Castle Kingdom Horizon Echo Lighthouse Feast Ransom Meadow Verdict "
    "Shepherd Widow Tide Inheritance Pilgrim Threshold Corridor Storm Vineyard Oath Procession Cellar Station "
    "Cathedral Apprentice Bargain Farewell Mirror Canyon River Crossing Fortress Ballroom Governor Wedding Quarry "
    "Archive Kitchen Century Prophet Exile Border Chapel Gambler Avalanche Silence Railway Attic Guardian Market "
    "Comet Surgeon"
)
