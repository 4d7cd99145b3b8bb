"""An OpenAI-compatible chat endpoint over the standard library: retries a busy server, fails at once on a wrong one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rao_envs.errors import InfrastructureError, OptionError
from rao_envs.http import Reply, Service, Trouble

__all__ = ["KEY_VARIABLE", "Endpoint"]

KEY_VARIABLE = "RAO_JUDGE_API_KEY"

_MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class Endpoint:
    """A source of chat completions.

    Attributes:
        base_url: what comes before ``/chat/completions``, such as ``http://localhost:8000/v1``.
        api_key: the key; None reads `KEY_VARIABLE` at each request, so that it is not stored with the judge.
        timeout: seconds for one attempt.
        retries: further attempts after the first.
        sleep: function that waits the given seconds.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 60.0
    retries: int = 4
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        """Reject settings with which no request can succeed."""
        self._service()

    def complete(self, request: Mapping[str, Any]) -> str:
        """Return the text of the reply to a chat completion request; "" if the model said nothing.

        Raises:
            OptionError: the endpoint rejects the key, or there is nothing at the address.
            InfrastructureError: it rejects the request for another reason, or the last retry failed too.
        """
        data = json.dumps(request).encode()
        return self._service().ask("/chat/completions", data, self._read, max_bytes=_MAX_BYTES)

    def _read(self, reply: Reply) -> str:
        if reply.cut:
            raise Trouble(f"the reply is longer than {_MAX_BYTES} bytes")
        if reply.status == 200:
            return _content(reply.body)
        said = self._service().tell(str(reply))
        if reply.status == 401:
            raise OptionError("api_key", "***", f"rejected by {self.base_url}; pass a valid key, or set {KEY_VARIABLE}")
        if reply.status == 404:
            fix = f"lacks /chat/completions or the model; correct the address or the model's name ({said})"
            raise OptionError("base_url", self.base_url, fix)
        raise InfrastructureError(f"{self.base_url} rejects the request: {said}")

    def _service(self) -> Service:
        return Service(self.base_url, self._key, self.timeout, self.retries, self.sleep)

    def _key(self) -> str:
        return os.environ.get(KEY_VARIABLE, "") if self.api_key is None else self.api_key


def _content(body: bytes) -> str:
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise Trouble(f"not a chat completion: {body[:300].decode('utf-8', 'replace')}") from error
    if not isinstance(content, str | None):
        raise Trouble(f"the reply's content is a {type(content).__name__}, not text")
    return content or ""
