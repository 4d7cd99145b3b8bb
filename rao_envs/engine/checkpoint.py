"""A rollout in mid-flight, as bytes: the event log, the world's state, and every living node's session.

The container is eight bytes that say what it is, a checksum, and a ZIP archive that holds ``rollout.json`` and one
file for each session. No clock and no name of a machine is in it. Like a pickle, a checkpoint must come from a
source you trust: the sandbox does not defend itself against forged sessions.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from rao_envs._fields import as_data
from rao_envs.engine.scheduler import Agent, Engine, Rules
from rao_envs.errors import CorruptCheckpoint
from rao_envs.events import event_from_dict, event_to_dict
from rao_envs.sandbox.repl import Failure, Value
from rao_envs.tree import ExecutionTree
from rao_envs.world import Task, World

__all__ = ["MAX_UNPACKED", "pack", "pack_engine", "unpack", "unpack_engine"]

MAX_UNPACKED = 1 << 30
"""How many bytes a checkpoint may unpack to, unless `load` is told otherwise: 1 GiB. A tree of 100,000 nodes takes
about 100 MB, a Python session 160 KB and more."""

_VERSION = 2
_MAGIC = b"RAO-CKPT"
_CHECKSUM = 16
_HEADER = len(_MAGIC) + _CHECKSUM
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(data: Mapping[str, Any], sessions: Mapping[int, bytes]) -> bytes:
    """Write a checkpoint: JSON-able `data` and one blob for each node id."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        text = json.dumps({"version": _VERSION, **data}, ensure_ascii=False, allow_nan=False)
        archive.writestr(zipfile.ZipInfo("rollout.json", _EPOCH), text, zipfile.ZIP_DEFLATED)
        for node, blob in sorted(sessions.items()):
            archive.writestr(zipfile.ZipInfo(f"sessions/{node}", _EPOCH), blob, zipfile.ZIP_DEFLATED)
    body = buffer.getvalue()
    return _MAGIC + _checksum(body) + body


def unpack(checkpoint: bytes, max_bytes: int = MAX_UNPACKED) -> tuple[dict[str, Any], dict[int, bytes]]:
    """Read a checkpoint back.

    Args:
        checkpoint: what `pack` returned.
        max_bytes: how much all of it may unpack to; nothing is unpacked if it is more.

    Raises:
        CorruptCheckpoint: the bytes are not from `pack`, were damaged or cut, or unpack to too much.
    """
    if not isinstance(checkpoint, bytes | bytearray | memoryview):
        raise CorruptCheckpoint(f"checkpoint={checkpoint!r:.80}: must be the bytes that save() returned")
    checkpoint = bytes(checkpoint)
    # The archive has checksums of its own, but not over its headers, and it puts up with bytes that were cut off.
    body = checkpoint[_HEADER:]
    if checkpoint[: len(_MAGIC)] != _MAGIC:
        raise CorruptCheckpoint("not a checkpoint: it must be what save() returned")
    if checkpoint[len(_MAGIC) : _HEADER] != _checksum(body):
        raise CorruptCheckpoint("the checkpoint is damaged or cut short: its checksum does not fit")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            data, sessions = _read(archive, max_bytes)
    except CorruptCheckpoint:
        raise
    except Exception as error:  # zipfile has a dozen words for damage, struct.error and RuntimeError among them
        raise CorruptCheckpoint(f"not a checkpoint, or damaged: {error!r:.200}") from error
    return data, sessions


def _read(archive: zipfile.ZipFile, max_bytes: int) -> tuple[dict[str, Any], dict[int, bytes]]:
    files = archive.infolist()
    size = sum(file.file_size for file in files)
    if size > max_bytes:
        fix = "pass a larger max_bytes to load() if you trust its source"
        raise CorruptCheckpoint(f"the checkpoint unpacks to {size:,} bytes, {max_bytes:,} are allowed; {fix}")
    if any(file.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for file in files):
        raise CorruptCheckpoint("not a checkpoint: it is compressed in another way")
    data = json.loads(_inflate(archive, archive.getinfo("rollout.json")))
    version = data["version"]
    if version != _VERSION:
        raise CorruptCheckpoint(f"the checkpoint is of version {version!r:.80}; this release reads {_VERSION}")
    nodes = {f"sessions/{node}": int(node) for node in data["agents"]}
    names = [file.filename for file in files if file.filename != "rollout.json"]
    if len(set(names)) != len(files) - 1 or not nodes.keys() >= set(names):
        raise CorruptCheckpoint(f"not a checkpoint: {len(names)} sessions, of {len(nodes)} living nodes")
    return data, {nodes[name]: _inflate(archive, archive.getinfo(name)) for name in names}


