r"""The families of questions: how each is asked, recognised, answered, and delegated over chunks.

The wording is that of the published set (Oolong, arXiv:2511.02817, tables 18 and 19), where "this episode"
becomes "all episodes" when there are several. Families about kills are ours.

A family is nominally an integer, a string or a list, but a `Question`'s gold follows the published rule: what is
written into the box is read back by `scoring.parse`, so a list of one item is a string (or an integer).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rao_envs.errors import OptionError
from rao_envs.seeding import rng
from rao_oolong.questions import measures as m
from rao_oolong.questions.answers import Answer, Kind, kind_of, parse, render
from rao_oolong.questions.measures import Measure
from rao_oolong.questions.parameters import PARAMETERS
from rao_oolong.session.log import SessionLog

__all__ = ["FAMILIES", "KILL_FAMILIES", "ROLL_FAMILIES", "SPELL_FAMILIES", "Family", "Question", "ask", "parse_goal"]

Params: TypeAlias = dict[str, "str | int"]
Setting: TypeAlias = Literal["any", "single", "multi"]

_LIST = " Return a comma separated list."
_ORDER = _LIST + " Retain the order of spells as they appear in the episode."
_VALUES = " Count the number of rolls and not the values of the rolls."
_SCOPE = r"(?:in|within|during|across|over|from|of)\s+(?:this|the|these|all(?:\s+the)?)\s+(?:given\s+)?"
_LONGEST_GOAL = 1_000  # characters; a longer goal carries its text with it, and is no question of ours
_PLACE = r"(?:episodes?|transcripts?|chunks?|parts?|texts?|contexts?|excerpts?|sessions?)"


@dataclass(frozen=True, slots=True)
class Family:
    """One family of questions.

    Attributes:
        name: unique.
        kind: what the answer is by nature.
        template: the question; ``{scope}`` or ``{Scope}`` is "in this episode" or "across all episodes".
        parameters: what else the template has in braces, in alphabetical order.
        setting: asked of one episode, of several, or of both.
        measure: how it is answered.
    """

    name: str
    kind: Kind
    template: str
    parameters: tuple[str, ...]
    setting: Setting
    measure: Measure

    def ask(self, params: Mapping[str, str | int], *, across: bool = False) -> str:
        """Word the question, across all episodes or in this episode."""
        scope = "across all episodes" if across else "in this episode"
        return self.template.format(scope=scope, Scope=scope.capitalize(), **params)

    def answer(self, log: SessionLog, **params: Any) -> Answer:
        """Return the answer over a log: int, string, or list in order; ties and sets are sorted."""
        return self.finish(self.partial(log, **params), **params)

    def partial(self, log: SessionLog, **params: Any) -> Any:
        """Return what a chunk contributes to the answer, as JSON-able data.

        Raises:
            OptionError: a parameter is missing or unknown.
        """
        if set(params) != set(self.parameters):
            raise OptionError("params", params, f"{self.name} takes exactly {list(self.parameters)}")
        return self.measure.partial(log, params)

    def merge(self, partials: Iterable[Any]) -> Any:
        """Join the partials of consecutive chunks, given in the order of the chunks."""
        return self.measure.merge(partials)

    def finish(self, partial: Any, **params: Any) -> Answer:
        """Turn the partial of the whole into the answer."""
        return self.measure.finish(partial, params)


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a session and its answer.

    Attributes:
        family: name of its family.
        params: the family's parameters.
        text: the question.
        gold: the answer, as `scoring.parse` reads it; never empty.
        kind: kind of the gold.
    """

    family: str
    params: Mapping[str, str | int]
    text: str
    gold: Answer
    kind: Kind


