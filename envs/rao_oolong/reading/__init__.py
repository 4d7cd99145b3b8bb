"""Programs that recover a log from a transcript: a reader that follows the game, and two keyword counters."""
