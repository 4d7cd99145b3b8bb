import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rao_envs.errors import OptionError
from rao_oolong import Knobs, generate
from rao_oolong.session.lexicon import CHARACTERS, PLAYERS, SPELLS

ROOT = Path(__file__).parents[3]
FINGERPRINT = """
import hashlib
from rao_oolong import generate, ask
s = generate(3, episodes=2, tokens=6_000)
q = [ask(s.log, 1, i).text for i in range(20)]
print(hashlib.sha256(repr((s.text, s.preamble, s.log, s.line_starts.tolist(), q)).encode()).hexdigest())
"""


def fingerprint(hash_seed):
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "envs")])}
    done = subprocess.run([sys.executable, "-c", FINGERPRINT], env=env, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_same_in_every_process():
    assert fingerprint("0") == fingerprint("12345")


def test_seeds_and_knobs_make_other_sessions():
    texts = {
        generate(0, tokens=2_000).text,
        generate(1, tokens=2_000).text,
        *(
            generate(0, tokens=2_000, knobs=knobs).text
            for knobs in (Knobs(noise=1), Knobs(oblique=1), Knobs(retractions=1), Knobs(speakers=3))
        ),
    }
    assert len(texts) == 6


@pytest.mark.parametrize(
    ("knob", "sentences"),
    [
        ("noise", ("Remember when", "on its save. Sorry,", "prepared today")),
        ("oblique", ("is just modifier", "once I add my")),
        (
            "retractions",
            ("wrong modifier", "wrong die", "scratch that roll", "won't even reach"),
        ),
    ],
)
def test_a_knob_at_zero_turns_its_sentences_off(knob, sentences):
    off, full = (generate(0, tokens=30_000, knobs=Knobs(**{knob: value})).text for value in (0, 1))
    for sentence in sentences:
        assert sentence not in off
        assert sentence in full


def test_the_first_episodes_do_not_depend_on_how_many_follow():
    two, four = generate(5, episodes=2, tokens=4_000), generate(5, episodes=4, tokens=8_000)
    assert four.text.startswith(two.text)


def test_every_line_is_an_utterance_or_a_marker(campaign):
    lines = campaign.text.split("\n")
    names = {player for player, _ in campaign.log.cast_table} | {"All"}
    inside = 0
    for line in lines:
        if line == "[START OF EPISODE]":
            assert not inside
            inside = 1
        elif line == "[END OF EPISODE]":
            assert inside
            inside = 0
        else:
            name, colon, said = line.partition(": ")
            assert colon
            assert name in names
            assert said.strip() == said != ""
            assert "{" not in said
            assert inside
    assert lines.count("[START OF EPISODE]") == campaign.log.episodes == 3


def test_every_event_is_on_a_line_of_its_player_or_the_dm(campaign):
    log = campaign.log
    dm = log.cast_table[0][0]
    starts = [i for i in range(len(campaign)) if campaign.lines(i, i) == "[START OF EPISODE]"]
    for event in (*log.rolls, *log.casts, *log.kills):
        speaker = campaign.lines(event.line, event.line).partition(": ")[0]
        assert speaker == (event.player if event not in log.kills else dm)
        assert (event.player, event.character) in log.cast_table[1:]
        assert sum(start < event.line for start in starts) == event.episode
    for events in (log.rolls, log.casts, log.kills):
        assert [event.line for event in events] == sorted(event.line for event in events)


def test_values_are_those_of_dice(campaign):
    for roll in campaign.log.rolls:
        assert roll.natural is None or 1 <= roll.natural <= 20
        if roll.natural is not None and roll.total is not None:
            assert 1 <= roll.total - roll.natural <= 9
        if roll.kind in ("Damage", "Healing"):
            assert roll.natural is None
            assert roll.total is not None
    for cast in campaign.log.casts:
        assert cast.base_level == SPELLS[cast.spell][0] <= cast.level


@pytest.mark.parametrize(("episodes", "tokens"), [(1, 500), (1, 2_000), (2, 8_000), (24, 24_000), (1, 55_000)])
def test_length(episodes, tokens):
    session = generate(0, episodes=episodes, tokens=tokens)
    slack = 0.02 if tokens // episodes >= 50_000 else 1 / 3
    assert len(session.text) == pytest.approx(4 * tokens, rel=slack)


def test_a_session_four_times_as_long_has_four_times_the_lines_and_events():
    # Linear time and memory, seen from what is kept: per character, a long session holds what a short one holds.
    short, long = generate(2, tokens=50_000), generate(2, tokens=200_000)
    for size in (len, lambda s: len(s.text), lambda s: len(s.log.rolls) + len(s.log.casts)):
        assert size(long) == pytest.approx(4 * size(short), rel=0.2)


def test_the_writer_keeps_blocks_not_lines(monkeypatch):
    # A list of every line would weigh more than the text.
    from rao_oolong.table.scenes import Table

    most = 0
    write = Table._write

    def watch(self, line):
        nonlocal most
        write(self, line)
        most = max(most, len(self._recent) + len(self._blocks))

    monkeypatch.setattr(Table, "_write", watch)
    session = generate(2, tokens=100_000)
    assert most <= 512 + len(session) // 512


def test_the_preamble_says_who_plays_whom(campaign):
    table = re.findall(r"^(\w+) plays the character (\w+)\.$", campaign.preamble, re.MULTILINE)
    assert tuple(table) == campaign.log.cast_table
    assert table[0][1] == "DM"
    assert r"\boxed{}" in campaign.preamble
    assert campaign.context == f"{campaign.preamble}\n\n{campaign.text}"
    assert "3 episodes" in campaign.preamble


def test_no_name_is_anybody_elses():
    names = [*PLAYERS, *CHARACTERS]
    assert len(set(names)) == len(names)
    assert all(name.isalpha() for name in names)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"episodes": 0}, "episodes=0"),
        ({"episodes": 25, "tokens": 10**6}, "episodes=25"),
        ({"tokens": 100}, "tokens=100"),
        ({"episodes": 10, "tokens": 4_000}, "tokens=4000"),
        ({"knobs": Knobs(noise=1.5)}, "noise=1.5"),
        ({"knobs": Knobs(retractions=-1)}, "retractions=-1"),
        ({"knobs": Knobs(speakers=0)}, "speakers=0"),
        ({"knobs": Knobs(speakers=13)}, "speakers=13"),
    ],
)
def test_impossible_options_are_named(options, names):
    with pytest.raises(OptionError, match=re.escape(names)):
        generate(0, **options)


@pytest.mark.parametrize("speakers", [1, 2, 12])
def test_any_number_of_players(speakers):
    session = generate(1, tokens=4_000, knobs=Knobs(speakers=speakers))
    assert len(session.log.cast_table) == speakers + 1
    assert session.log.rolls
