"""The observation and action space of every environment: text."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.heap import BufferWrapper
from typing import Any, overload

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import create_shared_memory, read_from_shared_memory, write_to_shared_memory

__all__ = ["SharedTexts", "TextSpace"]

_SAMPLE_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 ()[]{}:,.'\"_=\n"
_SAMPLE_LENGTH = 48


class TextSpace(spaces.Text):
    """Any Unicode text up to `max_length` characters.

    Gymnasium's own `Text` admits a given alphabet and checks every character, which costs 16 ms for a
    150,000-character transcript. Here only type and length matter. Samples are short gibberish, which every
    environment must accept as an action.
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        """Make a space of texts of 0 to `max_length` characters."""
        super().__init__(max_length, min_length=0, charset=_SAMPLE_ALPHABET, seed=seed)

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a text of this space, in constant time."""
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Return up to 48 random characters; masks are not supported and must be None."""
        if mask is not None or probability is not None:
            raise ValueError("TextSpace.sample supports neither mask nor probability: leave both None")
        length = int(self.np_random.integers(1, min(_SAMPLE_LENGTH, self.max_length) + 1))
        picks = self.np_random.integers(0, len(_SAMPLE_ALPHABET), size=length)
        return "".join(_SAMPLE_ALPHABET[i] for i in picks)

    def __repr__(self) -> str:
        """Show the maximum length."""
        return f"TextSpace(max_length={self.max_length})"

    def __eq__(self, other: object) -> bool:
        """Compare the maximum lengths."""
        return isinstance(other, TextSpace) and other.max_length == self.max_length


class SharedTexts(Sequence[str]):
    """One text per environment, in memory that the processes of a vector environment share.

    Gymnasium's own shared memory cannot carry `Text` observations: it stores each character's index in the alphabet,
    and reads the texts once, before there are any. This is a live sequence; `copy.deepcopy`, which Gymnasium applies
    to what it returns, gives a tuple of the current texts. A text is stored as its length and its UTF-8 bytes. Memory
    beyond the longest text so far is never touched, so reserving room for long texts costs nothing.
    """

    _LENGTH = 8
    _BYTES_PER_CHARACTER = 4

    def __init__(self, texts: int, max_length: int) -> None:
        """Reserve room for `texts` texts of up to `max_length` characters, all of them empty."""
        self._texts = texts
        self._size = self._LENGTH + self._BYTES_PER_CHARACTER * max_length
        self._buffer = BufferWrapper(texts * self._size)
        for i in range(texts):
            self.write(i, "")

    def write(self, i: int, text: str) -> None:
        """Replace text number `i`."""
        data = text.encode("utf-8", "surrogatepass")
        memory, start = self._buffer.create_memoryview(), i * self._size
        memory[start : start + self._LENGTH] = len(data).to_bytes(self._LENGTH, "little")
        memory[start + self._LENGTH : start + self._LENGTH + len(data)] = data

    def _read(self, i: int) -> str:
        memory, start = self._buffer.create_memoryview(), i * self._size
        length = int.from_bytes(memory[start : start + self._LENGTH], "little")
        data = memory[start + self._LENGTH : start + self._LENGTH + length]
        return bytes(data).decode("utf-8", "surrogatepass")

    def __len__(self) -> int:
        return self._texts

    @overload
    def __getitem__(self, i: int) -> str: ...

    @overload
    def __getitem__(self, i: slice) -> tuple[str, ...]: ...

    def __getitem__(self, i: int | slice) -> str | tuple[str, ...]:
        chosen = range(self._texts)[i]
        return self._read(chosen) if isinstance(chosen, int) else tuple([self._read(index) for index in chosen])

    def __deepcopy__(self, memo: object) -> tuple[str, ...]:
        return self[:]


def _create(space: TextSpace, n: int = 1, ctx: object = None) -> SharedTexts:
    return SharedTexts(n, space.max_length)


def _read(space: TextSpace, shared_memory: SharedTexts, n: int = 1) -> SharedTexts:
    return shared_memory


def _write(space: TextSpace, index: int, values: str, shared_memory: SharedTexts) -> None:
    shared_memory.write(index, values)


# Gymnasium's annotations cover only the memory types of its own spaces.
_register: Any = ((create_shared_memory, _create), (read_from_shared_memory, _read), (write_to_shared_memory, _write))
for _generic, _ours in _register:
    _generic.register(TextSpace, _ours)
