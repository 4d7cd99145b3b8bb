"""Who is right: the root by the gold answer, a subagent by what its goal asks."""
