"""A rollout in mid-flight, as bytes: the event log, the world's state, and every living node's session.

A checkpoint is eight bytes that identify the format, a checksum, and a ZIP archive of ``rollout.json`` and one file
per session. It contains no wall-clock time and no machine name. Like a pickle, a checkpoint must come from a source
you trust: the sandbox does not defend itself against forged sessions.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from rao_envs._fields import as_data
from rao_envs.engine.agents import Agent
from rao_envs.engine.engine import Engine
from rao_envs.engine.rules import Rules
from rao_envs.engine.waiting import Ending, Finish, Launches, Outcome
from rao_envs.errors import CorruptCheckpoint
from rao_envs.events import event_from_dict, event_to_dict
from rao_envs.steps import Done, Failure, Value
from rao_envs.tree import ExecutionTree
from rao_envs.world import Task, World

if TYPE_CHECKING:
    import zipfile

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
    """Write a checkpoint: JSON-able `data` and one blob per node id."""
    import zipfile  # not above: it takes a tenth of the time of a process's first environment

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
        CorruptCheckpoint: the bytes are not from `pack`, are damaged or truncated, or unpack to too much.
    """
    import zipfile

    if not isinstance(checkpoint, bytes | bytearray | memoryview):
        raise CorruptCheckpoint(f"checkpoint={checkpoint!r:.80}: must be the bytes that save() returned")
    checkpoint = bytes(checkpoint)
    # The archive has its own checksums, but they do not cover its headers, and it tolerates truncation.
    body = checkpoint[_HEADER:]
    if checkpoint[: len(_MAGIC)] != _MAGIC:
        raise CorruptCheckpoint("not a checkpoint: pass what save() returned")
    if checkpoint[len(_MAGIC) : _HEADER] != _checksum(body):
        raise CorruptCheckpoint("the checkpoint is damaged or truncated: its checksum does not match")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            data, sessions = _read(archive, max_bytes)
    except CorruptCheckpoint:
        raise
    except Exception as error:  # zipfile reports damage in a dozen ways, struct.error and RuntimeError among them
        raise CorruptCheckpoint(f"not a checkpoint, or damaged: {error!r:.200}") from error
    return data, sessions


def _read(archive: zipfile.ZipFile, max_bytes: int) -> tuple[dict[str, Any], dict[int, bytes]]:
    import zipfile

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
        str(node): {
            "now": agent.now,
            "left": agent.left,
            "tokens": agent.tokens,
            "calls": agent.calls,
            "max_bytes": agent.max_bytes,
            "call": agent.call,
            "blocked": agent.blocked,
            "launches": None if agent.launches is None else _launches_to_dict(agent.launches),
            "ending": _ending_to_list(agent.ending),
        }
        for node, agent in engine.agents.items()
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
    sessions = {node: agent.session.dump() for node, agent in engine.agents.items() if agent.session is not None}
    return data, sessions


def unpack_engine(data: Mapping[str, Any], sessions: Mapping[int, bytes], rules: Rules, make_world: Any) -> Engine:
    """Restore a rollout under the same rules.

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
        tree = ExecutionTree.from_events(map(event_from_dict, data["events"]), data["meta"])
        engine = Engine(world, rules, int(data["seed"]), tree)
        agents = {int(node): _agent(engine, int(node), state) for node, state in data["agents"].items()}
        for node, blob in sessions.items():
            agents[node].session = engine.restore_session(agents[node].node, blob)
        for agent in agents.values():
            if agent.launches is not None:
                living = ((call, agents.get(child)) for call, child in agent.launches.running.items())
                agent.launches.clocks = sorted((child.now, call) for call, child in living if child is not None)
        engine.resume(agents, [int(node) for node in data["ready"]])
    except CorruptCheckpoint:
        raise
    except Exception as error:  # a world's own `restore` may fail on damaged data in any way
        raise CorruptCheckpoint(f"the checkpoint contradicts itself: {error!r:.200}") from error
    return engine


def _agent(engine: Engine, node: int, state: Mapping[str, Any]) -> Agent:
    return Agent(
        engine.tree.nodes[node],
        state["now"],
        state["left"],
        state["tokens"],
        call=state["call"],
        calls=state["calls"],
        max_bytes=state["max_bytes"],
        blocked=state["blocked"],
        launches=None if state["launches"] is None else _launches_from_dict(state["launches"]),
        ending=_ending_from_list(state["ending"]),
    )


def _launches_to_dict(launches: Launches) -> dict[str, Any]:
    """Return the launches of a waiting turn: all it requested have started, and it knows of every refusal."""
    return {
        "announced": launches.announced,
        "dropped": launches.dropped,
        "lost": launches.lost,
        "running": list(launches.running.items()),
        "outcomes": [
            [call, time, isinstance(answer := launches.outcomes[call].answer, Value), answer[0], outcome.left]
            for time, call in sorted(launches.order)
            for outcome in [launches.outcomes[call]]
        ],
    }


def _launches_from_dict(state: Mapping[str, Any]) -> Launches:
    launches = Launches(
        running={int(call): int(child) for call, child in state["running"]},
        announced=state["announced"],
        dropped=state["dropped"],
        lost=state["lost"],
    )
    for call, time, ok, content, left in state["outcomes"]:
        launches.returned(call, time, Outcome(Value(content) if ok else Failure(content), left))
    return launches


def _ending_to_list(ending: Ending | None) -> list[Any] | None:
    return None if ending is None else [type(ending).__name__, *ending]


def _ending_from_list(state: list[Any] | None) -> Ending | None:
    if state is None:
        return None
    kinds: dict[str, type[Done] | type[Finish]] = {"Done": Done, "Finish": Finish}
    return kinds[state[0]](*state[1:])
