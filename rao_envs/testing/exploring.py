"""Valid calls of an environment's tools, drawn from the tools' own types and from what an agent has seen.

A tool's JSON schema says what kind of value each argument takes; the values themselves come from the node's goal,
payload, variables and observations, so that calls mean something, and from the edges of each type (0, -1, "", []).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter
from random import Random
from typing import Any

from rao_envs.actions.tools import FINISH, LAUNCH, Tool, Toolset
from rao_envs.env import RecursiveEnv
from rao_envs.policies.base import View
from rao_envs.seeding import rng
from rao_envs.tree import Node

__all__ = ["Explorer", "ExploringPolicy", "Seen", "draw", "least", "write"]

Schema = Mapping[str, Any]

_WORDS = re.compile(r"https?://\S+|[A-Za-z][\w.'-]*|-?\d+(?:\.\d+)?")
_INTEGERS = (0, 1, -1, 2, 3, 5, 10)
_TEXTS = ("", "x", "a few words")
_KINDS: Mapping[Any, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_MAX_TEXT = 20_000
_MAX_DEPTH = 6


@dataclass(slots=True)
class Seen:
    """Values that an agent has seen together.

    Attributes:
        texts, numbers: the single values.
        containers: lists and dicts.
    """

    texts: list[str] = field(default_factory=list)
    numbers: list[int | float] = field(default_factory=list)
    containers: list[Any] = field(default_factory=list)

    def add(self, value: Any, depth: int = 0) -> None:
        """Take in a JSON value with all that it holds."""
        if isinstance(value, str):
            self.texts.append(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self.numbers.append(value)
        elif isinstance(value, Mapping | list | tuple) and depth < _MAX_DEPTH:
            self.containers.append(value)
            for part in (*value.keys(), *value.values()) if isinstance(value, Mapping) else value:
                self.add(part, depth + 1)

    def read(self, text: str) -> None:
        """Take in the words and numbers of a text."""
        for word in _WORDS.findall(text[:_MAX_TEXT]):
            self.add(_parsed(word) if word[0] in "-0123456789" else word)


def draw(schema: Schema, seen: Seen, random: Random, root: Schema | None = None) -> Any:
    """Draw a value of a JSON schema, as pydantic writes them; constraints on text and numbers are tried for, not kept.

    Args:
        schema: what the value must be.
        seen: where values are taken from, if they fit.
        random: draws.
        root: the schema that holds the definitions; None is `schema` itself.
    """
    root = schema if root is None else root
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return random.choice(schema["enum"])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return draw(random.choice(choices), seen, random, root)
    kind = schema.get("type") or random.choice(("string", "integer", "boolean", "null", "array", "object"))
    if kind == "string":
        return _text(schema, seen, random)
    if kind in ("integer", "number"):
        return _number(schema, kind, seen, random)
    if kind == "boolean":
        return random.random() < 0.5
    if kind == "null":
        return None
    fitting = [value for value in seen.containers if _fits(value, schema, root)]
    if fitting and random.random() < 0.6:
        return random.choice(fitting)
    if kind == "array":
        return _array(schema, seen, random, root)
    return _object(schema, seen, random, root)


def least(schema: Schema, root: Schema | None = None) -> Any:
    """Return the emptiest value of a JSON schema: "", [], {}, 0, False or None."""
    root = schema if root is None else root
    if "$ref" in schema:
        return least(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return least(choices[0], root)
    if schema.get("type") == "array" and "prefixItems" in schema:
        return [least(item, root) for item in schema["prefixItems"]]
    if schema.get("type") == "object" and schema.get("properties"):
        return {name: least(schema["properties"][name], root) for name in schema.get("required", ())}
    empty = {"string": "", "integer": schema.get("minimum", 0), "number": schema.get("minimum", 0.0)}
    return {**empty, "boolean": False, "array": [], "object": {}}.get(schema.get("type", ""))


def _text(schema: Schema, seen: Seen, random: Random) -> str:
    fitting = [text for text in seen.texts if len(text) >= schema.get("minLength", 0)]
    if fitting and random.random() < 0.85:
        return random.choice(fitting)
    text = random.choice(_TEXTS)
    return text if len(text) >= schema.get("minLength", 0) else "x" * schema["minLength"]


def _number(schema: Schema, kind: str, seen: Seen, random: Random) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -(10**9)))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 10**9))
    whole = kind == "integer"
    pool = [number for number in seen.numbers if low <= number <= high and not (whole and number != int(number))]
    if pool and random.random() < 0.5:
        number = random.choice(pool)
        return int(number) if whole else number
    bounded = [number for number in _INTEGERS if low <= number <= high]
    if bounded and random.random() < 0.5:
        return random.choice(bounded)
    top = int(min(high, max([*(abs(number) for number in seen.numbers[:50]), 10])))
    drawn = random.randint(int(max(low, min(0, top))), max(top, int(max(low, min(0, top)))))
    return drawn if whole else drawn + random.choice((0.0, 0.5))


def _array(schema: Schema, seen: Seen, random: Random, root: Schema) -> list[Any]:
    if "prefixItems" in schema:
        return [draw(item, seen, random, root) for item in schema["prefixItems"]]
    fewest = schema.get("minItems", 0)
    size = random.randint(fewest, max(fewest, min(schema.get("maxItems", 3), 3)))
    items = [draw(schema.get("items", {}), seen, random, root) for _ in range(size)]
    return list({json.dumps(item): item for item in items}.values()) if schema.get("uniqueItems") else items


def _object(schema: Schema, seen: Seen, random: Random, root: Schema) -> dict[str, Any]:
    named = schema.get("properties", {})
    made = {
        name: draw(part, seen, random, root)
        for name, part in named.items()
        if name in schema.get("required", ()) or random.random() < 0.5
    }
    extra = schema.get("additionalProperties", not named)
    if extra:
        part = extra if isinstance(extra, Mapping) else {}
        made |= {_text({}, seen, random): draw(part, seen, random, root) for _ in range(random.randint(0, 2))}
    return made


def _fits(value: Any, schema: Schema, root: Schema) -> bool:
    """Say whether a value seen has the shape of a schema; a value that only looks so is refused by the tool."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return any(_fits(value, choice, root) for choice in choices)
    kind = schema.get("type")
    if kind == "array":
        if not isinstance(value, list | tuple):
            return False
        prefix = schema.get("prefixItems")
        if prefix is not None:
            return len(value) == len(prefix) and all(map(lambda v, s: _fits(v, s, root), value, prefix))
        return bool(value) and all(_fits(item, schema.get("items", {}), root) for item in value)
    if kind == "object":
        if not isinstance(value, Mapping) or not set(schema.get("required", ())) <= value.keys():
            return False
        named: Schema = schema.get("properties", {})
        extra = schema.get("additionalProperties", True)
        if extra is False and not value.keys() <= named.keys():
            return False
        part = extra if isinstance(extra, Mapping) else {}
        return bool(value) and all(_fits(item, named.get(name, part), root) for name, item in value.items())
    return kind not in _KINDS or (isinstance(value, _KINDS[kind]) and isinstance(value, bool) == (kind == "boolean"))


