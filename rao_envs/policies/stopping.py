"""Where a sampled message is complete: a model need not be trained to stop there by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rao_envs.actions.thoughts import without_thoughts
from rao_envs.errors import OptionError

__all__ = ["Stop"]

_CLOSING = {"code": "</python>", "calls": "</tool_calls>"}


class Stop:
    """Whether a message, as far as it has been sampled, is complete.

    | format | complete is |
    |---|---|
    | "code" | ``</python>`` |
    | "calls" | one whole JSON value, bare or in a fenced block; ``</tool_calls>`` |

    Nothing within a thought (``<think>`` and its like) counts, nor does anything in a thought that was never closed.
    Several ``<tool_call>`` blocks may follow each other, so that their end is left to the model.
    """

    def __init__(self, texts: Sequence[str] | None = None) -> None:
        """Choose what ends a message.

        Args:
            texts: texts that end a message, whatever the format; () leaves the end to the model alone. None
                takes those of the table.

        Raises:
            OptionError: not a sequence of texts.
        """
        if texts is not None and (isinstance(texts, str) or not all(isinstance(t, str) and t for t in texts)):
            raise OptionError("stop", texts, "must be a list of texts such as ['</python>'], or None")
        self._texts = None if texts is None else tuple(texts)

    def last(self, action_format: str) -> frozenset[str]:
        """Return the characters with one of which every complete message comes to its end."""
        if self._texts is not None:
            return frozenset(text[-1] for text in self._texts)
        return frozenset(">" if action_format == "code" else ">]}`")

    def __call__(self, message: str, action_format: str) -> bool:
        """Say whether the message is complete."""
        if self._texts is not None:
            return any(text in message for text in self._texts)
        said = without_thoughts(message)
        closed = _CLOSING.get(action_format)
        if closed is not None and closed in said:
            return True
        return action_format == "calls" and _is_whole(said.strip())


def _is_whole(text: str) -> bool:
    if text.startswith("```"):
        return text.count("```") >= 2
    if not text.startswith(("[", "{")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
