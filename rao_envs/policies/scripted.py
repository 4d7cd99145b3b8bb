"""Policies without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rao_envs.action import Action
from rao_envs.errors import OptionError
from rao_envs.policies.base import View
from rao_envs.seeding import rng

__all__ = ["QuittingPolicy", "RandomPolicy", "ScriptedPolicy"]


class ScriptedPolicy:
    """A function from a view to a message. It keeps no state, so rollouts can be resumed and forked."""

    def __init__(self, act: Callable[[View], str | Action]) -> None:
        """Wrap `act`."""
        self.act = act

    def __call__(self, views: Sequence[View]) -> list[str | Action]:
        """Answer each view on its own."""
        return [self.act(view) for view in views]


class QuittingPolicy:
    """A scripted policy whose subagents sometimes give up instead of working.

    The rollouts of a group differ, so there is credit to assign without a model.
    """

    def __init__(self, act: Callable[[View], str | Action], rate: float) -> None:
        """Wrap `act`; a share `rate` of all subagents, chosen by the view's seed, calls `finish` at once.

        Raises:
            OptionError: the rate is not in [0, 1].
        """
        if not 0 <= rate <= 1:
            raise OptionError("rate", rate, "must lie in [0, 1]")
        self.act = act
        self.rate = rate

    def __call__(self, views: Sequence[View]) -> list[str | Action]:
        """Answer each view on its own."""
        return [self._give_up(view) if self._quits(view) else self.act(view) for view in views]

    def _quits(self, view: View) -> bool:
        return view.node.depth > 0 and not view.node.turns and rng(view.seed, "quit").random() < self.rate

    def _give_up(self, view: View) -> str:
        if view.format == "calls":
            return '[{"name": "finish", "arguments": {"message": "I give up"}}]'
        return '<python>finish("I give up")</python>'


class RandomPolicy:
    """Short gibberish: what every environment must survive."""

    _ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 ()[]{}:,.'\"_=\n"

    def __call__(self, views: Sequence[View]) -> list[str]:
        """Answer each view with up to 64 random characters, the same for the same seed."""
        return [self._babble(view) for view in views]

    def _babble(self, view: View) -> str:
        random = rng(view.seed)
        return "".join(random.choice(self._ALPHABET) for _ in range(random.randint(1, 64)))
