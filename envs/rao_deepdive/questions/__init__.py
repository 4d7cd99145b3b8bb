"""Questions over a web: their form, their words, how they are drawn, and a proof of their answers."""

from rao_deepdive.questions.generator import HOPS, QUESTION_KINDS, SPLITS, Question, ask, split_of

__all__ = ["HOPS", "QUESTION_KINDS", "SPLITS", "Question", "ask", "split_of"]
