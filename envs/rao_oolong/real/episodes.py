r"""The real data: transcripts with the fans' roll log; the published set of questions is read by `published`.

A folder of transcripts holds ``episodes/<id>.txt`` (``Name: utterance`` a line), ``rolls.tsv`` and ``characters.tsv``,
both tab-separated with a header. Rolls are logged by people. What they type is read so:

| column | typed | read as |
|---|---|---|
| any | surrounding and repeated white space, curly apostrophes | single spaces, straight apostrophes |
| Character | blank | the row is left out and reported |
| Character | one that characters.tsv gives no player (``NA``) | a roll by that character and by no player |
| Type of Roll | other case (``sleight Of Hand``), ``Check`` at the end, ``Saving Throw``, ``Con Save`` and the like | \
``Sleight of Hand``, without it, ``Save``, ``Constitution Save`` |
| Type of Roll | blank, ``N/A``, ``Unknown`` | ``Unknown`` |
| Total, Natural Value | blank, ``N/A``, ``NA``, ``Unknown``, ``--``, ``?`` | not known |
| Total, Natural Value | ``Nat20``, ``nat 1``, ``Natural 6`` | the natural value, where its own column is not known |
| Total, Natural Value | a number, also ``15.0`` or followed by a remark (``15 (with Bless)``) | the number |
| Natural Value | a number outside 1 to 20 | not known, and reported |
| Total, Natural Value | anything else | not known, and reported |
| all columns | blank | the row is skipped |
| Episode | one without a transcript | the row is left out (the log covers the whole campaign) |

A die disregarded because of advantage is a row of its own and counts as a roll, as in the published set. Kills are not
taken over: the log has halves of them. Rolls are logged by time, transcripts have none: a roll's line is the first
line of its episode (`Session.placed` is False).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rao_envs.errors import OptionError
from rao_oolong.session.lexicon import KINDS
from rao_oolong.session.log import CastTable, Roll, SessionLog
from rao_oolong.session.transcript import END, START, Session, cast_lines, line_starts

__all__ = ["Episodes", "load_episodes", "roll_type"]

_TASK = f"""\
Below is the transcript of {{what}} of a Dungeons and Dragons game, one utterance a line. Each episode stands between \
{START} and {END}. A question about the statistics of the game follows. Answer it from the transcript; do not guess or \
estimate. Put the final answer in \\boxed{{{{}}}}."""

_UNKNOWN = frozenset({"", "n/a", "na", "unknown", "--", "-", "?"})
_NATURAL = re.compile(r"nat(?:ural)?\s*(\d+)", re.IGNORECASE)
_NUMBER = re.compile(r"(-?\d+)(?:\.0+)?(?:\s*\(.*\))?")
_ABILITIES = ("Strength", "Dexterity", "Constitution", "Intelligence", "Wisdom", "Charisma")
_COLUMNS = ("Episode", "Character", "Type of Roll", "Total Value", "Natural Value")


class _Logged(NamedTuple):
    """One row of the roll log, read."""

    episode: str
    character: str
    kind: str
    natural: int | None
    total: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Episodes:
    """Transcripts of one campaign with its roll log.

    Attributes:
        ids: of the episodes that have a transcript, sorted.
        cast_table: who plays whom; a character whom nobody plays has the player "".
        odd: what the log has that no rule reads, one line each.
    """

    ids: tuple[str, ...]
    cast_table: CastTable
    odd: tuple[str, ...]
    _folder: Path
    _rolls: Mapping[str, tuple[_Logged, ...]]

    def session(self, *ids: str) -> Session:
        """Put episodes together, in the order given; ask only `ROLL_FAMILIES` of it.

        Raises:
            OptionError: no episode, or one without a transcript.
        """
        if not ids or (missing := set(ids) - set(self.ids)):
            raise OptionError("ids", ids, f"give some of {list(self.ids)}" + (f", not {missing}" if ids else ""))
        player = {character: player for player, character in reversed(self.cast_table)}
        blocks: list[str] = []
        rolls: list[Roll] = []
        line = 0
        for number, name in enumerate(ids, start=1):
            spoken = (self._folder / "episodes" / f"{name}.txt").read_text(encoding="utf-8").strip().splitlines()
            blocks.append("\n".join([START, *spoken, END]))
            rolls += (
                Roll(number, line, player.get(r.character, ""), r.character, r.kind, r.natural, r.total)
                for r in self._rolls.get(name, ())
            )
            line += len(spoken) + 2
        text = "\n".join(blocks)
        what = "one episode" if len(ids) == 1 else f"{len(ids)} episodes"
        preamble = f"{_TASK.format(what=what)}\n\n{cast_lines(self.cast_table)}"
        log = SessionLog(rolls=tuple(rolls), episodes=len(ids), cast_table=self.cast_table)
        return Session(text, log, line_starts(text), preamble, placed=False)

    def windows(self, episodes: int) -> Iterator[Session]:
        """Yield every run of so many consecutive episodes."""
        for start in range(len(self.ids) - episodes + 1):
            yield self.session(*self.ids[start : start + episodes])


def load_episodes(folder: str | Path) -> Episodes:
    """Load transcripts, roll log and character table; the transcripts themselves are read when asked for.

    Raises:
        OptionError: the folder, a file or a column is missing.
    """
    folder = Path(folder)
    ids = tuple(sorted(path.stem for path in (folder / "episodes").glob("*.txt")))
    if not ids:
        raise OptionError("folder", str(folder), "has no episodes/*.txt")
    cast = [
        ("" if row["Player"].lower() in _UNKNOWN else row["Player"], row["Character"])
        for _, row in _rows(folder / "characters.tsv", ("Player", "Character"))
        if row["Character"]
    ]
    odd: list[str] = []
    rolls: dict[str, list[_Logged]] = {name: [] for name in ids}
    for number, row in _rows(folder / "rolls.tsv", _COLUMNS):
        if row["Episode"] in rolls and (read := _read(row, f"rolls.tsv:{number}", odd)):
            rolls[read.episode].append(read)
    return Episodes(ids, tuple(cast), tuple(odd), folder, {name: tuple(read) for name, read in rolls.items()})


def roll_type(typed: str) -> str:
    """Return the one name of a roll type, by the rules in the module's docstring."""
    words = _clean(typed)
    if words.lower() in _UNKNOWN:
        return "Unknown"
    words = re.sub(r"\s+check$", "", words, flags=re.IGNORECASE)
    words = re.sub(r"\s+(?:saving throw|save)s?$", " Save", words, flags=re.IGNORECASE)
    start, _, rest = words.partition(" ")
    if rest in ("", "Save"):
        short = start.rstrip(".").lower()
        start = next((name for name in _ABILITIES if len(short) == 3 and name.lower().startswith(short)), start)
        words = f"{start} {rest}".strip()
    known = {kind.lower(): kind for kind in KINDS}
    return known.get(words.lower()) or " ".join(
        word if index and word in ("of", "and", "the") else word[:1].upper() + word[1:].lower()
        for index, word in enumerate(words.split())
    )


