"""Every family against a second implementation: plain loops over a log, written without looking at `measures`.

`SECOND` shares nothing with the package but the events. Each of its functions takes (log, params).
"""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rao_oolong.judging.scoring import score
from rao_oolong.questions.answers import parse, render
from rao_oolong.questions.families import FAMILIES, KILL_FAMILIES, ROLL_FAMILIES, SPELL_FAMILIES, ask
from rao_oolong.session.log import Cast, Kill, Roll, SessionLog


def simple_count(events, condition):
    n = 0
    for event in events:
        if condition(event):
            n = n + 1
    return n


def tie_list(values, pick, minimum):
    values = [value for value in values if value is not None]
    table = [(values.count(value), value) for value in set(values) if values.count(value) >= minimum]
    if not table:
        return []
    best = pick(number for number, _ in table)
    return [str(value) for value in sorted(value for number, value in table if number == best)]


def percentage(log, params):
    if not log.rolls:
        return 0
    exact = 100 * simple_count(log.rolls, lambda r: r.natural == params["value"]) / len(log.rolls)
    below = int(exact)
    return below + 1 if exact - below >= 0.5 else below


def casters(log, spell):
    names = []
    for cast in log.casts:
        if cast.spell == spell and cast.character not in names:
            names.append(cast.character)
    return sorted(names)


def last_of_each(log, params):
    out = []
    for i, cast in enumerate(log.casts):
        if all(later.character != cast.character for later in log.casts[i + 1 :]):
            out.append(cast.spell)
    return out


def per_episode(log, position, character=None):
    out = []
    for episode in range(1, log.episodes + 1):
        spells = [c.spell for c in log.casts if c.episode == episode and character in (None, c.character)]
        if spells:
            out.append(spells[position])
    return out


def nth(log, params):
    spells = [c.spell for c in log.casts if c.episode == params["episode"]]
    return spells[params["nth"] - 1] if params["nth"] <= len(spells) else ""


def shared(log, params):
    return sorted({c.spell for c in log.casts for d in log.casts if c.spell == d.spell and c.character != d.character})


def by(events, key):
    return lambda log, params: simple_count(getattr(log, events), lambda e: getattr(e, key) == params[key])


def until(events):
    return lambda log, params: simple_count(getattr(log, events), lambda e: not e.episode > params["episode"])


SECOND = {
    "rolls_total": lambda log, params: len(log.rolls),
    "rolls_by_character": by("rolls", "character"),
    "rolls_by_player": by("rolls", "player"),
    "rolls_of_type": by("rolls", "kind"),
    "rolls_of_value": lambda log, params: [r.natural for r in log.rolls].count(params["value"]),
    "rolls_percentage": percentage,
    "roll_type_most": lambda log, params: tie_list([r.kind for r in log.rolls], max, 1),
    "roll_type_least": lambda log, params: tie_list([r.kind for r in log.rolls], min, 2),
    "roll_value_most": lambda log, params: tie_list([r.natural for r in log.rolls], max, 1),
    "roll_value_least": lambda log, params: tie_list([r.natural for r in log.rolls], min, 2),
    "crits": lambda log, params: len([r for r in log.rolls if r.natural in {1, 20}]),
    "nat20s": lambda log, params: len([r for r in log.rolls if r.natural == 20]),
    "nat1s": lambda log, params: len([r for r in log.rolls if r.natural == 1]),
    "rolls_cumulative": until("rolls"),
    "rolls_cumulative_by_character": lambda log, params: len(
        [r for r in log.rolls if r.character == params["character"] if r.episode in range(params["episode"] + 1)]
    ),
    "spells_total": lambda log, params: len(log.casts),
    "spells_by_character": by("casts", "character"),
    "spells_by_player": by("casts", "player"),
    "spells_named": by("casts", "spell"),
    "spells_first": lambda log, params: [c.spell for i, c in enumerate(log.casts) if i < params["count"]],
    "spells_last": lambda log, params: [
        c.spell for i, c in enumerate(log.casts) if i >= len(log.casts) - params["count"]
    ],
    "spells_last_each": last_of_each,
    "spell_casters": lambda log, params: len(casters(log, params["spell"])),
    "spell_caster_names": lambda log, params: casters(log, params["spell"]),
    "spell_most": lambda log, params: tie_list([c.spell for c in log.casts], max, 1),
    "spell_least": lambda log, params: tie_list([c.spell for c in log.casts], min, 1),
    "spells_shared": shared,
    "cantrips": lambda log, params: len([c for c in log.casts if not c.base_level]),
    "upcasts": lambda log, params: len([c for c in log.casts if c.level - c.base_level > 0]),
    "upcast_spells": lambda log, params: sorted({c.spell for c in log.casts if c.level != c.base_level}),
    "spells_cumulative": until("casts"),
    "spell_nth": nth,
    "spell_first_each_episode": lambda log, params: per_episode(log, 0),
    "spell_last_each_episode": lambda log, params: per_episode(log, -1),
    "spell_first_each_episode_by_character": lambda log, params: per_episode(log, 0, params["character"]),
    "spell_last_each_episode_by_character": lambda log, params: per_episode(log, -1, params["character"]),
    "kills_total": lambda log, params: len(log.kills),
    "kills_by_character": by("kills", "character"),
    "kills_by_player": by("kills", "player"),
    "kills_most": lambda log, params: tie_list([k.character for k in log.kills], max, 1),
    "kills_cumulative": until("kills"),
}

