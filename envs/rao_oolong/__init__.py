"""Oolong-Real: questions that need every line of a long Dungeons & Dragons transcript.

`generate` makes sessions with their exact event log, `ask` questions about a log, `score` scores an answer as
the published set does. `load_episodes` and `load_published` read the real data.
"""

import sys
from importlib import import_module

from rao_oolong.envs import OolongRealEnv
from rao_oolong.judging.scoring import Score, score
from rao_oolong.oracle import recursive_oracle, shortcut_oracle, single_oracle
from rao_oolong.questions.answers import extract
from rao_oolong.questions.families import FAMILIES, Family, Question, ask, parse_goal
from rao_oolong.reading.grammar import read, regex_shortcut
from rao_oolong.real import Episodes, PublishedQuestion, load_episodes, load_published
from rao_oolong.session.log import Cast, Kill, Roll, SessionLog
from rao_oolong.table.generator import Knobs, Session, generate
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

# Every module once lay at the top of the package; what is imported by the old path is the same module.
_MOVED = {
    "session": ("log", "passages", "lexicon"),
    "table": ("templates", "speech", "phrases", "scenes", "generator"),
    "questions": ("measures", "parameters", "families"),
    "judging": ("verify", "scoring"),
    "reading": ("grammar", "shortcut", "patterns"),
    "real": ("published",),
}
for _room, _names in _MOVED.items():
    for _name in _names:
        _module = import_module(f"{__name__}.{_room}.{_name}")
        sys.modules[f"{__name__}.{_name}"] = _module
        globals().setdefault(_name, _module)  # a function of that name comes first
