"""Instruction files: JSON lines in the three usual shapes, read strictly and a line at a time.

{"messages": [{"role", "content"}, ...]}; {"prompt", "completion"}; {"instruction", "input", "output"}, where the input
may be left out. Other keys of a line are passed over; those of a message are not, for they may say that a message is
not to be learnt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast, get_args

from albor.data.chat import Conversation, Message, Role
from albor.data.errors import DataError

SUFFIX = ".jsonl"
MAX_LINE = 16 << 20
"""Bytes of a line."""
LISTED = 5
"""Places of malformed lines that are told."""
SHAPES = ("messages", "prompt", "instruction")
"""The key by which each shape is known."""


class Malformed(Exception):
    """What is wrong with a line."""


class InstructionFiles:
    """The conversations of a file, or of every ``*.jsonl`` in a directory by name. Iterating again reads again."""

    def __init__(self, source: Path, *, skip_malformed: bool = False) -> None:
        """Raises DataError when there is no file."""
        self.files = sorted(source.glob(f"*{SUFFIX}")) if source.is_dir() else [source]
        if not self.files or not self.files[0].is_file():
            raise DataError(
                f"{source} holds no instructions", help=f"give a file of JSON lines, or a directory of *{SUFFIX}"
            )
        self.skip_malformed = skip_malformed
        self.malformed = 0
        """Lines left out by the last iteration."""
        self.places: list[str] = []
        """The first few of them: file, line and what is wrong."""

    def __iter__(self) -> Iterator[Conversation]:
        """Raises DataError at the first malformed line, unless they are skipped; empty lines are passed over."""
        self.malformed, self.places = 0, []
        for path in self.files:
            for number, line in _lines(path):
                try:
                    conversation = parse(line)
                except Malformed as error:
                    self._refuse(f"{path}:{number}: {error}")
                else:
                    yield conversation

    def _refuse(self, place: str) -> None:
        if not self.skip_malformed:
            raise DataError(place, help="mend the line, or leave such lines out: instructions.skip_malformed=true")
        self.malformed += 1
        if len(self.places) < LISTED:
            self.places.append(place)


def parse(line: bytes) -> Conversation:
    """The conversation of a line. Raises Malformed."""
    if len(line) > MAX_LINE:
        raise Malformed(f"it is longer than {MAX_LINE:,} bytes")
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Malformed(f"it is not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise Malformed(f"it is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise Malformed("it is not an object")
    found = [key for key in SHAPES if key in row]
    if len(found) != 1:
        raise Malformed(
            f"it has {' and '.join(found) or 'no known key'}; a line has messages, prompt and completion, or "
            "instruction and output"
        )
    conversation = _READERS[found[0]](row)
    if conversation[-1].role != "assistant":
        raise Malformed("the last message is not the assistant's")
    return conversation


def _from_messages(row: dict[str, Any]) -> Conversation:
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        raise Malformed("messages is not a list of messages")
    conversation = tuple(_message(number, message) for number, message in enumerate(messages))
    roles = [message.role for message in conversation]
    if "assistant" not in roles:
        raise Malformed("no message is the assistant's")
    if "user" not in roles[: roles.index("assistant")]:
        raise Malformed("the assistant speaks before the user")
    if "system" in roles[1:]:
        raise Malformed("a system message stands behind others")
    return conversation


def _message(number: int, message: Any) -> Message:
    where = f"messages[{number}]"
    if not isinstance(message, dict):
        raise Malformed(f"{where} is not an object")
    if unknown := sorted(message.keys() - {"role", "content"}):
        raise Malformed(f"{where} has {', '.join(unknown)}; only role and content are understood")
    role = message.get("role")
    if role not in get_args(Role):
        raise Malformed(f"{where}.role is {json.dumps(role)}, not one of {', '.join(get_args(Role))}")
    return Message(cast(Role, role), _text(message, "content", f"{where}.content"))


def _from_prompt(row: dict[str, Any]) -> Conversation:
    return Message("user", _text(row, "prompt")), Message("assistant", _text(row, "completion"))


def _from_instruction(row: dict[str, Any]) -> Conversation:
    asked = _text(row, "instruction")
    if row.get("input") not in (None, ""):
        asked = f"{asked}\n\n{_text(row, 'input')}"
    return Message("user", asked), Message("assistant", _text(row, "output"))


_READERS = {"messages": _from_messages, "prompt": _from_prompt, "instruction": _from_instruction}


def _text(row: dict[str, Any], key: str, name: str | None = None) -> str:
    name = name or key
    text = row.get(key)
    if not isinstance(text, str):
        raise Malformed(f"{name} is missing" if text is None else f"{name} is not text")
    if not text.strip():
        raise Malformed(f"{name} is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed(f"{name} has half a character (a lone surrogate)") from None
    return text


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line), of one that is too long its beginning. Raises DataError when the file cannot be read."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if line.strip():
                    yield number, line
                while len(line) > MAX_LINE and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", help="check the path and its rights") from error
