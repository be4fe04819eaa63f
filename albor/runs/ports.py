"""Addresses that are listened at."""

from __future__ import annotations

import socket

from albor.errors import AlborError


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises AlborError when it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen(2048)
    except OSError as error:
        opened.close()
        raise AlborError(
            f"{host}:{port} cannot be listened at: {error.strerror or error}",
            "stop what listens there, or take another port: stage.port=8001, or stage.port=0 for one that is free",
            code="E-SERVE",
        ) from None
    return opened
