"""What a session is: the words of the game, the log, the transcript, and passages of it."""

from rao_oolong.session.transcript import END, START, Session, cast_lines, line_starts

__all__ = ["END", "START", "Session", "cast_lines", "line_starts"]
