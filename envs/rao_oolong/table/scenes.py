"""What happens at the table, scene by scene: who says it, and what it does to the log."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from rao_oolong.session.lexicon import (
    CHECKS,
    CREATURES,
    HINTS,
    KINDS,
    LEVELS,
    SAVES,
    SPELLS,
    WEAPONS,
    spoken_number,
    with_article,
)
from rao_oolong.session.log import Cast, CastTable, Kill, Roll
from rao_oolong.session.transcript import END, START
from rao_oolong.table import phrases, speech
from rao_oolong.table.templates import DAMAGE_TYPES, Pool, meaning

__all__ = ["Knobs", "Table"]

_HITS_FROM = 7  # on the die: what an armor class of about 13 comes to
_FLUSH = 512  # lines joined at a time: a million small strings would weigh more than the text


@dataclass(frozen=True, slots=True)
class Knobs:
    """How hard a session is to read; probabilities in [0, 1].

    Attributes:
        noise: how much of the chatter is a trap: the DM's own rolls, rolls remembered, wished for or feared, spells
            talked about; and how often somebody speaks between a question and its answer.
        oblique: how often a roll is asked for or announced, or a spell cast, without the plain words for it.
        retractions: how often a roll or a spell is corrected or taken back.
        speakers: players at the table besides the DM, 1 to 12.
    """

    noise: float = 0.5
    oblique: float = 0.3
    retractions: float = 0.1
    speakers: int = 6


class Table:
    """The table at play: writes lines and keeps the log.

    Attributes:
        rolls, casts, kills: the log so far.
        starts: offset of every line written.
        size: characters written, with line breaks.
    """

    def __init__(self, knobs: Knobs, cast_table: CastTable) -> None:
        """Sit down; the first of `cast_table` is the DM."""
        self.rolls: list[Roll] = []
        self.casts: list[Cast] = []
        self.kills: list[Kill] = []
        self.starts = array("Q")
        self.size = 0
        self._knobs = knobs
        self._dm = cast_table[0][0]
        self._players = tuple(player for player, _ in cast_table[1:])
        self._character = dict(cast_table[1:])
        self._blocks: list[str] = []
        self._recent: list[str] = []
        self._decks: dict[int, list[str]] = {}
        self._episode = 0
        self._random = Random(0)

    def play(self, episode: int, size: int, random: Random) -> None:
        """Play one episode of about `size` characters."""
        self._episode, self._random = episode, random
        end = self.size + size
        self._write(START)
        for sentence in phrases.ANNOUNCEMENTS if size > 20_000 else phrases.ANNOUNCEMENTS[:1]:
            self._say(self._dm, self._filled(sentence))
        chatter = max(2, min(44, size // 500))
        scenes: Sequence[Callable[[], None]] = (self._check, self._group, self._wish, self._fight, self._magic)
        while self.size < end - 900:
            self._chat(random.randint(chatter // 3, chatter))
            random.choices(scenes, (5, 1, 2, 5, 2))[0]()
        self._chat(2)
        self._write(END)

    def text(self) -> str:
        """Return all that was written."""
        self._flush()
        return "\n".join(self._blocks)

    # Chatter

    def _chat(self, lines: int) -> None:
        random = self._random
        for _ in range(lines):
            trap = random.random() < 0.3 * self._knobs.noise
            if random.random() < 0.27:
                if trap:
                    self._say(self._dm, self._drawn(phrases.DM_DECOYS))
                elif random.random() < 0.5:
                    self._say(self._dm, self._drawn(phrases.NARRATION, random.choice((1, 2, 2, 3, 4))))
                else:
                    self._say(self._dm, self._drawn(phrases.DM_TALK))
            elif random.random() < 0.01:
                self._say("All", "(laughter)")
            else:
                self._talk(random.choice(self._players), trap)

    def _talk(self, player: str, trap: bool) -> None:
        if trap:
            self._say(player, self._drawn(phrases.PLAYER_DECOYS))
        else:
            self._say(player, self._drawn(phrases.BANTER, self._random.choice((1, 1, 1, 2, 2, 3))))

    def _interject(self, waiting: Sequence[str] = ()) -> None:
        """Let somebody speak who is not among those waited for."""
        others = [player for player in self._players if player not in waiting]
        if others and self._random.random() < 0.1 + 0.4 * self._knobs.noise:
            self._talk(self._random.choice(others), self._random.random() < self._knobs.noise)

    def _drawn(self, phrases: tuple[str, ...], count: int = 1) -> str:
        """Draw phrases as from a deck: none comes again before the others have."""
        deck = self._decks.setdefault(id(phrases), [])
        if len(deck) < count:
            deck[:] = self._random.sample(phrases, len(phrases))
        return " ".join([self._filled(deck.pop()) for _ in range(count)])

    def _filled(self, sentence: str) -> str:
        if "{" not in sentence:
            return sentence
        random = self._random
        said = sentence.format(
            c=self._character[random.choice(self._players)],
            p=random.choice(self._players),
            v=random.choice(CREATURES),
            s=random.choice(tuple(SPELLS)),
            n=spoken_number(random.randint(2, 20)),
            w=random.choice(WEAPONS),
            big=random.randint(10, 300),
            place=random.choice(phrases.PLACES),
            thing=random.choice(phrases.THINGS),
            food=random.choice(phrases.FOODS),
            npc=random.choice(phrases.NPCS),
        )
        return said[0].upper() + said[1:]

    # Scenes

    def _check(self) -> None:
        player = self._random.choice(self._players)
        kind = self._random.choice(tuple(SAVES if self._random.random() < 0.2 else CHECKS))
        if self._random.random() < 0.25:
            self._roll(player, kind, labelled=True)
            return
        if kind in HINTS and self._random.random() < self._knobs.oblique:
            self._say(self._dm, self._random.choice(HINTS[kind]).format(c=self._character[player]))
        else:
            self._speak(self._dm, speech.REQUESTS, c=self._called(player), ak=with_article(KINDS[kind]))
        self._interject([player])
        self._roll(player, kind)

    def _group(self) -> None:
        kind = self._random.choice(("Initiative", "Stealth", "Perception", "Wisdom Save", "Dexterity Save"))
        self._speak(self._dm, speech.GROUP_REQUESTS, ak=with_article(KINDS[kind]))
        for player in self._random.sample(self._players, self._random.randint(1, len(self._players))):
            self._roll(player, kind)
        self._speak(self._dm, speech.CLOSINGS)

    def _wish(self) -> None:
        player = self._random.choice(self._players)
        kind = self._random.choice(tuple(CHECKS))
        self._speak(player, speech.WISHES, ak=with_article(KINDS[kind]))
        if self._random.random() < 0.35:
            self._speak(self._dm, speech.DENIALS)
            return
        self._say(self._dm, self._random.choice(("Go for it.", "Sure, go ahead.", "You can try.", "Yeah, roll.")))
        self._roll(player, kind)

    def _fight(self) -> None:
        for player in self._random.sample(self._players, min(len(self._players), self._random.randint(1, 3))):
            victim = self._random.choice(CREATURES)
            if self._random.random() < 0.35:
                self._magic(player, victim)
            else:
                self._speak(player, speech.ATTACKS, v=victim, w=self._random.choice(WEAPONS))
                self._strike(player, victim, "Attack")
            self._chat(self._random.randint(0, 3))

    def _strike(self, player: str, victim: str, kind: str) -> None:
        """Roll to hit, and what follows from it."""
        if self._random.random() < 0.5:
            self._say(self._dm, self._random.choice(("Go ahead and roll to hit.", "Roll for the attack.", "Okay.")))
        self._interject([player])
        shown = self._roll(player, kind)
        if not shown:
            return
        if shown < _HITS_FROM:
            self._speak(self._dm, speech.MISSES, c=self._character[player])
        else:
            self._speak(self._dm, speech.HITS, c=self._character[player])
            self._damage(player, victim)

    def _damage(self, player: str, victim: str) -> None:
        one, two = self._random.randint(1, 9), self._random.randint(1, 9)
        kind = self._random.choice(DAMAGE_TYPES)
        self._interject([player])
        self._announce(player, "Damage", speech.DAMAGE, {"a": one, "b": two, "t": one + two, "d": kind})
        if self._random.random() < 0.25:
            self._speak(self._dm, speech.DEATHS, c=self._character[player], v=victim)
            here = (self._episode, len(self.starts) - 1)
            self.kills.append(Kill(*here, player, self._character[player], victim))

    def _magic(self, player: str | None = None, victim: str | None = None) -> None:
        random = self._random
        player, victim = player or random.choice(self._players), victim or random.choice(CREATURES)
        spell = random.choice(tuple(SPELLS))
        base, effect = SPELLS[spell]
        # Cantrips have no slots to burn, and a level is only said where it has one.
        raised = random.choice((0, 0, 1, 2)) if base else 0
        wanted = {"l"} if raised else ({"l"} if base and random.random() < 0.2 else set())
        pools = speech.CASTS if random.random() < self._knobs.oblique else speech.CASTS_PLAIN
        template = random.choice([t for t in pools.templates if ("l" in t.slots) == bool(wanted)])
        self._say(player, self._framed(template.say({"s": spell, "v": victim, "l": LEVELS[base + raised - 1]})))
        level = base + raised
        if random.random() < self._knobs.retractions / 2:
            self._speak(player, speech.CAST_VOIDS, s=spell)
            return
        line = len(self.starts) - 1
        self.casts.append(Cast(self._episode, line, player, self._character[player], spell, base, level))
        if effect == "attack":
            self._strike(player, victim, "Spell Attack")
        elif effect == "heal":
            healed = self._character[random.choice(self._players)]
            self._announce(player, "Healing", speech.HEALING, {"t": random.randint(2, 25), "c": healed})
        elif effect == "save":
            name = self._character[player]
            if random.random() < 0.4:
                self._speak(self._dm, speech.SAVED, c=name)
            else:
                self._speak(self._dm, speech.FAILS, c=name)
                self._damage(player, victim)

    # Rolls

    def _roll(self, player: str, kind: str, *, labelled: bool = False) -> int:
        """Let a player announce a d20; return what it shows, 0 if the roll does not stand."""
        random, knobs = self._random, self._knobs
        natural, modifier = random.randint(1, 20), random.randint(1, 9)
        values = {"n": natural, "m": modifier, "t": natural + modifier, "x": random.randint(2, 25)}
        label = speech.LABELLED.draw(random, {"k": KINDS[kind]})[1] if labelled else ""
        if natural in (1, 20) and random.random() < 0.8:
            pool = speech.NATURAL_20 if natural == 20 else speech.NATURAL_1
        elif random.random() < 0.08 and natural > 1:
            low = random.random() < 0.5
            values["y"] = random.randint(1, natural) if low else random.randint(natural, 20)
            self._announce(player, kind, speech.ADVANTAGE if low else speech.DISADVANTAGE, values, label)
            return natural
        elif random.random() < knobs.oblique:
            pool = speech.ROLLS_OBLIQUE
        else:
            pool = speech.ROLLS
        if random.random() >= knobs.retractions:
            self._announce(player, kind, pool, values, label)
            return natural
        way = random.random()
        if way < 0.4:
            self._announce(player, kind, speech.TAKEBACKS, values, label)
            return natural
        self._announce(player, kind, pool, values, label)
        self._interject([player])
        return self._take_back(player, kind, fix=way < 0.7)

    def _take_back(self, player: str, kind: str, *, fix: bool) -> int:
        """Correct or strike the last roll; return what the die shows now, 0 if nothing."""
        random = self._random
        self.rolls.pop()
        if fix:
            natural, modifier = random.randint(1, 20), random.randint(1, 9)
            self._announce(player, kind, speech.FIXES, {"n": natural, "m": modifier, "t": natural + modifier})
            return natural
        if random.random() < 0.5:
            self._speak(player, speech.VOIDS)
        else:
            self._speak(self._dm, speech.VOIDS_BY_DM, c=self._called(player))
        return 0

    def _announce(self, player: str, kind: str, pool: Pool, values: Mapping[str, int | str], label: str = "") -> None:
        """Say a result and log what was said of it, no more."""
        template, said = pool.draw(self._random, values)
        if label:
            said = label + (said[0].lower() + said[1:] if label.endswith(", ") else said)
        self._say(player, said if label or pool is speech.FIXES else self._framed(said))
        told = {slot: value for slot, value in values.items() if slot in template.slots} | dict(template.fixed)
        roll = Roll(self._episode, len(self.starts) - 1, player, self._character[player], kind, *meaning(told))
        self.rolls.append(roll)
        if "y" in template.slots:
            self.rolls.append(replace(roll, natural=int(values["y"]), total=None))

    # Writing

    def _called(self, player: str) -> str:
        """What the DM calls a player: mostly by the character's name."""
        return self._character[player] if self._random.random() < 0.85 else player

    def _framed(self, said: str) -> str:
        return f"{self._random.choice(speech.OPENINGS)}{said}{self._random.choice(speech.REMARKS)}"

    def _speak(self, name: str, pool: Pool, **values: str | int) -> None:
        self._say(name, pool.draw(self._random, values)[1])

    def _say(self, name: str, said: str) -> None:
        self._write(f"{name}: {said}")

    def _write(self, line: str) -> None:
        self.starts.append(self.size)
        self.size += len(line) + 1
        self._recent.append(line)
        if len(self._recent) >= _FLUSH:
            self._flush()

    def _flush(self) -> None:
        if self._recent:
            self._blocks.append("\n".join(self._recent))
            self._recent.clear()
