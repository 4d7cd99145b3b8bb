"""Scores of answers, and verdicts on agents."""
