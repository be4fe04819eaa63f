"""A seccomp filter: the system calls that a program has no use for but an attacker has.

Refused are namespaces and mounts, looking into other processes, memory that no limit counts (memfd, System V), the
kernel's large rarely used interfaces, and sockets that are not local. Numbers are those of the kernel's tables.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from functools import cache

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCH, FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data (little endian)."""
NEW_NAMESPACES = 0x7E020080
"""CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET | NEWTIME."""
AF_UNIX = 1
X32 = 0x40000000
"""Bit of the x32 calls, which have numbers of their own."""

# fmt: off
# io_uring_*, open_tree, move_mount, fs*, pidfd_getfd, process_madvise, mount_setattr, memfd_secret: the same everywhere
COMMON = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442, 447)
REFUSED = {
    "x86_64": (
        101, 310, 311, 312,  # ptrace, process_vm_readv, process_vm_writev, kcmp
        155, 161, 165, 166, 272, 308,  # pivot_root, chroot, mount, umount2, unshare, setns
        319, 29, 64, 68, 240,  # memfd_create, shmget, semget, msgget, mq_open
        246, 321, 298, 323, 248, 249, 250,  # kexec_load, bpf, perf_event_open, userfaultfd, keys
        303, 304, 175, 313, 176, 103, 163, 167, 169,  # *_handle_at, *_module, syslog, acct, swapon, reboot
    ),
    "aarch64": (
        117, 270, 271, 272,
        41, 51, 40, 39, 97, 268,
        279, 194, 190, 186, 180,
        104, 280, 241, 282, 217, 218, 219,
        264, 265, 105, 273, 106, 116, 89, 224, 142,
    ),
}
ARCHITECTURE = {"x86_64": (0xC000003E, 56, 41), "aarch64": (0xC00000B7, 220, 198)}
"""AUDIT_ARCH, and the numbers of clone and socket."""
# fmt: on
CLONE3 = 435


def program(machine: str) -> bytes:
    """The filter as BPF instructions. Raises KeyError for a machine whose numbers are not known."""
    arch, clone, socket = ARCHITECTURE[machine]
    steps = [
        (LOAD, 0, 0, ARCH),
        (EQUAL, 1, 0, arch),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, X32),
        (RETURN, 0, 0, REFUSE | errno.EPERM),
    ]
    for number in (*REFUSED[machine], *COMMON):
        steps += [(EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE | errno.EPERM)]
    # Its flags lie in memory, which a filter cannot read; libraries then fall back on clone.
    steps += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, REFUSE | errno.ENOSYS)]
    steps += [
        (EQUAL, 0, 4, clone),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (ANY_BIT, 0, 1, NEW_NAMESPACES),
        (RETURN, 0, 0, REFUSE | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
        (EQUAL, 0, 3, socket),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUAL, 1, 0, AF_UNIX),
        (RETURN, 0, 0, REFUSE | errno.EACCES),
        (RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


@cache
def prepare() -> ctypes.Structure:
    """The filter for this machine as the kernel wants it, made once. Raises KeyError as ``program`` does."""
    code = program(platform.machine())
    return _Program(len(code) // 8, code)


def install(libc: ctypes.CDLL, prepared: ctypes.Structure) -> None:
    """Puts a filter on this process and all it starts; needs no_new_privs. Raises OSError."""
    if libc.prctl(22, 2, ctypes.byref(prepared), 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "seccomp")
