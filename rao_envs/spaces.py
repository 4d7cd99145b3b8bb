"""The observation and action space of every environment: text."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

__all__ = ["TextSpace"]

_SAMPLE_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 ()[]{}:,.'\"_=\n"
_SAMPLE_LENGTH = 48


class TextSpace(spaces.Text):
    """Any Unicode text up to `max_length` characters.

    Gymnasium's own `Text` admits a given alphabet and looks at every character, which costs 16 ms for a
    150,000-character transcript. Here membership is a matter of type and length. Samples are short
    gibberish, which every environment must survive as an action.
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        """Make the space of texts of 0 to `max_length` characters."""
        super().__init__(max_length, min_length=0, charset=_SAMPLE_ALPHABET, seed=seed)

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a text of this space, in constant time."""
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Return up to 48 random characters; masks are not supported and must be None."""
        if mask is not None or probability is not None:
            raise ValueError("TextSpace.sample takes no mask and no probability: leave them None")
        length = int(self.np_random.integers(1, min(_SAMPLE_LENGTH, self.max_length) + 1))
        picks = self.np_random.integers(0, len(_SAMPLE_ALPHABET), size=length)
        return "".join(_SAMPLE_ALPHABET[i] for i in picks)

    def __repr__(self) -> str:
        """Show the bound that matters."""
        return f"TextSpace(max_length={self.max_length})"

    def __eq__(self, other: object) -> bool:
        """Two text spaces are equal when they admit the same lengths."""
        return isinstance(other, TextSpace) and other.max_length == self.max_length
