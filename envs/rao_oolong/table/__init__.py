"""The game table: sentences, scenes, and the generator of sessions."""
