"""The table at play: sentences, scenes, and the generator of sessions."""