def _read(row: Mapping[str, str], where: str, odd: list[str]) -> _Logged | None:
    if not row["Character"]:
        odd.append(f"{where}: no character")
        return None
    total, hinted = _value(row["Total Value"], f"{where}: total", odd)
    plain, named = _value(row["Natural Value"], f"{where}: natural value", odd)
    natural = plain if plain is not None else named if named is not None else hinted
    if natural is not None and not 1 <= natural <= 20:
        odd.append(f"{where}: natural value {natural} is not on a d20")
        natural = None
    return _Logged(row["Episode"], row["Character"], roll_type(row["Type of Roll"]), natural, total)


def _value(typed: str, where: str, odd: list[str]) -> tuple[int | None, int | None]:
    """Read a value as (plain number, number called natural)."""
    if typed.lower() in _UNKNOWN:
        return None, None
    if found := _NATURAL.fullmatch(typed):
        return None, int(found[1])
    if found := _NUMBER.fullmatch(typed):
        return int(found[1]), None
    odd.append(f"{where} {typed!r}")
    return None, None


def _rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a table that are not blank, cleaned, with their lines from 1; missing columns are ""."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
            if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise OptionError("folder", str(path.parent), f"{path.name} lacks the columns {missing}")
            rows = [(reader.line_num, {name: _clean(row[name]) for name in columns}) for row in reader]
    except FileNotFoundError:
        raise OptionError("folder", str(path.parent), f"lacks {path.name}") from None
    return [(line, row) for line, row in rows if any(row.values())]


def _clean(typed: str) -> str:
    return " ".join(typed.replace("\u2019", "'").split())
