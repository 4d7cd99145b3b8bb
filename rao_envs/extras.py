"""Imports that only an extra provides: where it is missing, the error is one line that says what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["extra"]


@contextmanager
def extra(name: str, user: str, *, otherwise: str | None = None) -> Iterator[None]:
    """Import the packages of an extra: nothing but imports belongs inside.

        with extra("train", __name__):
            import torch

    Args:
        name: the extra of rao-envs that installs them.
        user: the module, or the function, that needs them.
        otherwise: what to do instead of installing them, if there is something.

    Raises:
        ImportError: one of them is missing, or too old for what is imported from it. The message is one line such
            as ``rao_envs.training.batch needs torch: pip install "rao-envs[train]"``.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0] or f"the extra {name}"
        reason = "" if isinstance(error, ModuleNotFoundError) else f" in another version ({error})"
        fix = f'pip install "rao-envs[{name}]"' + (f", or {otherwise}" if otherwise else "")
        raise ImportError(f"{user} needs {package}{reason}: {fix}", name=error.name, path=error.path) from error
