"""A model behind an HTTP completions service: OpenAI's ``/completions``, as vLLM, llama.cpp and others have it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import requests as http

from albor.errors import AlborError
from albor.inference.prompts import TextRequest
from albor.inference.text import Answer, cut_at

TRIES = 5
"""Times that a request is made before the service counts as down."""
BUSY = (408, 429, 500, 502, 503, 504)
"""Answers after which it is worth asking again."""
TIMEOUT = 300.0
"""Seconds to wait for an answer."""
STOPS = 4
"""Stop strings that every service takes; the text is cut at all of them here."""


MOST = 512
"""Tokens of an answer where nothing limits it: services want a number."""


class HttpWriter:
    """Requests to one service, several at a time.

    A service counts tokens its own way, so a limit on prompt and answer together bounds the answer alone."""

    def __init__(self, url: str, *, model: str, key_env: str | None = None, at_once: int = 16) -> None:
        """Raises AlborError when the key's variable is not set."""
        key = os.environ.get(key_env) if key_env else None
        if key_env and not key:
            raise _failed(f"the environment variable {key_env} with its key is not set", "set it: export …")
        self._url, self._model, self._at_once = f"{url.rstrip('/')}/completions", model, at_once
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def write(self, requests: Sequence[TextRequest]) -> Iterator[tuple[int, Answer]]:
        """Raises AlborError when the service cannot be reached, refuses, or gives no text: after the answers that had
        come or were on their way, which have been paid for."""
        with http.Session() as session, ThreadPoolExecutor(self._at_once) as pool:
            session.headers.update(self._headers)
            asked = {pool.submit(self._ask, session, r): i for i, r in enumerate(requests)}
            failure: BaseException | None = None
            try:
                for done in as_completed(asked):
                    if done.cancelled():
                        continue
                    if (error := done.exception()) is None:
                        yield asked[done], done.result()
                    elif failure is None:
                        failure = error
                        for other in asked:
                            other.cancel()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
            if failure is not None:
                raise failure

    def _ask(self, session: http.Session, request: TextRequest) -> Answer:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": request.prompt,
            "max_tokens": most_tokens(request.max_new_tokens, request.max_length),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": request.seed % (1 << 31),
        }
        if sampling.top_k:
            body["top_k"] = sampling.top_k  # not OpenAI's own, which says so
        if request.suffix is not None:
            body["suffix"] = request.suffix
        if request.stop:
            body["stop"] = list(request.stop[:STOPS])
        answer = self._post(session, body)
        try:
            content = answer.json()
            text, usage = content["choices"][0]["text"], content.get("usage") or {}
            whole = text.encode("utf-8", "replace").decode()  # JSON can hold halves of characters
            return Answer(cut_at(whole, request.stop), usage.get("completion_tokens"))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise _failed(
                f"its answer has no choices[0].text: {answer.text[:200]}", "is it a completions service?"
            ) from None

    def _post(self, session: http.Session, body: dict[str, Any]) -> http.Response:
        cause = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(min(2.0**attempt / 2, 10.0))
            try:
                answer = session.post(self._url, json=body, timeout=TIMEOUT)
            except http.RequestException as error:
                cause = f"{type(error).__name__} at {self._url}"
                continue
            if answer.ok:
                return answer
            cause = f"it answers {answer.status_code}: {answer.text[:200]}"
            if answer.status_code not in BUSY:
                break
        raise _failed(cause, "check eval.endpoint, eval.endpoint_model and the key; what was answered is kept")


def most_tokens(max_new_tokens: int | None, max_length: int | None) -> int:
    """What a service is asked for under these limits."""
    return min([limit for limit in (max_new_tokens, max_length) if limit is not None], default=MOST)


def _failed(cause: str, fix: str) -> AlborError:
    error = AlborError(f"the completions service failed: {cause}", fix, code="E-ENDPOINT")
    error.exit_code = 1
    return error
