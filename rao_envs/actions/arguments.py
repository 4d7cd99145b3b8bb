"""Check an agent's arguments against a method's annotations. Slow to import: loaded when a tool is first called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs

from rao_envs.errors import ToolError

__all__ = ["Checked", "checked", "json_schema"]

Checked: TypeAlias = Callable[[Any, Any, Sequence[Any], Mapping[str, Any]], Any]
"""(world, node, positional, by name) -> what the method returns; raises `ToolError` for arguments that do not fit."""


def checked(method: Callable[..., Any], names: Sequence[str], shown: str) -> Checked:
    """Return a method that checks its arguments before it is called.

    Args:
        method: takes ``(self, node, ...)``.
        names: names of the parameters after these two.
        shown: what to name the tool in an error, and how to call it: ``name(signature)``.
    """
    # The types of `TypeAdapter` and `ArgsKwargs` leave out what both take: a function, and any mapping.
    adapter: TypeAdapter[Any] = TypeAdapter(method, config=ConfigDict(arbitrary_types_allowed=True))  # type: ignore[arg-type]
    validate = adapter.validator.validate_python

    def call(world: Any, node: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        try:
            return validate(ArgsKwargs((world, node, *args), kwargs))  # type: ignore[arg-type]
        except ValidationError as error:
            explained = _explain(error, names)
        raise ToolError(f"{shown.partition('(')[0]}: {explained}. Call it as {shown}")

    return call


def json_schema(annotation: Any) -> dict[str, Any]:
    """Return the JSON schema of a type."""
    return TypeAdapter(annotation).json_schema()


def _explain(error: ValidationError, names: Sequence[str]) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = [
        names[part - 2] if isinstance(part, int) and i == 0 and 2 <= part < len(names) + 2 else str(part)
        for i, part in enumerate(first["loc"])
    ]
    return f"argument {'.'.join(place)[:80]!r}: {first['msg']}"
