"""Seeds made by hashing, so that neighbouring tasks, rollouts and nodes never share a stream.

Adding numbers (``seed + index``) makes task 1 of seed 0 equal to task 0 of seed 1. Hashing the whole path
``(seed, task, rollout, node path)`` does not, and gives the same number in every process, whatever its
``PYTHONHASHSEED``.
"""

from __future__ import annotations

import random
from hashlib import blake2b

__all__ = ["derive", "rng"]


def derive(*parts: int | str) -> int:
    """Hash a path of numbers and names into one 64-bit seed.

    Args:
        parts: what the seed belongs to, outermost first, such as ``(seed, "train", index)``. The number
            ``1`` and the text ``"1"`` are different parts.

    Returns:
        An int in ``[0, 2**64)``.
    """
    digest = blake2b(digest_size=8)
    for part in parts:
        text = f"{'i' if isinstance(part, int) else 's'}{part}"
        digest.update(f"{len(text)}:{text}".encode())
    return int.from_bytes(digest.digest(), "big")


def rng(*parts: int | str) -> random.Random:
    """Return a separate generator seeded with `derive(*parts)`; the global one is never touched."""
    return random.Random(derive(*parts))
