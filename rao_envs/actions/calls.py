"""Actions are JSON tool calls: a list of ``{"name": ..., "arguments": {...}}``.

The list may also be a single object, stand in a fenced block, or come as ``<tool_call>`` blocks; thoughts before
it are ignored. Calls run in order. Launches run side by side once all other calls are done; `finish` waits for the
launches before it. The observation comes when all have returned: a JSON list with one ``{"name", "result"}`` or
``{"name", "error"}`` for each call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from rao_envs.actions.thoughts import without_thoughts
from rao_envs.actions.tools import FINISH, Toolset
from rao_envs.errors import CorruptCheckpoint, OptionError, ToolError
from rao_envs.steps import Answer, Call, Done, Failure, Later, Session, Step, Value, Wait
from rao_envs.values import clean_text, to_json

__all__ = ["CallsFormat", "CallsSession", "parse_calls"]

_FENCE = re.compile(r"```[ \t]*+\w*+[ \t]*+\n(.*?)(?:```|\Z)", re.DOTALL)
_TAG = re.compile(r"<tool_calls?>(.*?)(?:</tool_calls?>|\Z)", re.DOTALL)
_MAX_CHARACTERS = 100_000
_MANY_BRACKETS = 50
_ODD = re.compile(r"NaN|Infinity|[eE]\+?\d{3}|\d{300}")
"""Numbers that JSON lacks, or that no float holds."""

_HOW = """\
You act by calling tools. Send one JSON list in each message: [{"name": ..., "arguments": {...}}, ...]. The calls \
run in order, and the next message shows a list of their results.
"""
_HOW_DELEGATE = """\
launch_subagent starts another agent like you. Several launches in one list work at the same time.
"""


def parse_calls(message: str) -> list[tuple[str, Any]]:
    """Return the (name, arguments) pairs of a message.

    Raises:
        ToolError: the message is not a list of calls; the text says what is expected.
    """
    if len(message) > _MAX_CHARACTERS:
        raise ToolError(f"the message is longer than {_MAX_CHARACTERS:,} characters")
    text = message.strip()
    blocks = [text] if text.startswith(("[", "{")) else _unwrap(text)
    calls: list[Any] = []
    for block in blocks:
        try:
            data = json.loads(block)
        except (ValueError, RecursionError) as error:
            raise ToolError(
                f'not JSON ({error!s:.120}). Send a list of calls: [{{"name": ..., "arguments": {{...}}}}]'
            ) from None
        calls += data if isinstance(data, list) else [data]
    if not calls:
        raise ToolError("the list of calls is empty: call at least one tool")
    # Arguments are kept while the turn waits, and a checkpoint must be able to hold them.
    odd = "\\u" in text or text.count("[") + text.count("{") > _MANY_BRACKETS or _ODD.search(text) is not None
    return [_one(call, odd) for call in calls]


def _unwrap(text: str) -> list[str]:
    """Return the JSON texts of a message that has more in it."""
    text = without_thoughts(text).strip()
    if "<tool_call" in text:
        return [block.strip() for block in _TAG.findall(text)]
    if "```" in text:
        found = _FENCE.search(text)
        text = found.group(1).strip() if found else text
    return [text]


def _one(call: Any, odd: bool) -> tuple[str, Any]:
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        raise ToolError('every call is an object {"name": ..., "arguments": {...}}')
    name = clean_text(call["name"])
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise ToolError(f"the arguments of {name:.80} are not JSON") from None
    if not isinstance(arguments, dict):
        raise ToolError(f"the arguments of {name:.80} must be an object")
    return name, to_json(arguments) if odd else arguments


class CallsSession:
    """One node's list of calls: where it stands, and what is known of the results."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """Start with no calls; `names` are the tools that exist."""
        self._names = names
        self._calls: list[tuple[str, Any]] = []
        self._results: list[dict[str, Any] | None] = []
        self._promised: dict[int, None] = {}

    def start(self, message: str) -> Step:
        """Parse the message and stand at its first call."""
        self._results, self._promised = [], {}
        try:
            self._calls = parse_calls(message)
        except ToolError as error:
            self._calls = []
            return Done(_dumps([{"error": str(error)}]), "agent")
        return self._advance()

    def answer(self, call: int, answer: Answer) -> Step:
        """Note the result of the current call and go on to the next."""
        if isinstance(answer, Later):
            self._promised[call] = None
            self._results.append(None)
        else:
            self._results.append(self._entry(call, answer))
        return self._advance()

    def settle(self, call: int, answer: Value | Failure) -> Step:
        """Note a promised result."""
        self._results[call] = self._entry(call, answer)
        del self._promised[call]
        return self._advance()

    def _advance(self) -> Step:
        while len(self._results) < len(self._calls):
            place = len(self._results)
            name, arguments = self._calls[place]
            if self._promised and name == FINISH:
                return Wait(tuple(self._promised))
            if name not in self._names:
                known = ", ".join(self._names)
                self._results.append({"name": name[:80], "error": f"no such tool; there are {known}"})
                continue
            return Call(place, name, (), arguments)
        if self._promised:
            return Wait(tuple(self._promised))
        failed = any(result and "error" in result for result in self._results)
        return Done(self._shown(), "agent" if failed else None)

    def _shown(self) -> str:
        results = [result for result in self._results if result is not None]
        try:
            return _dumps(results)
        except (TypeError, ValueError, RecursionError) as error:
            mend = f"tools must return plain data, what JSON can hold: {error}"
            raise OptionError("results", [result["name"] for result in results], mend) from error

    def _entry(self, call: int, answer: Value | Failure) -> dict[str, Any]:
        name = self._calls[call][0]
        if isinstance(answer, Value):
            return {"name": name, "result": answer.value}
        return {"name": name, "error": answer.message}

    def abandon(self) -> str:
        """Give up the list; return the results so far."""
        shown = self._shown()
        self._calls, self._results, self._promised = [], [], {}
        return shown

    def dump(self) -> bytes:
        """Serialise calls and results."""
        return _dumps({"calls": self._calls, "results": self._results}).encode("utf-8", "surrogatepass")

    def close(self) -> None:
        """Nothing is held."""

    @classmethod
    def from_dump(cls, names: tuple[str, ...], state: bytes) -> CallsSession:
        """Rebuild a session from `dump`.

        Raises:
            CorruptCheckpoint: the bytes are not from `dump`.
        """
        session = cls(names)
        try:
            data = json.loads(state)
            session._calls = [(name, arguments) for name, arguments in data["calls"]]
            session._results = list(data["results"])
            session._promised = {place: None for place, known in enumerate(session._results) if known is None}
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptCheckpoint(f"a dumped list of calls is damaged: {error}") from error
        return session


class CallsFormat:
    """JSON tool calls; no sandbox needed."""

    name: ClassVar[str] = "calls"
    growth: ClassVar[int | None] = 6  # a character has up to 4 bytes; 1e15 is written out

    def explain(self, tools: Toolset) -> str:
        """Say how to act in JSON."""
        how = _HOW + (_HOW_DELEGATE if tools.launch else "")
        return f"{how}\nThese tools exist:\n\n{tools.describe()}"

    def start(self, session: Session, message: str) -> Step:
        """Make the calls in a message."""
        return session.start(message)

    def open(self, tools: Toolset, variables: Mapping[str, Any], seed: int) -> CallsSession:
        """Make a node's session; variables mean nothing without a Python session."""
        return CallsSession(tools.names)

    def restore(self, tools: Toolset, variables: Mapping[str, Any], state: bytes) -> CallsSession:
        """Bring a dumped session back to life.

        Raises:
            CorruptCheckpoint: `state` is not from this format.
        """
        return CallsSession.from_dump(tools.names, state)


def _dumps(data: Any) -> str:
    return _ENCODER.encode(data)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)
