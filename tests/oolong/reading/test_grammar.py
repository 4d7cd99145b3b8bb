from collections import Counter

import pytest

from rao_envs.errors import OptionError
from rao_envs.seeding import rng
from rao_oolong import FAMILIES, Knobs, ask, generate, score
from rao_oolong.reading import grammar
from rao_oolong.session.log import Cast, Kill, Roll
from rao_oolong.table import phrases, speech
from rao_oolong.table.templates import Pool

TABLE = (("Ann", "DM"), ("Bo", "Wisp"), ("Cy", "Grub"))
WORDS = {"c": "Wisp", "p": "Bo", "v": "imp", "w": "staff", "s": "Hex", "n": "nine", "big": 30, "place": "the mill"}
WORDS |= {"thing": "a key", "food": "bacon", "npc": "Old Marn"}
POOLS = {name: getattr(speech, name) for name in speech.__all__ if isinstance(getattr(speech, name), Pool)}


def events(log):
    return Counter((*log.rolls, *log.casts, *log.kills))


def accuracy(pairs):
    """Events both have (every field equal), over the larger number of events."""
    both = larger = 0
    for gold, read in pairs:
        gold, read = events(gold), events(read)
        both += (gold & read).total()
        larger += max(gold.total(), read.total())
    return both / larger


def heard(*lines):
    return grammar.read(lines, TABLE)


def chunks(session, cuts):
    """Yield (log of the chunk, what is read in it)."""
    episode = 0
    for first, last in cuts:
        text = session.lines(first, last)
        starts = text.startswith("[START")
        read = grammar.read(text, session.log.cast_table, first_line=first, episode=episode + starts or 1)
        yield session.log.between(first, last), read
        episode += text.count("[START")


def random_cuts(session, seed):
    random, first = rng("cuts", seed), 0
    while first < len(session):
        last = min(first + random.randint(300, 500), len(session)) - 1
        yield first, last
        first = last + 1


def quiet_cuts(session, size=32_000):
    first = 0
    for chunk in grammar.split(session.text, size, session.log.cast_table):
        yield first, first + chunk.count("\n")
        first += chunk.count("\n") + 1


SESSIONS = [generate(seed, episodes=2, tokens=60_000) for seed in range(8)]


@pytest.mark.parametrize("knobs", [Knobs(), Knobs(noise=1, oblique=1, retractions=1), Knobs(0, 0, 0, 2)])
def test_the_reader_recovers_a_whole_session_exactly(knobs):
    session = generate(1, episodes=2, tokens=40_000, knobs=knobs)
    assert grammar.read(session.context).rolls
    read = grammar.read(session.text, session.log.cast_table)
    assert read == session.log


def test_the_reader_recovers_chunks_cut_at_any_line():
    # Measured: 99.7% to 99.9%, by how the cuts fall; what is lost is the exchange that a cut goes through.
    pairs = [pair for i, session in enumerate(SESSIONS) for pair in chunks(session, random_cuts(session, i))]
    assert accuracy(pairs) >= 0.995


def test_the_reader_recovers_chunks_cut_where_nothing_is_open():
    pairs = [pair for session in SESSIONS for pair in chunks(session, quiet_cuts(session))]
    assert len(pairs) > 20
    assert accuracy(pairs) == 1


def test_split_loses_nothing_and_keeps_its_size(campaign):
    parts = grammar.split(campaign.text, 20_000, campaign.log.cast_table)
    assert "\n".join(parts) == campaign.text
    assert max(map(len, parts)) <= 20_000
    assert min(map(len, parts[:-1])) > 15_000
    assert grammar.split(campaign.text, 1, campaign.log.cast_table) == campaign.text.split("\n")
    assert grammar.split(campaign.text, 10**9, campaign.log.cast_table) == [campaign.text]


def shortcut_score(noise):
    values = []
    for seed in range(4):
        session = generate(seed, tokens=55_000, knobs=Knobs(noise=noise))
        guess = grammar.regex_shortcut(session.context)
        for index in range(60):
            question = ask(session.log, seed, index)
            answer = FAMILIES[question.family].answer(guess, **question.params)
            values.append(score(question.gold, answer).value)
    return sum(values) / len(values)


def test_the_keyword_shortcut_fails_the_more_the_noise():
    # Measured over more sessions: 0.43, 0.25 and 0.16. A reader of the text scores 1 at all three.
    quiet, usual, loud = map(shortcut_score, (0, 0.5, 1))
    assert quiet < 0.55
    assert usual < 0.35
    assert loud < 0.25
    assert loud < quiet


def test_the_keyword_shortcut_counts_keywords():
    log = grammar.regex_shortcut(
        "\n".join(
            (
                "[START OF EPISODE]",
                "Ann: Wisp, make a stealth check, please.",
                "Bo: Natural twenty!",
                "Cy: Remember when I rolled a natural one?",
                "Bo: 17 total.",
                "Cy: 12.",
                "Cy: Should I cast Hex?",
                "Bo: Is the imp dead?",
            )
        ),
        TABLE,
    )
    assert log.rolls == (roll(2, 20, None), roll(3, 1, None, player="Cy", character="Grub"), roll(4, None, 17))
    assert log.casts == (Cast(1, 6, "Cy", "Grub", "Hex", 1, 1),)
    assert [kill.line for kill in log.kills] == [7]


