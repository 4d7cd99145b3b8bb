"""Judging: the root by the gold answer, a subagent by what its own goal asks."""
