"""The default sandbox: pydantic-monty, a Python interpreter in Rust, in a shared pool of worker processes.

| module | holds |
|---|---|
| `pool` | the workers, and who has them |
| `session` | one agent's session |
| `lease` | what a session asks of the pool |
| `wire` | what goes over to the interpreter, and what comes back |
| `rewriting`, `prelude` | Python that models write and the interpreter lacks |
| `forks` | processes that cannot reach the workers |
"""

from rao_envs.sandbox.monty.pool import MontySandbox, default_sandbox
from rao_envs.sandbox.monty.session import PooledSession

__all__ = ["MontySandbox", "PooledSession", "default_sandbox"]
