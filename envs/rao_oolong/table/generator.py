"""Sessions of Dungeons & Dragons that read like transcripts and carry their exact log.

The manner is that of the transcripts of Critical Role (CRD3 corpus, Rameshkumar and Bailey, ACL 2020): most lines are
table talk, a roll comes about every 1,700 characters, its type is said by the game master and its value by the
player, often as a bare number; about a third of the natural values are never said. The log holds what a careful
listener knows: a value is in it when it was said or follows from what was said.
"""

from __future__ import annotations

from rao_envs.errors import OptionError
from rao_envs.seeding import rng
from rao_oolong.session.lexicon import CHARACTERS, PLAYERS
from rao_oolong.session.log import SessionLog
from rao_oolong.session.transcript import END, START, Session, cast_lines
from rao_oolong.table.scenes import Knobs, Table

__all__ = ["Knobs", "Session", "generate"]

CHARS_PER_TOKEN = 4
_LEAST = 500  # tokens an episode
_MOST = 100_000_000  # tokens of a session, which is held in memory

_TASK = f"""\
Below is the transcript of {{what}} of a Dungeons and Dragons game, one utterance a line. Each episode stands between \
{START} and {END}. A question about the game follows. Answer it from the transcript; do not guess or estimate. Put \
the final answer in \\boxed{{{{}}}}."""
_COUNTING = """\
What counts:
- A roll is a result that a player announces for their own character: ability checks (type "Perception", "Stealth" \
and so on), saving throws ("Wisdom Save"), "Initiative", "Attack", "Spell Attack" (to hit with a spell), "Damage" and \
"Healing". Each announced result is one roll; with advantage or disadvantage both dice are rolls. What the DM rolls \
does not count.
- A corrected result counts once, as corrected. A roll or a spell that is taken back does not count.
- The natural value is what the d20 shows, said or computed from total and modifier. Damage and healing have none.
- A spell is cast at its base level unless a higher one is said. A kill is the character's to whom the DM gives it.
- Percentages are of all rolls."""


def generate(seed: int, *, episodes: int = 1, tokens: int = 55_000, knobs: Knobs | None = None) -> Session:
    """Generate a session, pure in the arguments.

    Args:
        seed: any integer.
        episodes: 1 to 24.
        tokens: about how long the transcript is, all episodes together, in tokens of 4 characters; at least 500 an
            episode and 100 million in all. The text is this long within 2% from 50,000 tokens an episode, within a
            third from 500.
        knobs: how hard it is to read; None for the defaults of `Knobs`.

    Returns:
        The session. Time and memory are linear in `tokens`.

    Raises:
        OptionError: an argument out of range.
    """
    knobs = knobs or Knobs()
    _check(episodes, tokens, knobs)
    random = rng("oolong-cast", seed, knobs.speakers)
    players = random.sample(PLAYERS, knobs.speakers + 1)
    characters = ["DM", *random.sample(CHARACTERS, knobs.speakers)]
    cast_table = tuple(zip(players, characters, strict=True))
    table = Table(knobs, cast_table)
    for episode in range(1, episodes + 1):
        table.play(episode, tokens * CHARS_PER_TOKEN // episodes, rng("oolong-episode", seed, episode))
    text = table.text()
    starts = table.starts
    starts.append(len(text) + 1)
    log = SessionLog(tuple(table.rolls), tuple(table.casts), tuple(table.kills), episodes, cast_table)
    what = "one episode" if episodes == 1 else f"{episodes} episodes"
    return Session(text, log, starts, "\n\n".join([_TASK.format(what=what), cast_lines(cast_table), _COUNTING]))


def _check(episodes: int, tokens: int, knobs: Knobs) -> None:
    if not 1 <= episodes <= 24:
        raise OptionError("episodes", episodes, "must be from 1 to 24")
    if not _LEAST * episodes <= tokens <= _MOST:
        raise OptionError("tokens", tokens, f"must be from {_LEAST} an episode ({_LEAST * episodes:,}) to {_MOST:,}")
    for name in ("noise", "oblique", "retractions"):
        if not 0 <= getattr(knobs, name) <= 1:
            raise OptionError(name, getattr(knobs, name), "is a probability; must be from 0 to 1")
    if not 1 <= knobs.speakers <= 12:
        raise OptionError("speakers", knobs.speakers, "must be from 1 to 12")
