"""DeepDive: multi-hop research in which each hop needs the one before.

`generate` makes a knowledge graph, `pages` tells it as a web, `ask` draws questions whose answer is proved unique.
`rao_deepdive.search` has the search engines.
"""

import sys
from importlib import import_module

from rao_deepdive.envs import DeepDiveEnv
from rao_deepdive.oracle import branching_oracle, recursive_oracle, sequential_oracle, single_oracle
from rao_deepdive.questions.generator import Question, ask
from rao_deepdive.questions.phrasing import parse, phrase
from rao_deepdive.questions.query import Blur, Edge, Query, answers
from rao_deepdive.real import RealQuestion, RealWorld, gold_titles, load_questions
from rao_deepdive.web.graph import RELATIONS, Graph, Relation, generate
from rao_deepdive.web.pages import page, pages
from rao_deepdive.world import DeepDiveWorld

__all__ = [
    "RELATIONS",
    "Blur",
    "DeepDiveEnv",
    "DeepDiveWorld",
    "Edge",
    "Graph",
    "Query",
    "Question",
    "RealQuestion",
    "RealWorld",
    "Relation",
    "answers",
    "ask",
    "branching_oracle",
    "generate",
    "gold_titles",
    "load_questions",
    "page",
    "pages",
    "parse",
    "phrase",
    "recursive_oracle",
    "sequential_oracle",
    "single_oracle",
]

# Every module once lay at the top of the package; what is imported by the old path is the same module.
_MOVED = {
    "web": ("graph", "lexicon", "names", "wordings", "pages", "reader"),
    "questions": ("query", "phrasing", "proof"),
    "judging": ("answers", "goals", "verify"),
}
for _room, _names in _MOVED.items():
    for _name in _names:
        _module = import_module(f"{__name__}.{_room}.{_name}")
        sys.modules[f"{__name__}.{_name}"] = _module
        globals().setdefault(_name, _module)  # a function of that name comes first
