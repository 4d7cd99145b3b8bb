"""How facts are put in words: the same clauses serve the pages and the questions, and can be read back.

A clause says one relation of a head `{h}` and a tail `{t}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["CLAUSES", "DOUBTS", "HOOK_SENTENCES", "LEADS", "article", "capital", "pattern"]

CLAUSES: Mapping[str, Sequence[str]] = {
    "born_in": (
        "{h} was born in {t}",
        "{h} came into the world in {t}",
        "{t} was the birthplace of {h}",
        "{h} was a native of {t}",
    ),
    "studied_under": (
        "{h} studied under {t}",
        "{h} learned the trade from {t}",
        "{h} was a pupil of {t}",
        "{t} was the teacher of {h}",
    ),
    "worked_for": (
        "{h} worked for {t}",
        "{h} was employed by {t}",
        "{h} drew a salary from {t}",
        "{t} had {h} on its staff",
    ),
    "governed_from": (
        "{h} was governed from {t}",
        "{h} answered to the council of {t}",
        "{h} paid its taxes to {t}",
        "{t} appointed the magistrates of {h}",
    ),
    "planned_by": (
        "the main square of {h} was laid out by {t}",
        "{t} drew the plan for the main square of {h}",
        "{h} owes its main square to {t}",
        "{h} had its main square designed by {t}",
    ),
    "created_by": (
        "{h} was created by {t}",
        "{h} is the work of {t}",
        "{t} is the author of {h}",
        "{h} came from the hand of {t}",
    ),
    "set_in": (
        "{h} is set in {t}",
        "{h} takes place in {t}",
        "{t} is the scene of {h}",
        "the story of {h} unfolds in {t}",
    ),
    "commissioned_by": (
        "{h} was commissioned by {t}",
        "{h} was made at the request of {t}",
        "{h} was ordered by {t}",
        "{t} gave the commission for {h}",
    ),
    "recalls": (
        "{h} commemorates {t}",
        "{h} was inspired by {t}",
        "{h} looks back on {t}",
        "{t} is the subject of {h}",
    ),
    "founded_by": (
        "{h} was founded by {t}",
        "{h} was set up by {t}",
        "{h} owes its existence to {t}",
        "{t} called {h} into being",
    ),
    "based_in": (
        "{h} is based in {t}",
        "{h} has its seat in {t}",
        "{t} is home to {h}",
        "the headquarters of {h} are in {t}",
    ),
    "grew_from": (
        "{h} grew out of {t}",
        "{h} split off from {t}",
        "{h} began as a branch of {t}",
        "{t} was the parent of {h}",
    ),
    "held_in": (
        "{h} happened in {t}",
        "{h} was witnessed in {t}",
        "{t} was the site of {h}",
        "the streets of {t} saw {h}",
    ),
    "led_by": (
        "{h} was led by {t}",
        "{h} was directed by {t}",
        "{t} was in charge of {h}",
        "{t} presided over {h}",
    ),
    "paid_by": (
        "{h} was financed by {t}",
        "{h} was paid for by {t}",
        "{t} bore the costs of {h}",
        "{t} was the sponsor of {h}",
    ),
}
"""How each relation is said."""

LEADS: Sequence[Sequence[str]] = (
    (
        "{name} was {sort}, born in {year}.",
        "Born in {year}, {name} made a living as {sort}.",
        "{name} ({year} until some time later) was {sort}.",
    ),
    (
        "{name} is {sort}, founded in {year}.",
        "Founded in {year}, {name} is {sort}.",
        "{name} is {sort} that goes back to {year}.",
    ),
    (
        "{name} is {sort} of {year}.",
        "{name}, finished in {year}, is {sort}.",
        "Finished in {year}, {name} is {sort}.",
    ),
    (
        "{name} is {sort}, established in {year}.",
        "Established in {year}, {name} is {sort}.",
        "{name} is {sort} that opened its doors in {year}.",
    ),
    (
        "{name} was {sort} held in {year}.",
        "{name} was {sort} in the year {year}.",
        "In {year} came {name}, {sort}.",
    ),
)
"""First sentences by kind: they say sort and year."""

HOOK_SENTENCES: Sequence[Sequence[str]] = (
    (
        "People remember {name} for {hook}.",
        "Much of {name}'s spare time went into {hook}.",
        "A notebook proves a lifelong habit of {hook}.",
    ),
    (
        "Travellers come for the {hook}.",
        "Its {hook} are known far beyond the district.",
        "No visitor leaves without having seen the {hook}.",
    ),
    (
        "Nobody forgets the scene with the {hook}.",
        "One scene, with {hook}, made it famous.",
        "It is still quoted for its scene with {hook}.",
    ),
    (
        "Its emblem shows {hook}.",
        "Over the door hangs its emblem: {hook}.",
        "On its seal one sees {hook}.",
    ),
    (
        "What people recall are the {hook}.",
        "It is recalled for its {hook}.",
        "Those who were there still speak of the {hook}.",
    ),
)
"""How a page says what sets an entity apart, by kind; `{hook}` is the phrase without its introduction."""

DOUBTS: Sequence[str] = (
    "It has been rumoured that {clause}, but no record confirms it.",
    "According to an old tavern story, {clause}; historians reject this.",
    "An early newspaper claimed that {clause}, an error that was later withdrawn.",
    "Some guidebooks still say that {clause}, which the archives disprove.",
)
"""How a page says what is not true: a reader can tell by the first words and by the last."""


def article(noun: str) -> str:
    """Put "a" or "an" before a noun."""
    return f"{'an' if noun[0].lower() in 'aeio' else 'a'} {noun}"


def capital(sentence: str) -> str:
    """Begin a sentence with a capital."""
    return sentence[:1].upper() + sentence[1:]


def pattern(template: str, **slots: str) -> str:
    """Return a regular expression that reads what a template says; `slots` are expressions for its fields."""
    parts = re.split(r"\{(\w+)\}", template)
    return "".join(slots[part] if place % 2 else re.escape(part) for place, part in enumerate(parts))