class Explorer:
    """Draws valid calls for the nodes of one environment.

    Attributes:
        env: the environment.
        schemas: parameters of each callable by name: the tools, and `launch_subagent` where the world delegates.
        hidden: why a tool cannot be called, by name: an argument of a type that no message can carry.
    """

    def __init__(self, env: RecursiveEnv) -> None:
        """Read the tools of an environment that has been reset."""
        self.env = env
        self.schemas: dict[str, Schema] = {}
        self.hidden: dict[str, str] = {}
        toolset = Toolset(type(env.world), delegate=env.rules.recursive and env.limits.max_depth > 0)
        for tool in (*toolset.tools.values(), *([toolset.launch] if toolset.launch else [])):
            try:
                self.schemas[tool.name] = _by_name(tool)
            except Exception as error:  # pydantic has many words for a type that JSON cannot hold
                self.hidden[tool.name] = f"its arguments have no JSON schema ({str(error).splitlines()[0]:.120})"

    def may_launch(self, node: Node) -> bool:
        """Say whether a node may launch subagents."""
        return LAUNCH in self.schemas and node.depth < self.env.limits.max_depth

    def arguments(self, name: str, node: Node, random: Random) -> dict[str, Any]:
        """Draw the arguments of one call, from one thing that the node has seen or from all."""
        seen = list(self._seen(node))
        everything = Seen()
        for part in seen:
            everything.texts += part.texts
            everything.numbers += part.numbers
            everything.containers += part.containers
        source = random.choice(seen) if random.random() < 0.5 else everything
        schema = self.schemas[name]
        return {
            argument: draw(part, source if random.random() < 0.9 else everything, random)
            for argument, part in schema["properties"].items()
            if argument in schema["required"] or random.random() < 0.3
        }

    def _seen(self, node: Node) -> Iterator[Seen]:
        """Yield what a node has seen, things that belong together in one: newest last."""
        asked = Seen()
        asked.add(node.payload)
        asked.add(node.goal)
        asked.read(node.goal)
        asked.add(dict(self.env.world.variables(node)))
        yield asked
        for turn in node.turns[-8:]:
            whole = Seen()
            whole.read(turn.observation or "")
            for value in _values(turn.observation or ""):
                whole.add(value)
                for part in _objects(value):
                    together = Seen()
                    together.add(part)
                    yield together
            yield whole


