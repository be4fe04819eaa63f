"""The outer wall: bubblewrap's command line, and why it cannot be used where it cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import albor
from albor.errors import AlborError
from albor.evals.sandbox.program import Limits

PACKAGE = Path(albor.__file__).resolve().parent
INSTALL = "install bubblewrap (apt install bubblewrap, dnf install bubblewrap)"
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "HOME": "/tmp",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": "/tmp",
}
"""All that programs find in their environment."""
LIBRARY = "/library"
"""Where installed packages are found inside, wherever they lie outside: programs have ``/tmp`` to themselves."""
DEVICES = ("null", "zero", "full", "random", "urandom")


@dataclass(frozen=True)
class Python:
    """An interpreter and where its modules lie."""

    executable: str
    """The interpreter itself and not a shim, which would cost ten times its start."""
    prefix: str
    path: tuple[str, ...]
    """Directories of installed packages."""


def this_python() -> Python:
    """The interpreter that runs albor, with the packages it sees."""
    return Python(os.path.realpath(sys.executable), sys.base_prefix, packages(sys.path))


def python_at(executable: str) -> Python:
    """The interpreter of this path, asked where its modules lie. Raises AlborError."""
    code = "import json, os, sys; print(json.dumps([os.path.realpath(sys.executable), sys.base_prefix, sys.path]))"
    try:
        said = subprocess.run([executable, "-c", code], capture_output=True, check=True, text=True, timeout=60).stdout
        real, prefix, path = json.loads(said)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise AlborError(f"eval.python={executable} is no Python that runs: {error}", "give its path") from None
    return Python(real, prefix, packages(path))


def packages(path: Sequence[str]) -> tuple[str, ...]:
    return tuple(p for p in path if p.endswith(("site-packages", "dist-packages")) and Path(p).is_dir())


def refuse_without(tool: str) -> str:
    """Where the tool is. Raises AlborError when it is not there."""
    path = None if tool == "bwrap" else ENVIRONMENT["PATH"]  # what runs inside is found on the path inside
    if found := shutil.which(tool, path=path):
        return found
    if tool != "bwrap":
        cause = f"programs in a language that is measured need {tool}, which is not in {path}"
        raise AlborError(cause, "install it there, or leave the task out", code="E-SANDBOX")
    where = "it exists on Linux only: run this part there" if sys.platform != "linux" else INSTALL
    raise AlborError(
        "programs written by a model run inside bubblewrap only, and it is not installed",
        f"{where}; stage=generate makes the completions without it; eval.sandbox=none trusts them with this machine",
        code="E-SANDBOX",
    )


def command(python: Python, limits: Limits, warm: Sequence[str] = ()) -> list[str]:
    """The command that starts a sandbox's server, with its socket as descriptor 0.

    Raises AlborError when bubblewrap is not there.
    """
    bwrap = refuse_without("bwrap")
    at_home = outermost(["/usr", python.prefix])
    inside = {place: f"{LIBRARY}/{number}" for number, place in enumerate(python.path)}
    # Root keeps the right to become nobody, since a limit on processes does not bind root; others are nobody already.
    rights = (
        ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        if os.getuid() == 0
        else ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    )
    return [
        bwrap,
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
        *("--cap-drop", "ALL", *rights),
        *("--as-pid-1", "--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox"),
        *_system(),
        *("--perms", "1777", "--tmpfs", "/tmp"),
        *(
            word
            for place in (*above(at_home), LIBRARY, f"{LIBRARY}/albor")
            for word in ("--perms", "0755", "--dir", place)
        ),
        *(word for place in at_home for word in ("--ro-bind", place, place)),
        *(word for place, there in inside.items() for word in ("--ro-bind", place, there)),
        *("--ro-bind", str(PACKAGE), f"{LIBRARY}/albor/albor"),
        *("--proc", "/proc", "--dir", "/dev"),
        *(word for name in DEVICES for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")),
        *("--symlink", "/tmp", "/dev/shm", "--remount-ro", "/"),
        *(word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)),
        *server(python, limits, warm, [*inside.values(), f"{LIBRARY}/albor"], contained=True),
    ]


def free(python: Python, limits: Limits, warm: Sequence[str]) -> list[str]:
    """The command that starts a server without walls."""
    return server(python, limits, warm, [*python.path, str(PACKAGE.parent)], contained=False)


def server(python: Python, limits: Limits, warm: Sequence[str], path: Sequence[str], *, contained: bool) -> list[str]:
    """The server's own command line: no user's directories, no ``site``, no current directory on its path."""
    mode = "contained" if contained else "free"
    start = f"import sys; sys.path += {list(path)!r}; from albor.evals.sandbox.inside.server import main; main()"
    return [python.executable, "-P", "-s", "-S", "-B", "-c", start, mode, json.dumps(asdict(limits)), *warm]


def _system() -> list[str]:
    """The system's directories: links into /usr where they are such, else as they are; and what finds libraries."""
    words = []
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        place = Path(name)
        if place.is_symlink():
            words += ["--symlink", str(place.readlink()), name]
        elif place.is_dir():
            words += ["--ro-bind", name, name]
    words += ["--perms", "0755", "--dir", "/etc"]
    for name in ("/etc/ld.so.cache", "/etc/alternatives"):
        words += ["--ro-bind-try", name, name]
    return words


def above(places: Sequence[str]) -> list[str]:
    """Every directory on the way to these; nobody may pass through those that bubblewrap makes like the real ones."""
    ways = {str(parent) for place in outermost(places) for parent in Path(place).parents}
    return sorted(ways - {"/"}, key=lambda way: way.count("/"))


def outermost(places: Sequence[str]) -> list[str]:
    """The directories that lie in none of the others."""
    real = sorted({os.path.abspath(place) for place in places})  # noqa: PTH100
    return [p for p in real if not any(p != q and p.startswith(f"{q.rstrip('/')}/") for q in real)]