def ask(log: SessionLog, seed: int, index: int, families: Iterable[str] | None = None) -> Question:
    """Draw a question with an answer, pure in the arguments.

    The family is drawn first, each equally likely, then its parameters from what occurs in the log. Families that
    do not suit the log (no episodes to compare, no spell cast, an empty list as the answer) are passed over.

    Args:
        log: of the whole session.
        seed: any integer.
        index: number of the question.
        families: names to draw from; None draws from all.

    Raises:
        OptionError: an unknown family, or none that can be asked of this log.
    """
    names = list(FAMILIES if families is None else families)
    if unknown := [name for name in names if name not in FAMILIES]:
        raise OptionError("families", unknown, f"choose from {sorted(FAMILIES)}")
    random = rng("oolong-question", seed, index)
    random.shuffle(names)
    across = log.episodes > 1
    for name in names:
        family = FAMILIES[name]
        if family.setting == ("single" if across else "multi"):
            continue
        choices = {parameter: PARAMETERS[parameter].choices(log, name) for parameter in family.parameters}
        if not all(choices.values()):
            continue
        params: Params = {parameter: random.choice(values) for parameter, values in choices.items()}
        gold = parse(render(family.answer(log, **params)))
        if gold not in ("", []):
            return Question(name, params, family.ask(params, across=across), gold, kind_of(gold))
    raise OptionError("families", names, "none of them can be asked of this log")


def parse_goal(text: str, log: SessionLog | None = None) -> tuple[str, Params] | None:
    """Recognise a question of a known family.

    Case, white space and final punctuation do not matter; "episode" may be "transcript", "chunk" or the like; the
    sentences on how to answer may be missing, or others about the box may follow. Anything else that the text
    says makes it a question we do not know.

    Args:
        text: what was asked.
        log: of the whole session. When given, the names, roll types and spells in the question must occur in it, so
            that "the character Wisp in the tavern" is not taken for somebody's name.

    Returns:
        The family's name and its parameters as written (integers as ints), or None.
    """
    if len(text) > _LONGEST_GOAL:
        return None
    goal = _HOW.sub("", " ".join(text.split())).strip()
    for name, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(goal):
            params = {key: PARAMETERS[key].read(value) for key, value in found.groupdict().items()}
            known = log is None or all(PARAMETERS[key].known(log, value) for key, value in params.items())
            return (name, params) if known else None
    return None


def _by(*keys: str) -> m.Test:
    """Test that the event's attributes equal the parameters of those names."""
    return lambda event, params: all(_same(getattr(event, key), params[key]) for key in keys)


def _same(value: object, wanted: object) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return value.casefold() == wanted.casefold()
    return value == wanted


def _until(event: Any, params: dict[str, Any]) -> bool:
    return bool(event.episode <= params["episode"])


def _until_by(event: Any, params: dict[str, Any]) -> bool:
    return _until(event, params) and _same(event.character, params["character"])


def _of_kind(event: Any, params: dict[str, Any]) -> bool:
    return _same(event.kind, params["kind"])


def _of_value(event: Any, params: dict[str, Any]) -> bool:
    return bool(event.natural == params["value"])


def _upcast(event: Any, params: dict[str, Any]) -> bool:
    return bool(event.level > event.base_level)


def _kind(event: Any) -> str:
    return str(event.kind)


def _natural(event: Any) -> int | None:
    return None if event.natural is None else int(event.natural)


def _spell(event: Any) -> str:
    return str(event.spell)


def _character(event: Any) -> str:
    return str(event.character)


def _of(source: m.Source, *naturals: int) -> Measure:
    return m.count(source, lambda event, params: event.natural in naturals)


