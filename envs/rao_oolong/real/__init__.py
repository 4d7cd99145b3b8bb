"""Data not made by us: transcripts of real games, and the published set of questions."""

from rao_oolong.real.episodes import Episodes, load_episodes, roll_type
from rao_oolong.real.published import PUBLISHED_SET, PublishedQuestion, load_published

__all__ = ["PUBLISHED_SET", "Episodes", "PublishedQuestion", "load_episodes", "load_published", "roll_type"]
