"""The announcement grammar: how rolls are asked for and announced, spells cast, kills given, and words taken back.

`grammar.read` recognises every sentence here by what it says and by what is being waited for; the generator speaks
them. Chatter, and the traps in it, are in `phrases`.
"""

from __future__ import annotations

import re

from rao_oolong.table.templates import pool

__all__ = [
    "ADVANTAGE",
    "ATTACKS",
    "CASTS",
    "CASTS_PLAIN",
    "CAST_VOIDS",
    "CLOSINGS",
    "DAMAGE",
    "DEATHS",
    "DENIALS",
    "DISADVANTAGE",
    "FAILS",
    "FIXES",
    "GROUP_REQUESTS",
    "HEALING",
    "HITS",
    "LABELLED",
    "MISSES",
    "NATURAL_1",
    "NATURAL_20",
    "OPENINGS",
    "REMARKS",
    "REQUESTS",
    "ROLLS",
    "ROLLS_OBLIQUE",
    "SAVED",
    "TAKEBACKS",
    "VOIDS",
    "VOIDS_BY_DM",
    "WISHES",
]

OPENINGS = (
    "", "", "", "", "", "Okay. ", "Oh, come on. ", "All right. ", "Let's see. ", "Ooh! ", "Ugh. ",
    "Where is it? Okay. ",
    "Big dice, don't fail! ", "God damn it. ", "Not great. ", "That's better. ", "Please, please, please. ",
    "Ooh, okay. ",
)  # fmt: skip
REMARKS = (
    "", "", "", "", "", " (cheering)", " (laughter)", " I'll take it.", " Yes!", " So that's something.", " Ugh.",
    " That's terrible.", " Is that good?", " (groans)", " Thank you, dice.", " I need new dice.",
)  # fmt: skip
_FRAME = {"openings": "|".join(map(re.escape, OPENINGS)), "closings": "|".join(map(re.escape, REMARKS))}

