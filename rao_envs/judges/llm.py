"""A model as judge, behind any OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from rao_envs.errors import OptionError
from rao_envs.events import Verdict
from rao_envs.judges.base import Case
from rao_envs.judges.cache import VerdictCache
from rao_envs.judges.endpoint import Endpoint
from rao_envs.judges.prompt import ANSWER_RUBRIC, MalformedVerdict, ask, ask_again, read_verdict

__all__ = ["LLMJudge"]

_VERSION = 1
"""Part of every cache key; increase it when replies are parsed differently."""

_OURS = ("messages", "model", "n", "stream")


class LLMJudge:
    """Asks a model for a verdict, at temperature 0, and accepts it only in exactly the requested form.

    After a malformed reply the model is asked once more and told what was wrong; after a second one the case is
    unjudged, since a judge's error is not the agent's failure. Requests to a failing server are retried with
    increasing delays, or as its Retry-After asks; if it keeps failing, that is an `InfrastructureError`.

        judge = LLMJudge("http://localhost:8000/v1", "Qwen/Qwen3-32B", rubric=PAPER_RUBRIC, cache="verdicts.db")
        judge(Case("How many dragons?", 3, reference=3, transcript=node.messages))

    It is thread-safe and can be pickled.

    Attributes:
        model: name of the model.
        rubric: the rule by which it judges.
        endpoint: where the model is served.
        cache: the verdicts on disk; None asks the model every time.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        rubric: str = ANSWER_RUBRIC,
        timeout: float = 60.0,
        retries: int = 4,
        cache: str | os.PathLike[str] | None = None,
        max_chars: int = 40_000,
        options: Mapping[str, Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Configure the judge; nothing is sent yet.

        Args:
            base_url: what comes before ``/chat/completions``, such as ``http://localhost:8000/v1``.
            model: name of the model, as the endpoint knows it.
            api_key: the key; None reads the environment variable ``RAO_JUDGE_API_KEY``; if that is unset, no key is
                sent.
            rubric: the rule for cases without their own, such as `PAPER_RUBRIC`.
            timeout: seconds for one attempt.
            retries: further attempts when the endpoint fails.
            cache: a file for verdicts, created if missing. Its keys are hashes of the whole request: the model, the
                prompt with its rubric, the options.
            max_chars: length to which the goal, the result, the reference and the transcript are each clipped.
            options: more fields for the request, such as ``{"max_tokens": 500}``; also "temperature", for models that
                reject 0.
            sleep: function that waits the given seconds between attempts.

        Raises:
            OptionError: an impossible option.
        """
        if not model:
            raise OptionError("model", model, "must name a model")
        if max_chars < 1:
            raise OptionError("max_chars", max_chars, "must be at least 1")
        self.model = model
        self.rubric = rubric
        self.endpoint = Endpoint(base_url, api_key, timeout, retries, sleep)
        self.cache = None if cache is None else VerdictCache(cache)
        self._max_chars = max_chars
        self._options = dict(options or {})
        if ours := sorted(self._options.keys() & set(_OURS)):
            raise OptionError("options", ours, "are set by the judge itself; leave them out")
        try:
            json.dumps(self._options)
        except (TypeError, ValueError) as error:
            raise OptionError("options", self._options, f"must be JSON ({error})") from error

    def __call__(self, case: Case, /) -> Verdict:
        """Judge a case.

        Raises:
            OptionError: the endpoint rejects the key, or there is nothing at the address.
            InfrastructureError: the endpoint rejects the request, or the last retry failed too.
            TypeError: the case's result or reference is not JSON.
        """
        request = self._request(ask(case, case.rubric or self.rubric, self._max_chars))
        key = _key(request)
        cached = self.cache.get(key) if self.cache else None
        if cached is not None:
            return cached
        try:
            verdict = self._verdict(request)
        except MalformedVerdict as error:
            # Not cached: the next attempt may succeed.
            return Verdict(None, "none", f"no verdict from {self.model}: {error}")
        return self.cache.put(key, verdict) if self.cache else verdict

    def to_dict(self) -> dict[str, Any]:
        """Return all settings that affect a verdict as JSON-able data, to tell judges apart; never the key."""
        return {
            "judge": type(self).__name__,
            "model": self.model,
            "rubric": self.rubric,
            "max_chars": self._max_chars,
            "options": self._options,
        }

    def __repr__(self) -> str:
        """Show the endpoint and the model."""
        return f"LLMJudge({self.endpoint.base_url!r}, {self.model!r})"

    def _request(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        return {"model": self.model, "temperature": 0, **self._options, "messages": messages}

    def _verdict(self, request: Mapping[str, Any]) -> Verdict:
        reply = self.endpoint.complete(request)
        try:
            return read_verdict(reply)
        except MalformedVerdict as error:
            again = self._request([*request["messages"], *ask_again(reply, error)])
        return read_verdict(self.endpoint.complete(again))


def _key(request: Mapping[str, Any]) -> str:
    return blake2b(json.dumps([_VERSION, request], sort_keys=True).encode(), digest_size=20).hexdigest()
