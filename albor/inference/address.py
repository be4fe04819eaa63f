"""The address of a completions service. Light: it is read when a target is planned."""

from __future__ import annotations

from urllib.parse import urlsplit

from albor.errors import AlborError


def refuse_address(url: str) -> None:
    """Raises AlborError when no request can be sent there."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return
    except ValueError:  # the port
        pass
    raise AlborError(
        f"'{url}' is no address of a completions service",
        "write http://HOST/v1 or https://HOST/v1" if "://" in url else f"say how it is reached: http://{url}",
        place="eval.endpoint",
        code="E-ENDPOINT",
    )