def _inflate(archive: zipfile.ZipFile, file: zipfile.ZipInfo) -> bytes:
    with archive.open(file) as packed:
        # As much as the archive says there is: without a size, `read` inflates the rest, too, and throws it away.
        return packed.read(file.file_size)


def _checksum(body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECKSUM).digest()


def pack_engine(engine: Engine) -> tuple[dict[str, Any], dict[int, bytes]]:
    """Return a rollout as JSON-able data and session blobs."""
    agents = {
        str(place): {
            "now": agent.now,
            "left": agent.left,
            "tokens": agent.tokens,
            "calls": agent.calls,
            "call": agent.call,
            "blocked": agent.blocked,
            "announced": agent.announced,
            "launches": list(agent.launches.items()),
            "answers": [
                [call, time, isinstance(answer := agent.answers[call], Value), answer[0]]
                for time, call in sorted(agent.order)
            ],
        }
        for place, agent in engine.agents.items()
    }
    data = {
        "format": engine.rules.format.name,
        "recursive": engine.rules.recursive,
        "limits": engine.rules.limits.to_dict(),
        "seed": engine.seed,
        "task": engine.world.task.to_dict(),
        "kind": type(engine.world).__qualname__,
        "world": engine.world.state(),
        "events": [event_to_dict(event) for event in engine.tree.events],
        "meta": engine.tree.meta,
        "agents": agents,
        "ready": list(engine.ready),
    }
    sessions = {place: agent.session.dump() for place, agent in engine.agents.items() if agent.session is not None}
    return data, sessions


def unpack_engine(data: Mapping[str, Any], sessions: Mapping[int, bytes], rules: Rules, make_world: Any) -> Engine:
    """Bring a rollout back to life under the same rules.

    Raises:
        CorruptCheckpoint: the data is damaged, or was saved under other rules.
    """
    for name, ours in (
        ("format", rules.format.name),
        ("recursive", rules.recursive),
        ("limits", rules.limits.to_dict()),
    ):
        if data.get(name) != ours:
            raise CorruptCheckpoint(
                f"the checkpoint was saved with {name}={data.get(name)!r}; this environment has {ours!r}"
            )
    try:
        for part in ("task", "world", "meta", "agents", "ready"):
            as_data(data[part])
        world: World = make_world(Task(**data["task"]))
        if data["kind"] != type(world).__qualname__:
            raise CorruptCheckpoint(f"the checkpoint is of a {data['kind']}; this is a {type(world).__qualname__}")
        world.restore(data["world"])
        engine = Engine(world, rules, int(data["seed"]))
        engine.tree = ExecutionTree.from_events(map(event_from_dict, data["events"]), data["meta"])
        agents = {int(place): _agent(engine, int(place), state) for place, state in data["agents"].items()}
        for place, blob in sessions.items():
            agents[place].session = engine.restore_session(agents[place].node, blob)
        engine.resume(agents, [int(place) for place in data["ready"]])
    except CorruptCheckpoint:
        raise
    except Exception as error:  # a world's `restore`, too, may stumble over damage in its own way
        raise CorruptCheckpoint(f"the checkpoint contradicts itself: {error!r:.200}") from error
    return engine


def _agent(engine: Engine, place: int, state: Mapping[str, Any]) -> Agent:
    agent = Agent(
        engine.tree.nodes[place],
        state["now"],
        state["left"],
        state["tokens"],
        call=state["call"],
        calls=state["calls"],
        blocked=state["blocked"],
        announced=state["announced"],
        launches={int(call): int(child) for call, child in state["launches"]},
    )
    for call, time, ok, content in state["answers"]:
        agent.take(call, time, Value(content) if ok else Failure(content))
    return agent
