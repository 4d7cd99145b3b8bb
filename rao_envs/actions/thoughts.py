"""Set aside what a model thinks before it acts: ``<think>``, ``<thinking>`` and ``<thought>`` blocks."""

from __future__ import annotations

import re

__all__ = ["after_thought", "without_thoughts"]

_THOUGHT = re.compile(r"<(thought|think|thinking)>.*?(?:</\1>|\Z)", re.DOTALL)


def after_thought(message: str) -> str:
    """Drop a thought whose beginning was part of the prompt, as some chat templates have it."""
    if "</th" not in message:
        return message
    for end in ("</think>", "</thinking>", "</thought>"):
        thought, found, rest = message.partition(end)
        if found and end.replace("/", "") not in thought:
            return rest
    return message


def without_thoughts(message: str) -> str:
    """Drop every thought; one that is never closed takes the rest with it."""
    message = after_thought(message)
    return _THOUGHT.sub("", message) if "<th" in message else message
