"""What an editor or a command line may set of the language server."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, replace
from typing import Any

from albor.errors import AlborError
from albor.serve.completer import ADDRESS, HttpCompleter

OPTIONS: dict[str, tuple[str, type, int]] = {
    "url": ("url", str, 0),
    "model": ("model", str, 0),
    "keyEnv": ("key_env", str, 0),
    "maxTokens": ("max_tokens", int, 1),
    "debounceMs": ("debounce_ms", int, 0),
    "multiline": ("multiline", bool, 0),
    "contextCharacters": ("context_characters", int, 1),
}
"""Of an editor's option: the field it sets, its type, and the least of a number."""
CALLED = {str: "text", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the language server completes."""

    url: str = ADDRESS
    """The address of the server that has the model."""
    model: str | None = None
    """The model's name, for a server that has several."""
    key_env: str | None = None
    """The environment variable that holds the server's key."""
    max_tokens: int = 64
    """Most tokens of a suggestion."""
    debounce_ms: int = 75
    """Milliseconds without a key before a suggestion that nobody asked for is computed, where keys come faster. After a
    longer pause a key is answered at once."""
    multiline: bool = True
    """Whether a suggestion may have more than one line."""
    context_characters: int = 6144
    """Characters of the open files that the model is shown: about three for each token of its context."""

    def completer(self) -> HttpCompleter:
        """Raises AlborError when the address is none, or the key is not there."""
        key = os.environ.get(self.key_env) if self.key_env else None
        if self.key_env and not key:
            cause = f"the environment variable {self.key_env} with the server's key is not set"
            raise AlborError(cause, f"set it where the editor starts: export {self.key_env}=…", code="E-ENDPOINT")
        return HttpCompleter(self.url, model=self.model, key=key)

    def changed_by(self, options: object) -> tuple[Settings, list[str]]:
        """With an editor's initializationOptions; and what of these could not be used, a sentence each."""
        if not isinstance(options, dict):
            return self, [] if options is None else [f"initializationOptions is no table: {options!r}"]
        values: dict[str, Any] = {}
        wrong = []
        for name, value in options.items():
            if name not in OPTIONS:
                wrong.append(unknown(name))
            elif value is not None:
                field, kind, least = OPTIONS[name]
                if type(value) is not kind:
                    wrong.append(f"the option {name} is {CALLED[kind]}, not {value!r}")
                elif isinstance(value, int) and value < least:
                    wrong.append(f"the option {name} is {least} or more, not {value!r}")
                else:
                    values[field] = value
        return replace(self, **values), wrong


def unknown(name: str) -> str:
    close = difflib.get_close_matches(name, OPTIONS, n=1)
    meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(OPTIONS)}"
    return f"there is no option '{name}': {meant}"
