"""Judging: the score of an answer, and an agent's verdict."""