# fmt: off
_ROWS: tuple[tuple[str, Kind, Setting, str, Measure], ...] = (
    ("rolls_total", "int", "any", "Total number of rolls {scope}?", m.count(m.rolls)),
    ("rolls_by_character", "int", "any",
     "Total number of rolls by the character {character} {scope}?", m.count(m.rolls, _by("character"))),
    ("rolls_by_player", "int", "any",
     "Total number of rolls by the player {player} {scope}?", m.count(m.rolls, _by("player"))),
    ("rolls_of_type", "int", "any",
     "Total number of rolls of type {kind} {scope}?", m.count(m.rolls, _of_kind)),
    ("rolls_of_value", "int", "any",
     "Number of rolls of natural value {value} {scope}?", m.count(m.rolls, _of_value)),
    ("rolls_percentage", "int", "any",
     "{Scope}, what percentage of rolls were of value {value}? Round to the nearest integer.",
     m.share(m.rolls, _of_value)),
    ("roll_type_most", "list", "any",
     "What is the most common roll type {scope}?" + _LIST, m.commonest(m.rolls, _kind)),
    ("roll_type_least", "list", "any",
     "What is the least common roll type {scope}? Only include types with more than one roll." + _LIST,
     m.rarest(m.rolls, _kind, 2)),
    ("roll_value_most", "list", "any",
     "What is the most common natural roll value {scope}?" + _LIST, m.commonest(m.rolls, _natural)),
    ("roll_value_least", "list", "any",
     "What is the least common natural roll value {scope}? Only include values with more than one roll." + _LIST,
     m.rarest(m.rolls, _natural, 2)),
    ("crits", "int", "any",
     "What is the count of Crits {scope} (natural rolls of value 1 or 20)?", _of(m.rolls, 1, 20)),
    ("nat20s", "int", "any",
     "What is the count of Nat20s {scope} (natural rolls of value 20)?", _of(m.rolls, 20)),
    ("nat1s", "int", "any",
     "What is the count of Nat1s {scope} (natural rolls of value 1)?", _of(m.rolls, 1)),
    ("rolls_cumulative", "int", "multi",
     "What is the cumulative total of rolls by the end of episode {episode}?" + _VALUES, m.count(m.rolls, _until)),
    ("rolls_cumulative_by_character", "int", "multi",
     "What is the cumulative total of rolls by the character {character} at the end of episode {episode}?" + _VALUES,
     m.count(m.rolls, _until_by)),
    ("spells_total", "int", "any", "How many spells were cast {scope}?", m.count(m.casts)),
    ("spells_by_character", "int", "any",
     "How many spells were cast by the character {character} {scope}?", m.count(m.casts, _by("character"))),
    ("spells_by_player", "int", "any",
     "How many spells were cast by the player {player} {scope}?", m.count(m.casts, _by("player"))),
    ("spells_named", "int", "any",
     "How many {spell} spells were cast {scope}?", m.count(m.casts, _by("spell"))),
    ("spells_first", "list", "single",
     "What are the first {count} spells cast {scope}?" + _ORDER, m.first(m.casts, _spell)),
    ("spells_last", "list", "single",
     "What are the last {count} spells cast {scope}?" + _ORDER, m.last(m.casts, _spell)),
    ("spells_last_each", "list", "single",
     "What is the last spell cast by each character {scope}?" + _ORDER, m.last_each(m.casts, _character, _spell)),
    ("spell_casters", "int", "any",
     "How many characters cast {spell} spell {scope}?",
     m.distinct(m.casts, _character, _by("spell"), number=True)),
    ("spell_caster_names", "list", "any",
     "Which characters cast {spell} spell {scope}?" + _LIST, m.distinct(m.casts, _character, _by("spell"))),
    ("spell_most", "list", "any",
     "What is the most common spell {scope}?" + _LIST, m.commonest(m.casts, _spell)),
    ("spell_least", "list", "any",
     "What is the least common spell {scope}? Only include spells that were cast at least once." + _LIST,
     m.rarest(m.casts, _spell, 1)),
    ("spells_shared", "list", "any",
     "Which spells were cast by more than one character {scope}?" + _LIST, m.shared(m.casts, _character, _spell)),
    ("cantrips", "int", "any", "What is the total number of cantrip spells cast {scope}?",
     m.count(m.casts, lambda cast, params: cast.base_level == 0)),
    ("upcasts", "int", "any",
     "{Scope}, how many times was a spell cast at a level higher than its base level?", m.count(m.casts, _upcast)),
    ("upcast_spells", "list", "any",
     "{Scope}, which spells were cast at a level higher than their base level?" + _LIST[:-1] + " of unique spells.",
     m.distinct(m.casts, _spell, _upcast)),
    ("spells_cumulative", "int", "multi",
     "What is the cumulative total of spells cast by the end of episode {episode}?", m.count(m.casts, _until)),
    ("spell_nth", "str", "multi",
     "What is the {nth} spell cast in episode {episode}?", m.nth(m.casts, _spell, _by("episode"))),
    ("spell_first_each_episode", "list", "multi",
     "List the first spell cast in each episode." + _LIST, m.edge_each_episode(m.casts, _spell, last=False)),
    ("spell_last_each_episode", "list", "multi",
     "List the last spell cast in each episode." + _LIST, m.edge_each_episode(m.casts, _spell, last=True)),
    ("spell_first_each_episode_by_character", "list", "multi",
     "List the first spell cast by the character {character} in each episode." + _LIST,
     m.edge_each_episode(m.casts, _spell, last=False, test=_by("character"))),
    ("spell_last_each_episode_by_character", "list", "multi",
     "List the last spell cast by the character {character} in each episode." + _LIST,
     m.edge_each_episode(m.casts, _spell, last=True, test=_by("character"))),
    ("kills_total", "int", "any", "How many kills were there {scope}?", m.count(m.kills)),
    ("kills_by_character", "int", "any",
     "How many kills by the character {character} were there {scope}?", m.count(m.kills, _by("character"))),
    ("kills_by_player", "int", "any",
     "How many kills by the player {player} were there {scope}?", m.count(m.kills, _by("player"))),
    ("kills_most", "list", "any",
     "Which character had the most kills {scope}?" + _LIST, m.commonest(m.kills, _character)),
    ("kills_cumulative", "int", "multi",
     "What is the cumulative total of kills by the end of episode {episode}?", m.count(m.kills, _until)),
)
# fmt: on