WHO = (("Bo", "Wisp"), ("Cy", "Grub"), ("Di", "Rook"))
TABLE = (("Ann", "DM"), *WHO)
SPELLS = (("Hex", 1), ("Fire Bolt", 0), ("Fly", 3))
KINDS = ("Stealth", "Attack", "Damage")

who = st.sampled_from(WHO)


@st.composite
def logs(draw):
    """Small logs, in which ties, absences and repetitions are frequent. Lines 0 to 39, three episodes."""
    lines = st.lists(st.integers(0, 39), max_size=12).map(sorted)
    episode = lambda line: 1 + line // 15  # noqa: E731
    rolls = [
        Roll(
            episode(line),
            line,
            *draw(who),
            draw(st.sampled_from(KINDS)),
            draw(st.sampled_from((None, 1, 2, 9, 20))),
            draw(st.sampled_from((None, 12))),
        )
        for line in draw(lines)
    ]
    casts = []
    for line in draw(lines):
        spell, base = draw(st.sampled_from(SPELLS))
        casts.append(Cast(episode(line), line, *draw(who), spell, base, base + draw(st.sampled_from((0, 0, 1)))))
    kills = [Kill(episode(line), line, *draw(who), "imp") for line in draw(lines)]
    return SessionLog(tuple(rolls), tuple(casts), tuple(kills), 3, TABLE)


PARAMS = st.fixed_dictionaries(
    {
        "character": st.sampled_from([character for _, character in WHO]),
        "player": st.sampled_from([player for player, _ in WHO]),
        "kind": st.sampled_from(KINDS),
        "spell": st.sampled_from([spell for spell, _ in SPELLS]),
        "value": st.sampled_from([1, 2, 9, 20, 7]),
        "episode": st.integers(1, 3),
        "count": st.integers(1, 14),
        "nth": st.integers(1, 5),
    }
)


def of(family, params):
    return {name: params[name] for name in family.parameters}


def test_every_family_has_a_second_opinion():
    assert SECOND.keys() == FAMILIES.keys()
    assert {*ROLL_FAMILIES, *SPELL_FAMILIES, *KILL_FAMILIES} == FAMILIES.keys()


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=60)
@given(log=logs(), params=PARAMS)
def test_answers_agree_with_the_second_opinion(name, log, params):
    family = FAMILIES[name]
    params = of(family, params)
    answer = family.answer(log, **params)
    assert answer == SECOND[name](log, params)
    assert {int: "int", str: "str", list: "list"}[type(answer)] == family.kind


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=60)
@given(log=logs(), params=PARAMS, cuts=st.lists(st.integers(0, 40), max_size=5).map(sorted))
def test_chunks_merge_into_the_whole(name, log, params, cuts):
    family = FAMILIES[name]
    params = of(family, params)
    edges = [0, *cuts, 40]
    parts = [log.between(low, high - 1) for low, high in pairwise(edges)]
    # Through JSON, as children hand it to their parents.
    partials = [json.loads(json.dumps(family.partial(part, **params))) for part in parts]
    whole = family.answer(log, **params)
    assert family.finish(family.merge(partials), **params) == whole
    # In two storeys, as parents of parents merge; and empty.
    middle = len(partials) // 2
    storeys = [family.merge(partials[:middle]), family.merge(partials[middle:])]
    assert family.finish(family.merge(json.loads(json.dumps(storeys))), **params) == whole
    assert family.finish(family.merge([]), **params) == family.answer(SessionLog(), **params)


@given(log=logs(), first=st.integers(-3, 45), last=st.integers(-3, 45))
def test_between_is_a_filter_on_lines(log, first, last):
    part = log.between(first, last)
    for name in ("rolls", "casts", "kills"):
        assert getattr(part, name) == tuple(e for e in getattr(log, name) if first <= e.line <= last)
    assert (part.episodes, part.cast_table) == (3, TABLE)


@pytest.mark.parametrize("session", ["campaign", "single"])
def test_generated_sessions_agree_with_the_second_opinion(session, request):
    log = request.getfixturevalue(session).log
    asked = set()
    for name, family in FAMILIES.items():
        if family.setting == ("multi" if log.episodes == 1 else "single"):
            continue
        for index in range(12):
            question = ask(log, 0, index, [name])
            gold = SECOND[name](log, question.params)
            assert family.answer(log, **question.params) == gold
            assert score(parse(render(gold)), question.gold).value == 1
            asked.add(name)
    assert len(asked) > 30
