"""A node's own success, computed from the ledger: pure functions, no state."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["made_targets"]


def made_targets(net: Mapping[str, int], targets: Mapping[str, int]) -> tuple[float, str]:
    """Judge whether a subtree newly made everything it was asked for.

    Items held at the start and items made by a sibling do not count; neither do items that the subtree made and
    then used up.

    Args:
        net: units made minus units used by the node's own subtree (`Workshop.net`).
        targets: item -> units asked for, not empty, every count at least 1.

    Returns:
        ``(1.0, reason)`` when ``net[item] >= targets[item]`` for all targets, else ``(0.0, reason)``. The
        reason is one line; on failure it names every target that is short.

    Raises:
        ValueError: the targets ask for nothing, so success would be free.
    """
    if not targets or min(targets.values()) < 1:
        raise ValueError(f"targets: {dict(targets)} must ask for at least 1 of at least one item")
    short = [
        f"made {max(0, net.get(item, 0))} of {count} {item}"
        for item, count in targets.items()
        if net.get(item, 0) < count
    ]
    if short:
        return 0.0, "; ".join(short)
    return 1.0, "made " + ", ".join(f"{count} {item}" for item, count in targets.items())
