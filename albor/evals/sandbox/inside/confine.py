"""The walls around one program: namespaces of its own, limits, no capabilities, few system calls."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albor.evals.sandbox.inside import seccomp

NOBODY = 65534
CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWIPC = 0x10000000, 0x00020000, 0x20000000, 0x08000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
FILES = 128
"""Descriptors that a program may hold."""

libc = ctypes.CDLL(None, use_errno=True)
_fork = ctypes.PyDLL(None).fork


def fork() -> int:
    """``os.fork`` without what modules have registered for it, which costs as much again. A process of one thread has
    no use for it, and programs that draw random numbers get the same ones each time."""
    return int(_fork())


def check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def become_nobody() -> None:
    """Gives up root for good. A limit on the number of processes does not bind root."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        check(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")  # or /proc/self belongs to root


def enter_namespaces(disk: int, *, maps: bool) -> None:
    """Own users, mounts, processes and IPC for what is forked next; an own ``/tmp`` of ``disk`` bytes, no ``/proc``.

    With ``maps`` there is ``/proc/self/maps`` as it is now: numerical libraries look there for each other.
    """
    loaded = Path("/proc/self/maps").read_bytes() if maps else b""
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(descriptor, text.encode())
        os.close(descriptor)
    options = f"size={disk},nr_inodes=4096,mode=1777".encode()
    check(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, options), "mount /tmp")
    hidden, options = MS_NOSUID | MS_NODEV | MS_NOEXEC, f"size={len(loaded) + 8192},nr_inodes=4,mode=755".encode()
    check(libc.mount(b"tmpfs", b"/proc", b"tmpfs", hidden | (0 if maps else MS_RDONLY), options), "mount /proc")
    if maps:
        Path("/proc/self").mkdir()
        Path("/proc/self/maps").write_bytes(loaded)
        check(libc.mount(None, b"/proc", None, hidden | MS_RDONLY | MS_REMOUNT, options), "mount /proc")
    os.chdir("/tmp")
    check(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")


def limit(limits: Mapping[str, Any]) -> None:
    """Memory, time, files, processes of this process and each that it starts."""
    seconds = int(limits["seconds"]) + 1
    for which, most in (
        (resource.RLIMIT_AS, limits["memory"]),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limits["disk"]),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


_NO_CAPABILITIES = (ctypes.c_uint32 * 6)()


def give_up_powers(*, contained: bool) -> None:
    """No capability, no way to gain one, and the filter of system calls. Dies with its parent."""
    check(libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0), "pdeathsig")
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if contained:
        check(libc.capset(ctypes.byref(_CapHeader(0x20080522, 0)), _NO_CAPABILITIES), "capset")
        seccomp.install(libc, seccomp.prepare())
