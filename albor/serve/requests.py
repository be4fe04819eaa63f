"""What clients send: the bodies of OpenAI's completions and chat completions, and of llama.cpp's infill.

Fields that are not named here are ignored, as other servers do; those that would change the answer and are not
supported are refused.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from msgspec import DecodeError, Meta, Struct, ValidationError
from msgspec.json import Decoder

from albor.inference.engine import MOST_TOLD, MOST_TOP_K, Sampling
from albor.serve.refusals import Refusal, bad, unsupported

MOST_CHOICES, MOST_STOPS, MOST_PROMPTS = 16, 16, 64
DEFAULT_TOKENS = 16
"""OpenAI's of ``/v1/completions``."""

Count = Annotated[int, Meta(ge=0, le=1 << 30)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
TopK = Annotated[int, Meta(ge=-1)]
Seed = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Stop = str | list[str] | None


class StreamOptions(Struct):
    include_usage: bool = False


class Common(Struct, kw_only=True):
    """Fields that mean the same in completions and chats."""

    model: str = ""
    temperature: Temperature | None = None
    top_p: Share | None = None
    top_k: TopK | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Stop = None
    seed: Seed | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None

    def sampling(self) -> Sampling:
        """OpenAI's defaults where nothing is said."""
        return sampling(self.temperature, self.top_p, self.top_k)

    def refuse_unsupported(self) -> None:
        """Raises Refusal for what would change the answer, were it supported."""
        for name in ("presence_penalty", "frequency_penalty", "logit_bias"):
            if getattr(self, name):
                raise unsupported(f"{name} other than 0", name)


class CompletionRequest(Common, kw_only=True):
    prompt: str | list[str | int | list[int]] = ""
    suffix: str | None = None
    max_tokens: Count | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MOST_TOLD)] | None = None
    echo: bool | None = None
    best_of: int | None = None

    def prompts(self, vocab_size: int) -> list[str | list[int]]:
        """Each prompt, as a text or as token ids. Raises Refusal."""
        given = self.prompt
        if isinstance(given, str):
            return [given]
        if not given or len(given) > MOST_PROMPTS:
            raise bad(f"prompt has {len(given)} entries; 1 to {MOST_PROMPTS} are taken", "prompt")
        entries: list[Any] = [given] if all(isinstance(entry, int) for entry in given) else list(given)
        if any(isinstance(entry, int) for entry in entries) or len({type(entry) for entry in entries}) > 1:
            raise bad("prompt mixes texts and token ids", "prompt")
        for entry in entries:
            if isinstance(entry, list) and not all(0 <= token < vocab_size for token in entry):
                raise bad(f"prompt has token ids that are not in the vocabulary: 0 to {vocab_size - 1}", "prompt")
            if isinstance(entry, list) and not entry:
                raise bad("a prompt of token ids is empty", "prompt")
        return entries

    def refuse_unsupported(self) -> None:
        super().refuse_unsupported()
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise unsupported("best_of other than n", "best_of")
        if self.echo and self.suffix is not None:
            raise unsupported("echo with a suffix", "echo")


class Part(Struct):
    type: str
    text: str = ""


class ChatMessage(Struct):
    role: Literal["system", "user", "assistant", "developer"]
    content: str | list[Part]

    @property
    def text(self) -> str:
        """Raises Refusal for what is no text."""
        if isinstance(self.content, str):
            return self.content
        if any(part.type != "text" for part in self.content):
            raise unsupported("content other than text", "messages")
        return "".join(part.text for part in self.content)


class ResponseFormat(Struct):
    type: str = "text"


class ChatRequest(Common, kw_only=True):
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MOST_TOLD)] | None = None
    tools: list[Any] | None = None
    response_format: ResponseFormat | None = None

    def refuse_unsupported(self) -> None:
        super().refuse_unsupported()
        if self.tools:
            raise unsupported("calling tools", "tools")
        if self.response_format is not None and self.response_format.type != "text":
            raise unsupported("a response_format other than text", "response_format")
        if self.top_logprobs and not self.logprobs:
            raise bad("top_logprobs needs logprobs", "top_logprobs")


class Extra(Struct):
    text: str
    filename: str = ""


class InfillRequest(Struct, kw_only=True):
    """llama.cpp's, as llama.vim and llama.vscode send it. Samplers it names besides these are none of ours."""

    model: str = ""
    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: list[Extra] | None = None
    prompt: str = ""
    n_predict: Annotated[int, Meta(ge=-1)] | None = None
    temperature: Annotated[float, Meta(ge=0)] | None = None
    top_p: Share | None = None
    top_k: TopK | None = None
    seed: int | None = None
    stop: Stop = None
    stream: bool | None = None
    t_max_predict_ms: float | None = None
    response_fields: list[str] | None = None


Body = TypeVar("Body", CompletionRequest, ChatRequest, InfillRequest)
_decoders: dict[type[Any], Decoder[Any]] = {
    kind: Decoder(kind) for kind in (CompletionRequest, ChatRequest, InfillRequest)
}


def parse(body: bytes, kind: type[Body]) -> Body:
    """Raises Refusal that names the field."""
    try:
        found: Body = _decoders[kind].decode(body)
    except ValidationError as error:
        cause, _, place = str(error).partition(" - at `$")
        param = re.sub(r"^\.|`$", "", place) or _missing(cause)
        raise bad(f"{param}: {cause[0].lower()}{cause[1:]}" if param else cause, param) from None
    except (DecodeError, UnicodeDecodeError) as error:
        raise bad(f"the body is not JSON in UTF-8: {error}") from None
    except RecursionError:
        raise bad("the body is nested too deeply") from None
    return found


def _missing(cause: str) -> str | None:
    found = re.search(r"missing required field `(\w+)`", cause)
    return found[1] if found else None


def stops(given: Stop) -> tuple[str, ...]:
    """Raises Refusal."""
    words = [given] if isinstance(given, str) else given or []
    if len(words) > MOST_STOPS:
        raise bad(f"stop has {len(words)} strings; up to {MOST_STOPS} are taken", "stop")
    return tuple(word for word in words if word)


def sampling(
    temperature: float | None, top_p: float | None, top_k: int | None, *, default_temperature: float = 1.0
) -> Sampling:
    """Raises Refusal. A top_p of 0 is what others take it for: the likeliest token."""
    heat = default_temperature if temperature is None else temperature
    share = 1.0 if top_p is None else top_p
    few = max(0, top_k or 0)
    if few > MOST_TOP_K:
        raise bad(f"top_k: {few} is more than {MOST_TOP_K}", "top_k")
    return Sampling(temperature=heat if share else 0.0, top_p=share or 1.0, top_k=few)


__all__ = ["ChatRequest", "CompletionRequest", "InfillRequest", "Refusal", "parse", "sampling", "stops"]
