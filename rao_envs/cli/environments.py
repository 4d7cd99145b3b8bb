"""Environments by id: those of this library, and any others that a module registers."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator

from rao_envs.env import RecursiveEnv
from rao_envs.errors import OptionError
from rao_envs.options import option_names
from rao_envs.registration import ENVIRONMENTS

__all__ = ["known", "make", "takes"]


def make(env_id: str, options: Mapping[str, Any] | None = None) -> RecursiveEnv:
    """Make an environment.

    Raises:
        OptionError: no recursive environment has this id, or it does not know an option.
    """
    foreign = OptionError("ENV_ID", env_id, "is not a recursive environment; `rao-envs list` shows those there are")
    if _foreign(_spec(env_id)):
        raise foreign
    try:
        env = gym.make(env_id, **(options or {})).unwrapped
    except TypeError as error:  # a function of a third party that takes none of these options
        raise OptionError("ENV_ID", env_id, f"does not take these options: {error}") from error
    if not isinstance(env, RecursiveEnv):
        raise foreign
    return env


def takes(env_id: str, option: str) -> bool:
    """Say whether an environment knows an option, such as "split"."""
    entry = _spec(env_id).entry_point
    creator: Any = load_env_creator(entry) if isinstance(entry, str) else entry
    names, more = option_names(creator)
    return option in names or (more and not inspect.isclass(creator) and option in option_names(RecursiveEnv)[0])


def known(modules: list[str]) -> Iterator[tuple[str, EnvSpec, type[RecursiveEnv] | RecursiveEnv]]:
    """Yield the recursive environments there are: (what to call it by, spec, class or instance).

    First those of this library, then those that `modules` register when they are imported, then others of modules
    that have been imported already.

    Raises:
        OptionError: there is no such module.
    """
    names = {env_id: env_id for env_id in ENVIRONMENTS}
    for module in modules:
        before = set(gym.registry)
        _import(module, module)
        new = set(gym.registry) - before
        own = [env_id for env_id, spec in gym.registry.items() if env_id in new or _module(spec) == module]
        names |= {env_id: f"{module}:{env_id}" for env_id in own if env_id not in ENVIRONMENTS}
    for env_id in gym.registry:
        names.setdefault(env_id, env_id)
    for env_id, name in names.items():
        spec = gym.registry[env_id]
        found = _recursive(spec)
        if found is not None:
            yield name, spec, found


def _spec(env_id: str) -> EnvSpec:
    module, _, name = env_id.rpartition(":")
    if module:
        _import(module, env_id)
    try:
        return gym.spec(name)
    except gym.error.Error:
        ids = [
            *ENVIRONMENTS,
            *(other for other in gym.registry if other not in ENVIRONMENTS and not _foreign(gym.spec(other))),
        ]
        close = difflib.get_close_matches(name, ids, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(ids)}."
        fix = f"no such environment; {hint} Name one of your own as module:Id-v0"
        raise OptionError("ENV_ID", env_id, fix) from None


def _import(module: str, given: str) -> None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        fix = f"there is no module {error.name!r} here; start rao-envs in its folder, or set PYTHONPATH"
        raise OptionError("MODULE" if given == module else "ENV_ID", given, fix) from error


def _foreign(spec: EnvSpec) -> bool:
    return _module(spec).split(".")[0] in ("gymnasium", "")


def _module(spec: EnvSpec) -> str:
    entry = spec.entry_point
    return entry.partition(":")[0] if isinstance(entry, str) else getattr(entry, "__module__", "")


def _recursive(spec: EnvSpec) -> type[RecursiveEnv] | RecursiveEnv | None:
    """Return the class of an environment, or one made for want of a class; None if it is not recursive."""
    entry: Any = spec.entry_point
    if isinstance(entry, str):
        if spec.id not in ENVIRONMENTS and entry.partition(":")[0] not in sys.modules:
            return None
        entry = load_env_creator(entry)
    if inspect.isclass(entry):
        return entry if issubclass(entry, RecursiveEnv) else None
    if entry is None or _foreign(spec):
        return None
    try:
        made = gym.make(spec.id, disable_env_checker=True).unwrapped
    except Exception:  # whatever a third party's function raises when it is given no options
        return None
    return made if isinstance(made, RecursiveEnv) else None
