"""The default sandbox: pydantic-monty, a Python interpreter in Rust, in a shared pool of worker processes.

| module | holds |
|---|---|
| `pool` | the workers, and who has them |
| `session` | one agent's session, which outlives its workers |
| `journal` | what a session needs to be rebuilt when a worker dies |
| `runner` | its conversation with the interpreter in one worker |
| `standing` | where it stands, and how a checkpoint keeps that |
| `lease` | what a session asks of the pool |
| `wire`, `guard` | what goes over to the interpreter, and what may come back |
| `rewriting`, `prelude` | Python that models write and the interpreter lacks |
| `forks` | processes that cannot reach the workers |
"""

from rao_envs.sandbox.monty.pool import MontySandbox, default_sandbox
from rao_envs.sandbox.monty.session import PooledSession

__all__ = ["MontySandbox", "PooledSession", "default_sandbox"]
