"""The process that a program runs in. It holds nothing worth reading: no tests, no verdict."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from albor.evals.sandbox.inside import command, confine
from albor.evals.sandbox.inside.wire import Peer


class Candidate(Peer):
    """Loads programs and does what its judge asks with what they define."""

    def perform(self, operation: str, parts: tuple[Any, ...]) -> Any:
        match operation:
            case "load":
                return load(*parts)
            case "script":
                return load(parts[0], frozenset()) and None
            case "command":
                return command.run(*parts)
        return super().perform(operation, parts)


def load(source: str, wanted: frozenset[str]) -> dict[str, Any]:
    """Runs a program as a module and gives those of its names that are wanted."""
    module = ModuleType("program")
    sys.modules["program"] = module
    exec(compile(source, "<program>", "exec"), module.__dict__)
    return {name: value for name, value in vars(module).items() if name in wanted}


def main(line: socket.socket, limits: Mapping[str, Any], *, contained: bool) -> None:
    """Serves the judge at the other end of ``line`` until it hangs up; does not return."""
    os.setsid()
    keep = line.fileno()
    os.closerange(3, keep)
    os.closerange(keep + 1, 1 << 16)
    confine.limit(limits)
    confine.give_up_powers(contained=contained)
    Candidate(line, trusting=True).serve()
    os._exit(0)
