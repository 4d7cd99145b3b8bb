"""TextCraft for classical RL libraries: numeric observations, a few discrete moves, and masks of the sensible ones.

A view of `TextCraftSynthEnv`, not another environment: every step writes a real message of tool calls for the acting
node, and everything it shows of recipes comes from the tools' answers. Events, ledger, verdicts and tree are the same
as for agents that write text.

Importing this module registers ``TextCraftNumeric-v0``, so ``gym.make("rao_textcraft.numeric:TextCraftNumeric-v0")``
makes one. It is not a recursive environment in the sense of `rao_envs` (its actions are not messages) and not among
their ids.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, SupportsInt

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rao_envs import ExecutionTree, Limits, Node
from rao_envs.errors import EpisodeOver, OptionError
from rao_textcraft.envs import TextCraftSynthEnv
from rao_textcraft.world import TextCraftWorld

__all__ = ["CRAFT", "DELEGATE", "FEATURES", "FINISH", "ID", "LOOK_UP", "SLOTS", "NumericTextCraft", "Schedule"]

ID = "TextCraftNumeric-v0"
SLOTS = 6
"""Maximum number of ingredients of a recipe."""
LOOK_UP, DELEGATE, CRAFT, FINISH = 0, 1, 1 + SLOTS, 2 + SLOTS
"""Actions; ``DELEGATE + k`` delegates ingredient k."""

_NODE = (
    "wanted",
    "made",
    "recipe_known",
    "ingredients_known",
    "all_held",
    "item_depth",
    "node_depth",
    "levels_left",
    "turns_left",
    "nothing_done",
    "last_worked",
    "last_failed",
)
_SLOT = ("present", "needed", "held", "held_share", "known", "craftable", "depth", "launches")
FEATURES: tuple[str, ...] = (*_NODE, *(f"{name}_{k}" for k in range(SLOTS) for name in _SLOT))
"""Names of the numbers in an observation, in order; `NumericTextCraft` explains them."""

_DEEPEST = 12
_MANY_LAUNCHES = 4


@dataclass(frozen=True, slots=True)
class Schedule:
    """The task that an environment plays in episode e: ``first + stride * (e // repeat)``.

    Credit compares rollouts of one task, so each task must be played more than once:

    - ``Schedule()`` in all n copies of a vector environment: all play task e in their episode e, a group of n.
    - ``Schedule(first=i, stride=n, repeat=k)`` in copy i of n: each copy plays its own tasks, k times in a row.

    Attributes:
        first: the first task, at least 0.
        stride: the step from one task to the next, at least 1.
        repeat: consecutive rollouts of each task, at least 1.
    """

    first: int = 0
    stride: int = 1
    repeat: int = 1

    def __post_init__(self) -> None:
        """Check the values."""
        for name, minimum in (("first", 0), ("stride", 1), ("repeat", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
                raise OptionError(name, value, f"must be an int of at least {minimum}")

    def task(self, episode: int) -> int:
        """Return the number of the task of an episode."""
        return self.first + self.stride * (episode // self.repeat)


@dataclass(slots=True)
class _Notes:
    """Everything a node has read and done, from its own transcript."""

    read: int = 0
    recipe: Mapping[str, Any] | None = None
    depths: dict[str, int] = field(default_factory=dict)
    launches: dict[str, int] = field(default_factory=dict)
    worked: bool | None = None

    def catch_up(self, node: Node, target: str) -> None:
        """Read the turns completed since the last call."""
        for turn in node.turns[self.read :]:
            answers = json.loads(turn.observation or "[]")
            self.worked = not any("error" in answer for answer in answers)
            for answer in answers:
                for entry in answer.get("result", ()) if answer.get("name") == "get_info" else ():
                    self.depths[entry["item"]] = entry["depth"]
                    if entry["item"] == target:
                        self.recipe = entry["recipes"][0]
        self.read = len(node.turns)


@dataclass(frozen=True, slots=True)
class _Slot:
    """One ingredient of the acting node's recipe, for the remaining crafts."""

    item: str
    needed: int
    held: int
    depth: int | None
    launches: int

    @property
    def missing(self) -> int:
        return max(0, self.needed - self.held)

    def features(self) -> tuple[float, ...]:
        known = self.depth is not None
        return (
            1.0,
            _log(self.needed),
            _log(self.held),
            min(1.0, self.held / self.needed) if self.needed else 1.0,
            float(known),
            float(bool(self.depth)),
            (self.depth or 0) / _DEEPEST,
            min(self.launches, _MANY_LAUNCHES) / _MANY_LAUNCHES,
        )


@dataclass(frozen=True, slots=True)
class _Situation:
    """What the acting node sees, in the world's own terms."""

    node: Node
    notes: _Notes
    target: str
    wanted: int
    made: int
    crafts: int
    slots: tuple[_Slot, ...]
    levels: int

    @property
    def known(self) -> bool:
        return bool(self.slots) and all(slot.depth is not None for slot in self.slots)

    @property
    def ready(self) -> bool:
        return bool(self.slots) and all(not slot.missing for slot in self.slots)


class NumericTextCraft(gym.Env[NDArray[np.float32], np.int64]):
    """TextCraft-Synth as a vector of numbers and nine moves, one acting node at a time, depth first.

    ## Description
    The policy chooses among the moves of `rao_textcraft.recursive_oracle`: a node looks up its target and then its
    ingredients, delegates ingredients one by one, crafts and finishes. A delegated ingredient becomes a new node, which
    acts next with the same observation space; its parent resumes when the child has finished.

    ## Action Space
    `Discrete(9)`: 0 looks up (the target; then its ingredients), 1 to 6 delegate what is missing of ingredient 0 to 5,
    7 crafts what is still wanted, 8 finishes. The real tools carry out every action. One that makes no sense is
    rejected by them and costs a turn, or does nothing useful; `action_masks` tells which ones make sense.

    ## Observation Space
    `Box(0, 1, (60,), float32)`: see `FEATURES` and below. All zeros once the rollout is over.

    ## Rewards
    0 until the root returns, then the root's own success, 0 or 1. Every node's own success is in the tree.

    ## Starting State
    The root, which knows only what it is asked for.

    ## Episode End
    Terminated when the root finishes. Truncated when it runs out of turns or of its context window.

    ## Arguments
    See `__init__`.

    ## Version History
    * v0: initial version.

    Recipes and depths are known once looked up, as for agents that write text. Amounts held are current, as
    `view_inventory` would show them. Counts are ``log2(1 + n) / 10``, at most 1; depths are divided by 12.

    | feature | is |
    |---|---|
    | `wanted`, `made` | units of the target asked for; share of them newly made so far |
    | `recipe_known`, `ingredients_known` | 1 once looked up |
    | `all_held` | 1 if the recipe is known and nothing is missing for the remaining crafts |
    | `item_depth`, `node_depth`, `levels_left` | crafting depth of the target (0 = unknown); position in the tree |
    | `turns_left` | share of the node's turns |
    | `nothing_done`, `last_worked`, `last_failed` | outcome of the node's last turn, one of three |
    | `present_k` | 1 if the recipe is known and has an ingredient k; the rest of the slot is 0 otherwise |
    | `needed_k`, `held_k`, `held_share_k` | for the remaining crafts |
    | `known_k`, `craftable_k`, `depth_k` | once the ingredients have been looked up |
    | `launches_k` | times delegated by this node, in quarters, at most 1 |

    The ``info`` of a step has "actor" (the node that just acted), "node" and "depth" (of the node that acts next),
    "task", and at the end "tree".

    Attributes:
        text: the underlying environment.
        schedule: which tasks its episodes play; None draws them at random.
        episode: number of the current episode; -1 before the first.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's own type)

    def __init__(
        self,
        difficulty: str | None = None,
        *,
        depth: int | None = None,
        split: str = "train",
        schedule: Schedule | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        task_seed: int = 0,
        world_seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        """Make the view.

        Args:
            difficulty: as for `TextCraftSynthEnv`, as are the other arguments.
            depth: exact crafting depth instead.
            split: "train", "val" or "test".
            schedule: which task each episode plays; None draws tasks at random.
            limits: overrides of the defaults.
            task_seed: a different seed gives different tasks in the same world.
            world_seed: a different seed gives a different world.
            render_mode: None or "ansi".

        Raises:
            ValueError: an option has an invalid value.
        """
        if schedule is not None and not isinstance(schedule, Schedule):
            raise OptionError("schedule", schedule, "must be a rao_textcraft.numeric.Schedule, or None")
        self.text = TextCraftSynthEnv(
            depth,
            difficulty,
            split,
            task_seed=task_seed,
            world_seed=world_seed,
            limits=limits,
            action_format="calls",
            render_mode=render_mode,
        )
        self.render_mode = render_mode
        self.schedule = schedule
        self.episode = -1
        self.observation_space = spaces.Box(0.0, 1.0, (len(FEATURES),), np.float32)
        self.action_space = spaces.Discrete(3 + SLOTS)
        self._notes: dict[int, _Notes] = {}
        self._now: _Situation | None = None

    @property
    def tree(self) -> ExecutionTree:
        """The execution tree so far."""
        return self.text.tree

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: fixes all randomness, and restarts the count of episodes at 0.
            options: "task", a task number or a `Task`, instead of the schedule's; "episode", the number of this
                episode, from which later ones are counted.

        Raises:
            OptionError: an option is unknown or has an invalid value.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        following = self.episode + 1 if seed is None else 0
        episode = _number("options['episode']", given.pop("episode", following))
        if self.schedule is not None:
            given.setdefault("task", self.schedule.task(episode))
        _, info = self.text.reset(seed=int(self.np_random.integers(2**31)), options=given)
        self.episode = episode
        self._notes = {}
        self._now = self._look()
        return self._observation(), self._info(info)

    def step(self, action: SupportsInt) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Make the acting node's move, and advance to the node that acts next.

        Raises:
            EpisodeOver: `reset` was not called, or the episode has ended.
            OptionError: `action` is not an action.
        """
        if self._now is None:
            raise EpisodeOver("the episode is over: call reset() first")
        if not self.action_space.contains(np.int64(move := _number("action", action))):
            raise OptionError("action", action, f"must be a number from 0 to {FINISH}")
        actor = self._now
        message = _message(actor, move, self.text.limits.max_turns)
        if DELEGATE <= move < CRAFT and move - DELEGATE < len(actor.slots):
            item = actor.slots[move - DELEGATE].item
            actor.notes.launches[item] = actor.notes.launches.get(item, 0) + 1
        _, reward, terminated, truncated, info = self.text.step(message)
        self._now = None if terminated or truncated else self._look()
        return self._observation(), reward, terminated, truncated, {"actor": actor.node.id, **self._info(info)}

    def action_masks(self) -> NDArray[np.bool_]:
        """Return bool [9]: which moves make sense for the acting node, given what it knows.

        Looking up makes sense while something is unknown; delegating an ingredient if it is craftable, some of it is
        missing and levels are left; crafting if everything is held and something is still wanted; finishing always.
        """
        mask = np.zeros(3 + SLOTS, dtype=np.bool_)
        mask[FINISH] = True
        now = self._now
        if now is not None:
            mask[LOOK_UP] = not now.known
            for k, slot in enumerate(now.slots):
                mask[DELEGATE + k] = bool(slot.depth) and slot.missing > 0 and now.levels > 0
            mask[CRAFT] = now.ready and now.made < now.wanted
        return mask

    def render(self) -> str | None:
        """Return the tree so far as text in render mode "ansi", else None."""
        return self.text.render()

    def close(self) -> None:
        """End the rollout; its tree stays readable."""
        self.text.close()

    def _look(self) -> _Situation:
        node = self.tree.nodes[self.text.ready[0]]
        world = self.text.world
        assert isinstance(world, TextCraftWorld)
        ((target, wanted),) = node.payload["targets"].items()
        notes = self._notes.setdefault(node.id, _Notes())
        notes.catch_up(node, target)
        made = max(0, world.shop.net(node.id).get(target, 0))
        makes, needs = (notes.recipe["makes"], notes.recipe["needs"]) if notes.recipe else (1, {})
        crafts = max(0, math.ceil((wanted - made) / makes))
        pool = world.shop.pool(node.id)
        slots = tuple(
            _Slot(item, each * crafts, pool.get(item, 0), notes.depths.get(item), notes.launches.get(item, 0))
            for item, each in needs.items()
        )
        levels = self.text.limits.max_depth - node.depth
        return _Situation(node, notes, target, wanted, made, crafts, slots, levels)

    def _observation(self) -> NDArray[np.float32]:
        values = np.zeros(len(FEATURES), dtype=np.float32)
        now = self._now
        if now is None:
            return values
        node, notes = now.node, now.notes
        values[: len(_NODE)] = (
            _log(now.wanted),
            min(1.0, now.made / now.wanted),
            notes.recipe is not None,
            now.known,
            now.ready,
            notes.depths.get(now.target, 0) / _DEEPEST,
            min(1.0, node.depth / _DEEPEST),
            min(1.0, now.levels / _DEEPEST),
            1.0 - len(node.turns) / node.budget,
            notes.worked is None,
            notes.worked is True,
            notes.worked is False,
        )
        start = len(_NODE)
        for slot in now.slots:
            values[start : start + len(_SLOT)] = slot.features()
            start += len(_SLOT)
        return values

    def _info(self, info: Mapping[str, Any]) -> dict[str, Any]:
        return {name: info[name] for name in ("node", "depth", "task", "tree") if name in info}


def _message(now: _Situation, move: int, budget: int) -> str:
    """Write a move as a message of tool calls; the tools report what is wrong with one that makes no sense."""
    if move == LOOK_UP:
        items = [now.target, *(slot.item for slot in now.slots)]
        call = {"name": "get_info", "arguments": {"items": items}}
    elif move == CRAFT:
        makes = now.notes.recipe["makes"] if now.notes.recipe else 1
        target = [now.target, now.crafts * makes]
        needs = {slot.item: slot.needed for slot in now.slots}
        call = {"name": "craft", "arguments": {"ingredients": needs, "target": target}}
    elif move == FINISH:
        call = {"name": "finish", "arguments": {"message": "done"}}
    else:
        asked = {slot.item: slot.missing for k, slot in enumerate(now.slots) if DELEGATE + k == move}
        call = {"name": "launch_subagent", "arguments": {"targets": asked, "num_steps": budget}}
    return json.dumps([call], separators=(",", ":"))


def _log(count: int) -> float:
    return min(1.0, math.log2(1 + count) / 10)


def _number(name: str, value: Any) -> int:
    number = value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise OptionError(name, value, "must be an int of at least 0")
    return number


if ID not in gym.registry:
    gym.register(id=ID, entry_point="rao_textcraft.numeric:NumericTextCraft")
