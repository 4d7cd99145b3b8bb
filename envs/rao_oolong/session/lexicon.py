"""The words of the game: roll types and how they are spoken, spells, creatures, weapons, names, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

__all__ = [
    "CHARACTERS",
    "CHECKS",
    "CREATURES",
    "HINTS",
    "KINDS",
    "LEVELS",
    "NUMBER",
    "PLAYERS",
    "SAVES",
    "SPELLS",
    "WEAPONS",
    "number",
    "spoken_number",
    "with_article",
]

Effect: TypeAlias = Literal["attack", "save", "heal", "plain"]

CHECKS: Mapping[str, str] = {
    "Perception": "perception check",
    "Stealth": "stealth check",
    "Investigation": "investigation check",
    "Insight": "insight check",
    "Deception": "deception check",
    "Sleight of Hand": "sleight of hand check",
    "Persuasion": "persuasion check",
    "Survival": "survival check",
    "Religion": "religion check",
    "Athletics": "athletics check",
    "Acrobatics": "acrobatics check",
    "Animal Handling": "animal handling check",
    "Intimidation": "intimidation check",
    "Performance": "performance check",
    "Nature": "nature check",
    "Medicine": "medicine check",
    "History": "history check",
    "Arcana": "arcana check",
    "Thieves' Tools": "thieves' tools check",
}
SAVES: Mapping[str, str] = {
    "Constitution Save": "constitution saving throw",
    "Wisdom Save": "wisdom saving throw",
    "Dexterity Save": "dexterity saving throw",
    "Charisma Save": "charisma saving throw",
    "Death Save": "death saving throw",
}
KINDS: Mapping[str, str] = {**CHECKS, **SAVES, "Initiative": "initiative roll"}
"""Roll types that are asked for -> how they are spoken. The others are Attack, Spell Attack, Damage, Healing."""

HINTS: Mapping[str, tuple[str, ...]] = {
    "Perception": ("{c}, tell me what you notice.", "{c}, roll me something for your ears and eyes."),
    "Stealth": ("{c}, show me how quiet you are.", "{c}, roll to see whether that floorboard hears you."),
    "Insight": ("{c}, roll to see if you believe a word of it.", "{c}, let's find out whether you can read him."),
    "Investigation": ("{c}, roll for how well you turn this room over.",),
    "Deception": ("{c}, let's see how well you lie.", "{c}, sell me that lie with a d20."),
    "Athletics": ("{c}, roll for the climb, straight strength and training.",),
    "Acrobatics": ("{c}, roll to see if you land that flip.",),
    "Persuasion": ("{c}, roll to see if your charm carries it.",),
    "Constitution Save": ("{c}, let's see if your stomach resists the poison.",),
    "Dexterity Save": ("{c}, dive for it. Roll to get out of the blast.",),
}
"""Roll types that the game master may ask for without naming them."""

SPELLS: Mapping[str, tuple[int, Effect]] = {
    "Fire Bolt": (0, "attack"),
    "Eldritch Blast": (0, "attack"),
    "Sacred Flame": (0, "save"),
    "Toll the Dead": (0, "save"),
    "Vicious Mockery": (0, "save"),
    "Shocking Grasp": (0, "attack"),
    "Dancing Lights": (0, "plain"),
    "Thaumaturgy": (0, "plain"),
    "Mage Hand": (0, "plain"),
    "Spare the Dying": (0, "plain"),
    "Guiding Bolt": (1, "attack"),
    "Chromatic Orb": (1, "attack"),
    "Cure Wounds": (1, "heal"),
    "Healing Word": (1, "heal"),
    "Bless": (1, "plain"),
    "Hex": (1, "plain"),
    "Shield": (1, "plain"),
    "Disguise Self": (1, "plain"),
    "Charm Person": (1, "plain"),
    "Detect Magic": (1, "plain"),
    "Thunderwave": (1, "save"),
    "Burning Hands": (1, "save"),
    "Scorching Ray": (2, "attack"),
    "Spiritual Weapon": (2, "attack"),
    "Invisibility": (2, "plain"),
    "Misty Step": (2, "plain"),
    "Hold Person": (2, "plain"),
    "Shatter": (2, "save"),
    "Fireball": (3, "save"),
    "Fly": (3, "plain"),
    "Haste": (3, "plain"),
    "Dispel Magic": (3, "plain"),
}
"""Spell -> (base level, what rolling it leads to)."""

LEVELS = ("first", "second", "third", "fourth", "fifth", "sixth")
CREATURES = (
    "gnoll", "zombie", "bandit captain", "hill giant", "imp", "manticore", "wight", "ogre", "harpy", "troll",
    "worg", "cultist", "giant spider", "merrow", "hobgoblin", "ghoul", "basilisk", "swamp hag", "duergar", "owlbear",
)  # fmt: skip
WEAPONS = (
    "rapier", "longbow", "staff", "greataxe", "shortsword", "hand crossbow", "scimitar", "warhammer", "dagger",
    "glaive", "handaxe", "fists",
)  # fmt: skip
PLAYERS = (
    "Nadia", "Theo", "Priya", "Marcus", "Ingrid", "Dario", "Hannah", "Felix", "Joyce", "Owen", "Lucia", "Graham",
    "Mei", "Victor", "Paula", "Simon",
)  # fmt: skip
CHARACTERS = (
    "Brannoch", "Wisp", "Tamsin", "Orrin", "Velka", "Dunstan", "Isolde", "Grub", "Kestrel", "Mordi", "Fenn", "Calla",
    "Rook", "Zephra", "Thistle", "Bram",
)  # fmt: skip

# Transcribers write numbers up to nine as words and the rest as digits.
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_READ = {word: value for value, word in enumerate(_WORDS)} | {"twenty": 20}

NUMBER = r"(?:\d{1,3}|" + "|".join(_READ) + ")"
"""Regular expression of a spoken number."""


def spoken_number(value: int) -> str:
    """Write a number as a transcriber does: in words up to nine."""
    return _WORDS[value] if 0 <= value < 10 else str(value)


def number(text: str) -> int:
    """Read what `NUMBER` matches, in any case."""
    return int(text) if text.isdigit() else _READ[text.lower()]


def with_article(phrase: str) -> str:
    """Return the phrase after "a" or "an"."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
