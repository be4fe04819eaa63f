"""Who completes: a server that is asked by HTTP, in the shape of llama.cpp's ``/infill``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx2 as http

from albor.errors import AlborError

ADDRESS = "http://127.0.0.1:8000"
"""Where `albor stage=serve` listens unless told otherwise."""
TIMEOUT = 20.0
"""Seconds after which an answer is not waited for any more."""
HERE = ("localhost", "127.0.0.1", "::1")
"""Hosts that no proxy is asked for."""
START = "start it: albor stage=serve"
HELP = {
    401: "name the environment variable that holds the key: --key-env, or keyEnv in the editor's settings",
    404: "check the address, and the model's name",
    413: "show it less: contextCharacters in the editor's settings",
}
"""The way out, by status."""


class HttpCompleter:
    """A server at an address. A request that is cancelled is hung up on, so that the server can stop at once."""

    def __init__(
        self, url: str = ADDRESS, *, model: str | None = None, key: str | None = None, timeout: float = TIMEOUT
    ) -> None:
        """``model`` is for a server that has several, ``key`` for one that wants a key, ``timeout`` in seconds.

        Raises AlborError when nothing can be asked at that address.
        """
        self._url, self._model = f"{url.rstrip('/')}/infill", model
        host = host_of(url)
        self._client = http.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=timeout,
            trust_env=host not in HERE,
        )

    async def complete(
        self,
        prefix: str,
        suffix: str,
        *,
        extra: Sequence[tuple[str, str]],
        max_tokens: int,
        stop: Sequence[str],
    ) -> str:
        """The text between ``prefix`` and ``suffix``, up to the first of ``stop``, in ``max_tokens`` tokens or fewer.

        ``extra`` is (name, text) of other files. Raises AlborError. A caller that no longer wants the answer cancels.
        """
        body: dict[str, Any] = {
            "input_prefix": prefix,
            "input_suffix": suffix,
            "prompt": "",
            "input_extra": [{"filename": name, "text": text} for name, text in extra],
            "n_predict": max_tokens,
            "stop": list(stop),
            "temperature": 0.0,
            "cache_prompt": True,
            "stream": False,
        }
        if self._model:
            body["model"] = self._model
        try:
            answer = await self._client.post(self._url, json=body)
        except http.TimeoutException:
            raise failed(f"{self._url} has not answered in time", "is it overloaded?") from None
        except http.HTTPError as error:
            raise failed(f"{self._url} cannot be reached ({error or type(error).__name__})", START) from None
        if not answer.is_success:
            said = f"{self._url} answers {answer.status_code}: {message(answer)}"
            raise failed(said, HELP.get(answer.status_code))
        try:
            text = answer.json()["content"]
            return str(text.encode("utf-8", "replace").decode())  # JSON can hold halves of characters
        except (ValueError, KeyError, TypeError, AttributeError):
            raise failed(f"{self._url} answers without content: {answer.text[:200]}", START) from None

    async def close(self) -> None:
        await self._client.aclose()


def host_of(url: str) -> str:
    """Raises AlborError when the address is none of HTTP's."""
    try:
        parsed = http.URL(url)
    except http.InvalidURL:
        parsed = http.URL("")
    if parsed.scheme in ("http", "https") and parsed.host:
        return parsed.host
    fix = "write http://HOST:PORT or https://HOST:PORT" if "://" in url else f"say how it is reached: http://{url}"
    raise AlborError(f"'{url}' is no address of a server", fix, code="E-ENDPOINT")


def message(answer: http.Response) -> str:
    """What an error's body says."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]


def failed(cause: str, fix: str | None) -> AlborError:
    error = AlborError(cause, fix, code="E-ENDPOINT")
    error.exit_code = 1
    return error