_PLAIN = (
    "{n} plus {m}, {t}.",
    "That's {n} plus {m}, so {t}.",
    "Natural {n}. {t}.",
    "Natural {n}, {t} total.",
    "I rolled {n}, and with my {m} that's {t}.",
    "{t}. Natural {n}.",
    "That's a natural {n}, so {t} altogether.",
    "{n} on the die, plus {m}. {t}.",
    "The die says {n}, {t} with everything.",
    "Just a natural {n}.",
)
_TOTALS = ("{t}.", "That's {t}.", "{t} total.", "{t} for me.", "I've got {t}.", "{t}!")
ROLLS = pool(*_PLAIN, *_TOTALS, **_FRAME)
ROLLS_OBLIQUE = pool(
    "{t}, and {m} of that is just modifier.",
    "Take {m} off {t} and you have my die.",
    "It came up {n}, and I add {m}.",
    "The snitch gives me {n}. I'm at {t} after bonuses.",
    "I'm at {t} once I add my {m}.",
    "There it is, {n}, staring back at me. Add {m}.",
    "Well, {n}. My sheet says plus {m}, do the math.",
    "My {m} drags it up to {t}.",
    **_FRAME,
)
NATURAL_20 = pool(
    ("Natural twenty!", {"n": 20}),
    ("Natural 20!", {"n": 20}),
    ("Nat 20, baby!", {"n": 20}),
    ("That's a natural 20.", {"n": 20}),
    ("It's the big two-zero!", {"n": 20}),
    ("As high as the die goes!", {"n": 20}),
    **_FRAME,
)
NATURAL_1 = pool(
    ("Natural one.", {"n": 1}),
    ("That's a natural one.", {"n": 1}),
    ("Nat one, of course.", {"n": 1}),
    ("As low as the die goes.", {"n": 1}),
    ("One. The single pip. Snake eye.", {"n": 1}),
    **_FRAME,
)
LABELLED = pool("{k}. ", "Okay, {k}: ", "For my {k}, ", "So that {k} is: ", "My {k}? ")
ADVANTAGE = pool(
    "With advantage. {n} and {y}, I keep the {n}. Plus {m}, {t}.",
    "{y}-- and the other die is {n}. Advantage, thank God, so {n} plus {m} is {t}.",
    "Two dice: {y} and {n}. I take the {n} with advantage, {t} total.",
    **_FRAME,
)
DISADVANTAGE = pool(
    "With disadvantage. {y} and {n}, I have to keep the {n}. Plus {m}, {t}.",
    "{y}! Oh, disadvantage. The other one's {n}, so {t}.",
    **_FRAME,
)
TAKEBACKS = pool(
    "{x}-- no, sorry, {n} plus {m}, {t}.",
    "That's {x}. No, wait, wrong modifier. {n} plus {m}, {t}.",
    "{x}? I can't read. It's a {n}, so {t}.",
    **_FRAME,
)
FIXES = pool(
    "Wait, wrong die. It was {n} plus {m}, {t}.",
    "No, sorry, I misread it. Natural {n}, so {t}.",
    "Hold on, that one was cocked. Rolling it again. {n}, and {t} with my bonus.",
    "Actually, I looked at the wrong line. {n} on the die is right, {t} total.",
)
VOIDS = pool(
    "Never mind, scratch that roll, I already did that one.",
    "Oh, you didn't mean me? Then ignore my roll.",
    "Wait, I'm still asleep in this scene. Strike that roll.",
    "Can I take that back? I never wanted to do this. Forget the roll.",
)
VOIDS_BY_DM = pool(
    "{c}, disregard that roll, you are not even in the room.",
    "Actually, {c}, that one doesn't count. You don't need to roll for it.",
    "My mistake, {c}, there was nothing to roll there. Throw it out.",
)
REQUESTS = pool(
    "{c}, make {ak}, please.",
    "Go ahead and make {ak}, {c}.",
    "All right. {c}, give me {ak}.",
    "{c}, I need you to make {ak}.",
    "That's going to be {ak}, {c}.",
    "Okay, {c}. Roll {ak} for me.",
)
GROUP_REQUESTS = pool(
    "I would like you all to make {ak}.",
    "Everybody, make {ak}.",
    "All of you give me {ak}, please.",
    "Okay, {ak} from everyone at the table.",
)
CLOSINGS = pool("Good. Thank you.", "All right, good to know.", "Okay, I have what I need.", "Perfect. Noted.")
WISHES = pool(
    "Can I make {ak}?",
    "I want to do {ak}, if you'll let me.",
    "Does that call for {ak}?",
    "Before we go in, could I try {ak}?",
)
DENIALS = pool(
    "No, you can't tell anything from here.",
    "Don't bother rolling, it's plain to see.",
    "No roll needed. It just works.",
)
ATTACKS = pool(
    "I'm going to swing at the {v} with my {w}.",
    "I attack the {v} with my {w}.",
    "I run up to the {v} and bring my {w} down on it.",
    "Okay. My {w}, that {v}, right now.",
    "I turn around and go for the {v}. {w}, overhead.",
    "Reckless or not, I'm hitting the {v} with the {w}.",
)
HITS = pool(
    "That hits. Go ahead and roll damage, {c}.",
    "That definitely hits. Roll damage, {c}.",
    "Yeah, that gets through. What does it take, {c}?",
)
FAILS = pool(
    "It fails the save. Roll damage, {c}.",
    "No, it does not make it. Roll damage for me, {c}.",
)
MISSES = pool(
    "That misses, {c}. It glances off the armor.",
    "Not quite enough, {c}. It ducks.",
)
SAVED = pool(
    "It makes the save, {c}. Nothing happens.",
    "That saves, {c}. It shrugs the whole thing off.",
)
DAMAGE = pool(
    "{t} points of damage.",
    "{t} points of {d} damage.",
    "{a} plus {b}, {t} points of {d}.",
    "That is {t} {d}.",
    "Big {t} points of damage.",
    "{a} and {b}, that's {t} all told.",
    "So it takes {t}.",
    **_FRAME,
)
HEALING = pool(
    "{t} points of healing.",
    "You get {t} hit points back.",
    "That's {t} back to you, {c}.",
    "{c}, you're up by {t}.",
    **_FRAME,
)
DEATHS = pool(
    "The {v} is finished. How do you want to do this, {c}?",
    "{c}, that kills the {v}.",
    "The {v} drops and does not get up again. That one is yours, {c}.",
    "And with that the {v} folds around your blow, {c}, and is still.",
    "No more {v}. Describe it for us, {c}.",
)
CASTS_PLAIN = pool(
    "I cast {s}.",
    "I'm going to cast {s}.",
    "I'm going to cast {s} on the {v}.",
    "I'll cast {s} at {l} level.",
    "I cast {s} as a {l}-level spell.",
    "I mutter a few words and cast {s} at the {v}.",
    "With my action, I'm going to cast {s}.",
    **_FRAME,
)
CASTS = pool(
    "For my bonus action, {s}, right above the {v}.",
    "Time for {s}.",
    "{s}, right in its stupid face.",
    "My hands go black and out comes {s}.",
    "I burn a {l}-level slot on {s}. Do it.",
    "I hold up my symbol, whisper a prayer, and there's {s}, {l} level.",
    "The {v} gets {s}, and I'm not sorry.",
    "So I do the thing with my fingers. {s}.",
    **_FRAME,
)
CAST_VOIDS = pool(
    "Actually, can I take {s} back? I'd rather keep the slot.",
    "Wait, I don't have the component. So no {s}, forget it.",
    "Hang on, {s} won't even reach. I don't cast it.",
)
