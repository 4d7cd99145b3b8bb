"""What a trainer requires of a policy whose weights are in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from rao_envs.action import Action
from rao_envs.errors import OptionError
from rao_envs.extras import extra
from rao_envs.policies.base import View

if TYPE_CHECKING:
    import torch

__all__ = ["TorchPolicy", "find_device"]


class TorchPolicy(Protocol):
    """A policy that can be sampled from and differentiated. An `nn.Module` has most of the methods already.

    A policy may also have a number `seconds`, the time it has spent inside its model since it was made. Only then can
    the trainer report what sampling costs outside the model.
    """

    @property
    def pad_id(self) -> int:
        """Token id that fills the ends of short sequences; attention never sees it."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where input is expected."""
        ...

    def __call__(self, views: Sequence[View]) -> list[Action]:
        """Answer each view; every `Action` carries the `Sample` of its tokens and log-probabilities.

        Draw from `View.seed`, so that a rollout does not depend on which others share its batch.
        """
        ...

    def logits(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the distribution that tokens are sampled from, at every position.

        Args:
            input_ids: Long [Q, L], padded at the right with `pad_id`.
            attention_mask: Bool [Q, L], False where padded.

        Returns:
            Float [Q, L, V]: ``[:, t]`` belongs to token t + 1. Already divided by the sampling temperature:
            until the weights change, a token has the probability that it was sampled with.
        """
        ...

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Yield the weights, always in the same order."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint needs."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Load what `state_dict` returned."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Switch between optimising and sampling."""
        ...


def find_device(name: str | torch.device | None = None) -> torch.device:
    """Return a device that weights can be put on.

    Args:
        name: such as "cpu" or "cuda:1"; None takes a GPU if there is one.

    Raises:
        ImportError: torch is not installed.
        OptionError: this machine has no such device.
    """
    with extra("train", "find_device"):
        import torch

    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:  # torch raises either, depending on how it was built
        reason = str(error).splitlines()[0].rstrip(".")
        raise OptionError("device", name, f'cannot be used here ({reason}); try "cpu"') from None
    return device
