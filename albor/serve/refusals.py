"""What a client is told when it cannot have what it asks for: OpenAI's error shape."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    @property
    def content(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": TYPES[self.status], "param": self.param, "code": self.code}}


TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    421: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}


def bad(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """A request that must be changed."""
    return Refusal(400, message, code=code, param=param)


def unsupported(what: str, param: str) -> Refusal:
    return bad(f"{what} is not supported here", param, "unsupported_parameter")
