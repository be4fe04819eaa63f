"""``albor lsp``: the language server, on standard input and output; an editor starts it."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from contextlib import redirect_stdout

from albor.cli.arguments import Arguments
from albor.errors import AlborError


def run(arguments: Arguments) -> int:
    """Serves until the editor ends it. Raises AlborError when it cannot be served, or nobody can be asked."""
    for package in ("pygls", "httpx2"):
        if importlib.util.find_spec(package) is None:
            raise AlborError(f"the package {package} is not installed", "pip install 'albor[serve]'", code="E-RUN")
    from albor.serve.language_server import language_server
    from albor.serve.settings import Settings

    given = {name: getattr(arguments, name) for name in ("url", "model", "key_env")}
    server = language_server(Settings(**{name: value for name, value in given.items() if value is not None}))
    if sys.stdin.isatty():
        print("waiting for an editor on standard input: docs/editors.md says how it is set up", file=sys.stderr)
    logging.getLogger("pygls").setLevel(logging.ERROR)  # it warns of each cancellation that comes after its answer
    wire = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    with redirect_stdout(sys.stderr):  # what prints by mistake is no message; and the server closes what it writes to
        server.start_io(stdout=wire)
    return 0
