"""The tools of a world, as agents see them: described from their signatures, arguments checked before use."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rao_envs.errors import ToolError
from rao_envs.values import TooLarge, to_json
from rao_envs.world import World

if TYPE_CHECKING:
    from rao_envs.actions.arguments import Checked

__all__ = ["FINISH", "LAUNCH", "Tool", "Toolset", "finish_message", "plain", "too_large"]

LAUNCH = "launch_subagent"
FINISH = "finish"


class Tool:
    """One method of a world.

    Attributes:
        name: what agents call it.
        doc: what it does, in words.
        signature: its parameters without `self` and `node`.
    """

    def __init__(self, name: str, method: Callable[..., Any]) -> None:
        """Read name, parameters and words off the method."""
        self.name = name
        self.doc = _for_agents(inspect.getdoc(method) or "")
        full = inspect.signature(method)
        self.signature = full.replace(parameters=list(full.parameters.values())[2:])
        self._method = method

    def __call__(
        self, world: World, node: Any, args: Sequence[Any], kwargs: dict[str, Any], max_bytes: int | None = 2**20
    ) -> Any:
        """Check the arguments and call the method.

        Args:
            world: whose method it is.
            node: who calls it.
            args: positional arguments, not to be trusted.
            kwargs: keyword arguments, likewise.
            max_bytes: size that the arguments may have as JSON, see `Limits.max_value_bytes`; None if they are known
                to be plain JSON within that size.

        Raises:
            ToolError: the arguments do not fit, or the method refuses them.
        """
        if kwargs and ("self" in kwargs or "node" in kwargs):
            raise ToolError(f"{self.name}: unexpected argument 'node'")
        args, kwargs = plain((args, kwargs), self.name, max_bytes)
        return self._checked(world, node, args, kwargs)

    @cached_property
    def _checked(self) -> Checked:
        # Not before the first call: pydantic takes longer to import than an environment to make.
        from rao_envs.actions.arguments import checked

        return checked(self._method, list(self.signature.parameters), str(self))

    def __str__(self) -> str:
        """Show the signature as the agent's code would call it."""
        shown = ", ".join(_listed(self.signature))
        returns = self.signature.return_annotation
        if self.name == LAUNCH or returns is self.signature.empty:
            return f"{self.name}({shown})"
        return f"{self.name}({shown}) -> {_annotation(returns)}"

    def schema(self) -> dict[str, Any]:
        """Return the parameters as a JSON schema, as chat servers take them."""
        from rao_envs.actions.arguments import json_schema

        fields = {
            name: json_schema(p.annotation if p.annotation is not p.empty else Any)
            for name, p in self._typed_parameters().items()
        }
        required = [name for name, p in self.signature.parameters.items() if p.default is p.empty]
        return {"type": "object", "properties": fields, "required": required}

    def _typed_parameters(self) -> dict[str, inspect.Parameter]:
        typed = inspect.signature(self._method, eval_str=True)
        return dict(list(typed.parameters.items())[2:])


class Toolset:
    """What one node may call: the world's tools, `finish`, and `launch_subagent` if it may delegate.

    Attributes:
        tools: the world's tools by name.
        launch: `launch_subagent`; None where nodes may not delegate.
        finish_doc: what `finish` expects.
        names: every name that a node's code can call.
    """

    def __init__(self, world: type[World], *, delegate: bool) -> None:
        """Collect the tools of a world class."""
        self.tools = {name: Tool(name, getattr(world, name)) for name in world.tools}
        has_launch = world.delegate is not World.delegate
        self.launch = Tool(LAUNCH, world.delegate) if delegate and has_launch else None
        self.finish_doc = world.finish_doc
        # A node that may not delegate still knows the name, to be told so rather than "not defined".
        self.names: tuple[str, ...] = (*self.tools, LAUNCH, FINISH)

    def schemas(self) -> list[dict[str, Any]]:
        """Return every tool as chat servers take it: {"type": "function", "function": {...}}."""
        listed = [*self.tools.values(), *([self.launch] if self.launch else [])]
        functions = [{"name": t.name, "description": t.doc, "parameters": t.schema()} for t in listed]
        message = {"type": "object", "properties": {"message": {}}, "required": ["message"]}
        functions.append({"name": FINISH, "description": self.finish_doc, "parameters": message})
        return [{"type": "function", "function": function} for function in functions]

    def describe(self) -> str:
        """Describe the tools in words, one paragraph each."""
        parts = [f"{tool}\n{_indent(tool.doc)}" for tool in self.tools.values()]
        if self.launch:
            parts.append(f"{self.launch}\n{_indent(self.launch.doc)}")
        parts.append(f"{FINISH}(message)\n{_indent(self.finish_doc)}")
        return "\n".join(parts)


def finish_message(args: Sequence[Any], kwargs: Mapping[str, Any], max_bytes: int | None = 2**20) -> Any:
    """Return what `finish` was given, as plain JSON: the one argument under whatever name, else a list or dict.

    Raises:
        ToolError: it is not data, or takes more than `max_bytes` as JSON.
    """
    given: Any = None
    if len(args) + len(kwargs) == 1:
        given = args[0] if args else next(iter(kwargs.values()))
    elif kwargs:
        given = {**({"message": args[0] if len(args) == 1 else list(args)} if args else {}), **kwargs}
    elif args:
        given = list(args)
    return plain(given, FINISH, max_bytes)


def plain(value: Any, name: str, max_bytes: int | None) -> Any:
    """Return what a tool was given as plain JSON; as it is if `max_bytes` is None.

    Raises:
        ToolError: it is not data, or too large; the message begins with the tool's name.
    """
    if max_bytes is None:
        return value
    try:
        return to_json(value, max_bytes, name="max_value_bytes")
    except ToolError as error:
        raise ToolError(f"{name}: {error}") from None


def too_large(payload: Any, max_bytes: int) -> str:
    """Say that the payload of a subagent is too large; '' if it is not.

    Whether it is plain data is between the world and those who store trees: its agents are not to blame.
    """
    try:
        to_json(payload, max_bytes, name="max_value_bytes")
    except TooLarge as error:
        return f"its payload is too large: {error}"
    except ToolError:
        pass
    return ""


def _listed(signature: inspect.Signature) -> list[str]:
    """Show each parameter, and the star after which they are passed by name only."""
    shown: list[str] = []
    starred = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            shown.append("*")
        starred = starred or parameter.kind in (parameter.VAR_POSITIONAL, parameter.KEYWORD_ONLY)
        shown.append(_shown(parameter))
    return shown


def _shown(parameter: inspect.Parameter) -> str:
    stars = (parameter.kind is parameter.VAR_POSITIONAL) + 2 * (parameter.kind is parameter.VAR_KEYWORD)
    text = "*" * stars + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {_annotation(parameter.annotation)}"
    return text if parameter.default is parameter.empty else f"{text} = {parameter.default!r}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _for_agents(doc: str) -> str:
    """Keep what an agent needs: the text up to 'Raises:', which is for programmers."""
    text = re.sub(r"^ *node: .*\n?", "", doc.split("\nRaises:")[0], flags=re.MULTILINE).strip()
    return text.removesuffix("Args:").strip()


def _indent(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