def _family(name: str, kind: Kind, setting: Setting, template: str, measure: Measure) -> Family:
    fields = set(re.findall(r"{(\w+)}", template)) - {"scope", "Scope"}
    return Family(name, kind, template, tuple(sorted(fields)), setting, measure)


def _pattern(family: Family) -> re.Pattern[str]:
    """Compile what `parse_goal` compares a goal with, once the sentences on how to answer are gone."""
    parts = re.split(r"{(\w+)}", _HOW.sub("", family.template).rstrip(" ?.,"))
    words = [re.escape(text).replace(r"\ ", r"\s+") for text in parts[::2]]
    fields = [f"{_SCOPE}{_PLACE}" if key.lower() == "scope" else PARAMETERS[key].pattern(key) for key in parts[1::2]]
    text = "".join(word + field for word, field in zip(words, [*fields, ""], strict=True))
    # The published set spells it "cummulative".
    return re.compile(text.replace("cumulative", "cumm?ulative") + r"[\s?.!]*", re.IGNORECASE)


# Sentences that say how to answer or repeat what the family's name says; none of them changes the question.
_HOW = re.compile(
    r"\s*(?:(?:return|give|answer with|reply with) (?:me )?(?:it as )?an? (?:unique )?comma[- ]separated list"
    r"(?: of unique spells)?(?: and retain the order of spells as they appear in the (?:episode|transcript))?"
    r"|retain the order of spells as they appear in the \w+"
    r"|only include spells that were cast at least once"
    r"|count the number of rolls and not the values of the rolls|round to the nearest integer"
    r"|(?:return|give|put|write|answer|reply)[^.?!]*\\boxed[^.?!]*)[.!?]?(?=\s|$)",
    re.IGNORECASE,
)

FAMILIES: Mapping[str, Family] = {row[0]: _family(*row) for row in _ROWS}
"""Every family by name, in the order of the published tables."""

ROLL_FAMILIES = tuple(name for name in FAMILIES if name.startswith(("roll", "crits", "nat")))
SPELL_FAMILIES = tuple(name for name in FAMILIES if name.startswith(("spell", "cantrips", "upcast")))
KILL_FAMILIES = tuple(name for name in FAMILIES if name.startswith("kill"))

_PATTERNS = {name: _pattern(family) for name, family in FAMILIES.items()}
