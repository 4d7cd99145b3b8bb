"""DeepDive: multi-hop research in which each hop needs the one before.

`generate` makes a knowledge graph, `pages` tells it as a web, `ask` draws questions whose answer is proved unique.
`rao_deepdive.search` has the search engines.
"""

from rao_deepdive.envs import DeepDiveEnv
from rao_deepdive.graph import RELATIONS, Graph, Relation, generate
from rao_deepdive.oracle import branching_oracle, recursive_oracle, sequential_oracle, single_oracle
from rao_deepdive.pages import page, pages
from rao_deepdive.phrasing import parse, phrase
from rao_deepdive.query import Blur, Edge, Query, answers
from rao_deepdive.questions import Question, ask
from rao_deepdive.real import RealQuestion, RealWorld, gold_titles, load_questions
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