def _by_name(tool: Tool) -> Schema:
    """Return the schema of the parameters that can be passed by name."""
    schema = tool.schema()
    kinds = {name: parameter.kind for name, parameter in tool.signature.parameters.items()}
    named = [name for name, kind in kinds.items() if kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]
    return {
        "properties": {name: schema["properties"][name] for name in named},
        "required": [name for name in schema["required"] if name in named],
    }


class ExploringPolicy:
    """Makes valid calls at random, and delegates: for an environment that has no scripted agent of its own.

    It keeps no state, so its rollouts can be resumed and forked. Each node makes a few calls, the first two nodes of
    a branch may launch subagents, and all finish with something that they have seen.
    """

    def __init__(self, env: RecursiveEnv, turns: int = 4) -> None:
        """Read the tools of an environment, which is reset.

        Args:
            env: an environment like those that the views come from.
            turns: turns of each node at most, the last of which finishes.
        """
        env.reset(seed=0)
        self._explorer, self._turns = Explorer(env), turns

    def __call__(self, views: Sequence[View]) -> list[str]:
        """Answer each view by itself."""
        return [self.act(view) for view in views]

    def act(self, view: View) -> str:
        """Answer one view."""
        node, random = view.node, rng(view.seed, "explore")
        if len(node.turns) + 1 >= min(self._turns, node.budget):
            last = node.turns[-1].observation if node.turns else node.goal
            return write(view.format, FINISH, message=random.choice((last or "").split() or ["done"]))
        names = [name for name in self._explorer.schemas if name != LAUNCH]
        if self._explorer.may_launch(node) and node.depth < 2 and (not names or random.random() < 0.4):
            return write(view.format, LAUNCH, **self._explorer.arguments(LAUNCH, node, random))
        if not names:
            return write(view.format, FINISH, message="done")
        name = random.choice(names)
        return write(view.format, name, **self._explorer.arguments(name, node, random))


def write(action_format: str, name: str, /, **arguments: Any) -> str:
    """Write a message that makes one call."""
    if action_format == "calls":
        return json.dumps([{"name": name, "arguments": arguments}])
    call = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
    return f"<python>\n{'await ' if name == LAUNCH else ''}{call}\n</python>"


def _values(text: str) -> Iterator[Any]:
    """Yield the data that an observation shows: JSON, or Python literals, a line each."""
    for part in (text, *text.splitlines()[:20]):
        if part[:1] in "[{(" and len(part) < _MAX_TEXT and (value := _parsed(part)) is not None:
            yield value
            return


def _objects(value: Any, depth: int = 0) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield value
    if isinstance(value, Mapping | list | tuple) and depth < _MAX_DEPTH:
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _objects(part, depth + 1)


def _parsed(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None
