"""Oolong-Real: questions that need every line of a long Dungeons & Dragons transcript.

`generate` makes sessions with their exact event log, `ask` questions about a log, `score` scores an answer as
the published set does. `load_episodes` and `load_published` read the real data.
"""

from rao_oolong.envs import OolongRealEnv
from rao_oolong.families import FAMILIES, Family, Question, ask, parse_goal
from rao_oolong.generator import Knobs, Session, generate
from rao_oolong.grammar import read, regex_shortcut
from rao_oolong.log import Cast, Kill, Roll, SessionLog
from rao_oolong.oracle import recursive_oracle, shortcut_oracle, single_oracle
from rao_oolong.real import Episodes, PublishedQuestion, load_episodes, load_published
from rao_oolong.scoring import Score, extract, score
from rao_oolong.world import OolongWorld

__all__ = [
    "FAMILIES",
    "Cast",
    "Episodes",
    "Family",
    "Kill",
    "Knobs",
    "OolongRealEnv",
    "OolongWorld",
    "PublishedQuestion",
    "Question",
    "Roll",
    "Score",
    "Session",
    "SessionLog",
    "ask",
    "extract",
    "generate",
    "load_episodes",
    "load_published",
    "parse_goal",
    "read",
    "recursive_oracle",
    "regex_shortcut",
    "score",
    "shortcut_oracle",
    "single_oracle",
]
