"""How well a node did what it was asked: the verdict of an exact verifier, else of a model, else none."""

from rao_envs.judges.base import Case, FirstOf, Judge, Unjudged, judge_many
from rao_envs.judges.llm import LLMJudge
from rao_envs.judges.prompt import ANSWER_RUBRIC, PAPER_RUBRIC

__all__ = ["ANSWER_RUBRIC", "PAPER_RUBRIC", "Case", "FirstOf", "Judge", "LLMJudge", "Unjudged", "judge_many"]
