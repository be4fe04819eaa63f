"""Calls between two processes of which one is not trusted.

Plain values cross as copies, whatever their type claimed about itself; anything else stays where it is and the other
side holds a ``Remote``. What comes in is unpickled with a closed list of constructors, so it can build values and
nothing more.
"""

from __future__ import annotations

import builtins
import collections
import datetime
import decimal
import fractions
import importlib
import io
import pickle
import pickletools
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

PLAIN = (type(None), bool, int, float, str, bytes, bytearray, list, tuple, dict, set, frozenset)
VALUES = (
    complex,
    range,
    slice,
    decimal.Decimal,
    fractions.Fraction,
    datetime.date,
    datetime.time,
    datetime.datetime,
    datetime.timedelta,
    datetime.timezone,
    collections.OrderedDict,
    collections.Counter,
    collections.defaultdict,
    collections.deque,
)
"""Types whose instances cross as they are."""
BASES = (int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
"""What an instance of a subclass crosses as: a named tuple as a tuple, an object that is equal to everything and
derives from int as its number."""
_EXACT = frozenset({*PLAIN, *VALUES})
_CONSTRUCTORS = {(kind.__module__, kind.__qualname__): kind for kind in (*BASES, *VALUES)}
_METATYPES = frozenset(map(type, _CONSTRUCTORS.values()))
"""Fraction's type is ABCMeta."""
MOST = 1 << 28
"""Bytes of a message beyond which the other side is not listened to."""
HEAD = struct.Struct("<Q")
"""The length of what follows, on this line and on that to the sandbox."""


class Closed(Exception):
    """The other side is gone."""


class Ended(Exception):
    """The other side raised what is no Exception: SystemExit, KeyboardInterrupt."""


class Foreign(Exception):
    """The other side raised an exception of its own making."""


class Remote:
    """An object of the other side. Equal to itself only: what it would answer when asked whether it equals something is
    not asked."""

    __slots__ = ("_number", "_peer")

    def __init__(self, peer: Peer, number: int) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._peer.call(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # protocols of copying, pickling, comparing
            raise AttributeError(name)
        return self._peer.ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("setattr", self, name, value)

    def __iter__(self) -> Iterator[Any]:
        remote = self._peer.ask("iter", self)
        while (got := self._peer.ask("next", remote)) is not None:
            yield got[0]

    def __next__(self) -> Any:
        got = self._peer.ask("next", self)
        if got is None:
            raise StopIteration
        return got[0]

    def __len__(self) -> int:
        return int(self._peer.ask("len", self))

    def __bool__(self) -> bool:
        return bool(self._peer.ask("bool", self))

    def __getitem__(self, key: Any) -> Any:
        return self._peer.ask("getitem", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._peer.ask("setitem", self, key, value)

    def __contains__(self, item: Any) -> bool:
        return bool(self._peer.ask("contains", self, item))

    def __str__(self) -> str:
        return str(self._peer.ask("str", self))

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and self._peer is other._peer and self._number == other._number

    def __hash__(self) -> int:
        return hash(self._number)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "getattr": getattr,
    "setattr": setattr,
    "iter": iter,
    "next": lambda it: next(([item] for item in it), None),
    "len": len,
    "bool": bool,
    "getitem": lambda obj, key: obj[key],
    "setitem": lambda obj, key, value: obj.__setitem__(key, value),
    "contains": lambda obj, item: item in obj,
    "str": str,
}
"""What a program may be asked to do with its objects."""


class Encoder(pickle.Pickler):
    def __init__(self, file: io.BytesIO, peer: Peer) -> None:
        super().__init__(file, protocol=5)
        self._peer = peer

    def persistent_id(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in _EXACT or isinstance(obj, BASES) or (kind in _METATYPES and obj in _CONSTRUCTORS.values()):
            return None
        if kind is Remote:
            return "yours", obj._number
        if kind is ModuleType:
            return "module", obj.__name__
        if kind.__module__ == "numpy" and hasattr(obj, "item") and not getattr(obj, "shape", None):
            return "value", obj.item()
        return "mine", self._peer.export(obj)

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) not in _EXACT:
            for base in BASES:
                if isinstance(obj, base):
                    return base, (base(obj),)  # type: ignore[arg-type]
        return NotImplemented


class Decoder(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, peer: Peer) -> None:
        super().__init__(file)
        self._peer = peer

    def find_class(self, module: str, name: str) -> Any:
        if (found := _CONSTRUCTORS.get((module, name))) is None:
            raise pickle.UnpicklingError(f"{module}.{name} does not cross")
        return found

    def persistent_load(self, pid: Any) -> Any:
        match pid:
            case ("mine", int(number)):
                return Remote(self._peer, number)
            case ("yours", int(number)):
                return self._peer.exported[number]
            case ("value", value):
                return value
            case ("module", str(name)) if name in sys.stdlib_module_names or name in sys.modules:
                return importlib.import_module(name)
        raise pickle.UnpicklingError("an unknown reference")


def refuse_changes(data: bytes) -> None:
    """Raises UnpicklingError for a pickle that sets attributes: of Counter, say, or of a module, on which a verdict
    could depend. No plain value is built so."""
    if pickle.BUILD in data and any(opcode.name == "BUILD" for opcode, _, _ in pickletools.genops(data)):
        raise pickle.UnpicklingError("a state does not cross")


class Peer:
    """One end of the line. Each side may ask the other, also while it is being asked."""

    def __init__(self, line: socket.socket, *, trusting: bool) -> None:
        self._line = line
        self._trusting = trusting
        """Whether the other side may do with this side's objects what it likes; else it may call those it was given."""
        self.exported: list[Any] = []
        self._numbers: dict[int, int] = {}

    def export(self, obj: Any) -> int:
        number = self._numbers.setdefault(id(obj), len(self.exported))
        if number == len(self.exported):
            self.exported.append(obj)
        return number

    def ask(self, operation: str, *parts: Any) -> Any:
        """What the other side answers. Raises what it raised, Ended, Foreign, or Closed."""
        self._send(("ask", operation, parts))
        while True:
            message = self._receive()
            if message[0] == "ask":
                self._answer(message[1], message[2])
            elif message[0] == "raise":
                raise _exception(*message[1:])
            else:
                return message[1]

    def call(self, remote: Remote, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call there. What it did to lists, dicts and sets among its arguments is done to ours."""
        value, after = self.ask("call", remote, args, kwargs)
        if after is not None:
            for ours, theirs in zip((*args, *kwargs.values()), after, strict=True):
                _update(ours, theirs)
        return value

    def serve(self) -> None:
        """Answers until the other side is gone."""
        while True:
            try:
                message = self._receive()
            except Closed:
                return
            self._answer(message[1], message[2])

    def perform(self, operation: str, parts: tuple[Any, ...]) -> Any:
        if operation == "call":
            return self._called(*parts)
        if not self._trusting:
            raise PermissionError(operation)
        return OPERATIONS[operation](*parts)

    def _called(self, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = (*args, *kwargs.values())
        before = self._dump(given)
        value = target(*args, **kwargs)
        return value, given if self._dump(given) != before else None

    def _answer(self, operation: str, parts: tuple[Any, ...]) -> None:
        try:
            data = self._dump(("value", self.perform(operation, parts)))
        except Closed:
            raise
        except BaseException as error:
            kind = type(error)
            public = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            data = self._dump(("raise", public, isinstance(error, Exception), _text(error)))
        self._write(data)

    def _send(self, message: Any) -> None:
        self._write(self._dump(message))

    def _dump(self, message: Any) -> bytes:
        file = io.BytesIO()
        Encoder(file, self).dump(message)
        return file.getvalue()

    def _write(self, data: bytes) -> None:
        try:
            self._line.sendall(HEAD.pack(len(data)) + data)
        except OSError:
            raise Closed from None

    def _receive(self) -> Any:
        (size,) = HEAD.unpack(self._read(HEAD.size))
        if size > MOST:
            raise Closed
        data = self._read(size)
        if not self._trusting:
            refuse_changes(data)
        return Decoder(io.BytesIO(data), self).load()

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            try:
                part = self._line.recv(min(size, 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise Closed
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _text(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except BaseException:
        return ""


def _exception(name: Any, ordinary: Any, text: Any) -> Exception:
    if ordinary is not True:
        return Ended(str(name))
    kind = getattr(builtins, str(name), None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except Exception:
            pass
    return Foreign(f"{name}: {text}")


def _update(ours: Any, theirs: Any) -> None:
    if type(ours) is not type(theirs):
        return
    if isinstance(ours, (list, bytearray)):
        ours[:] = theirs
    elif isinstance(ours, (dict, set)):
        ours.clear()
        ours.update(theirs)