def test_no_chatter_is_taken_for_an_event():
    # One sentence after the other, each by somebody who has just been asked for a roll.
    for sentences, name in ((phrases.BANTER, "Bo"), (phrases.PLAYER_DECOYS, "Bo")):
        for sentence in sentences:
            said = sentence.format_map(WORDS)
            for request in ("Wisp, make a stealth check, please.", "Everybody, make a stealth check."):
                log = heard(f"Ann: {request}", f"{name}: {said}")
                assert not events(log), said
    for sentences in (phrases.NARRATION, phrases.DM_TALK, phrases.DM_DECOYS, phrases.ANNOUNCEMENTS):
        for sentence in sentences:
            said = sentence.format_map(WORDS)
            assert not [name for name, pool in POOLS.items() if pool.says(said)], said
            assert not events(heard(f"Ann: {said}", "Bo: 17.")), said


def test_every_sentence_is_read_as_the_slots_it_was_made_of():
    values = {"n": 14, "m": 3, "t": 17, "x": 9, "y": 5, "a": 4, "b": 6, "c": "Wisp", "s": "Hex", "l": "second"}
    values |= {"v": "imp", "w": "staff", "d": "fire", "k": "stealth check", "ak": "a stealth check"}
    for name, pool in POOLS.items():
        for template in pool.templates:
            said = template.say(values)
            wanted = {slot: values[slot] for slot in template.slots} | dict(template.fixed)
            read = pool.split(said)[0] if name == "LABELLED" else pool.match(said)
            assert {key: str(v).lower() for key, v in read.items()} == {
                key: str(v).lower() for key, v in wanted.items()
            }, said


# By hand, line by line.


def roll(line, natural, total, kind="Stealth", player="Bo", character="Wisp"):
    return Roll(1, line, player, character, kind, natural, total)


@pytest.mark.parametrize(
    ("said", "natural", "total"),
    [
        ("17.", None, 17),
        ("Oh, come on. Nine for me. (laughter)", None, 9),
        ("14 plus three, 17.", 14, 17),
        ("Natural twenty!", 20, None),
        ("Ugh. Nat one, of course.", 1, None),
        ("17, and three of that is just modifier.", 14, 17),
        ("It came up 14, and I add three.", 14, 17),
        ("Nine-- no, sorry, 14 plus three, 17.", 14, 17),
    ],
)
def test_an_announced_roll(said, natural, total):
    log = heard("Ann: Wisp, make a stealth check, please.", "Cy: I see.", f"Bo: {said}", "Bo: 12.")
    assert log.rolls == (roll(2, natural, total),)


def test_both_dice_of_an_advantage_are_rolls():
    log = heard("Bo: Okay, stealth check: with advantage. 14 and five, I keep the 14. Plus three, 17.")
    assert log.rolls == (roll(0, 14, 17), roll(0, 5, None))


def test_rolls_are_taken_back():
    ask_it = "Ann: Wisp, make a stealth check, please."
    fix = "Bo: Wait, wrong die. It was four plus three, seven."
    assert heard(ask_it, "Bo: 17.", fix).rolls == (roll(2, 4, 7),)
    assert heard(ask_it, "Bo: 17.", "Bo: Never mind, scratch that roll, I already did that one.").rolls == ()
    dm = "Ann: My mistake, {}, there was nothing to roll there. Throw it out."
    assert heard(ask_it, "Bo: 17.", "Cy: Oh no.", dm.format("Wisp")).rolls == ()
    assert heard(ask_it, "Bo: 17.", "Cy: Oh no.", dm.format("Bo")).rolls == ()
    # Somebody else's roll, and one too long ago, stand.
    assert len(heard(ask_it, "Bo: 17.", dm.format("Grub")).rolls) == 1
    assert len(heard(ask_it, "Bo: 17.", *["Cy: Oh no."] * 5, dm.format("Wisp")).rolls) == 1


def test_everybody_rolls_once_until_the_dm_has_enough():
    log = heard("Ann: Everybody, make a stealth check.", "Cy: 12.", "Cy: 13.", "Bo: 17.")
    assert [(r.player, r.total) for r in log.rolls] == [("Cy", 12), ("Bo", 17)]
    log = heard("Ann: Everybody, make a stealth check.", "Cy: 12.", "Ann: Good. Thank you.", "Bo: 17.")
    assert [r.player for r in log.rolls] == ["Cy"]


def test_a_fight():
    log = heard(
        "[START OF EPISODE]",
        "Bo: I burn a second-level slot on Guiding Bolt. Do it.",
        "Bo: 17.",
        "Ann: That hits. Go ahead and roll damage, Wisp.",
        "Bo: Four plus six, ten points of fire.".replace("ten", "10"),
        "Ann: No more imp. Describe it for us, Wisp.",
        "Cy: I cast Hex.",
        "Cy: Hang on, Hex won't even reach. I don't cast it.",
        "[END OF EPISODE]",
    )
    assert log.casts == (Cast(1, 1, "Bo", "Wisp", "Guiding Bolt", 1, 2),)
    assert log.rolls == (roll(2, None, 17, "Spell Attack"), roll(4, None, 10, "Damage"))
    assert log.kills == (Kill(1, 5, "Bo", "Wisp", "imp"),)


def test_the_dms_rolls_and_denied_wishes_are_none():
    assert not events(heard("Ann: The imp swings at you, Wisp. That's a natural 20. 25 to hit?", "Ann: 17."))
    assert not events(heard("Bo: Can I make a stealth check?", "Ann: No roll needed. It just works.", "Bo: 17."))


def test_a_chunk_needs_to_say_who_plays_whom():
    with pytest.raises(OptionError, match="cast_table"):
        grammar.read("Bo: 17.")
    with pytest.raises(OptionError, match="cast_table"):
        grammar.split("Bo: 17.", 10)
    text = "Ann plays the character DM.\nBo plays the character Wisp.\n\nBo: I cast Hex."
    assert grammar.read(text).casts == (Cast(1, 3, "Bo", "Wisp", "Hex", 1, 1),)
