"""The shapes of answers: OpenAI's of texts and chats, and llama.cpp's of holes that were filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from albor.inference.engine import Ended
from albor.inference.loaded import BYTES, TokenLogprob

REASONS: dict[Ended, str] = {"end": "stop", "stop": "stop", "length": "length", "cancelled": "cancelled"}
STOP_TYPES: dict[Ended, str] = {"end": "eos", "stop": "word", "length": "limit", "cancelled": "limit"}


def text_choice(index: int, text: str, ended: Ended | None, logprobs: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": REASONS[ended] if ended else None}


def chat_choice(index: int, text: str, ended: Ended | None, logprobs: dict[str, Any] | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": REASONS[ended] if ended else None,
    }


def delta_choice(
    index: int, text: str, ended: Ended | None, logprobs: dict[str, Any] | None = None, *, first: bool = False
) -> dict[str, Any]:
    delta: dict[str, Any] = {"role": "assistant"} if first else {}
    if text or first:
        delta["content"] = text
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": REASONS[ended] if ended else None}


def text_logprobs(
    said: Sequence[TokenLogprob | None], spelled: Sequence[str], offsets: Sequence[int]
) -> dict[str, Any]:
    """OpenAI's older shape; None stands for the first token of an echo, of which nothing can be said. ``offsets`` are
    where in the text each token begins."""
    return {
        "tokens": list(spelled),
        "token_logprobs": [one.logprob if one else None for one in said],
        "top_logprobs": [dict(one.likeliest) if one else None for one in said],
        "text_offset": list(offsets),
    }


def chat_logprobs(said: Sequence[TokenLogprob]) -> dict[str, Any]:
    def entry(token: str, logprob: float) -> dict[str, Any]:
        hexadecimal = token.removeprefix(BYTES).replace("\\x", "") if token.startswith(BYTES + "\\x") else None
        spelled = bytes.fromhex(hexadecimal) if hexadecimal else token.encode()
        return {"token": token, "logprob": logprob, "bytes": list(spelled)}

    return {
        "content": [
            {**entry(one.token, one.logprob), "top_logprobs": [entry(*other) for other in one.likeliest]}
            for one in said
        ],
        "refusal": None,
    }


def usage(prompt: int, completion: int, reused: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": reused},
    }


def only(answer: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """The fields of an answer that llama.cpp's ``response_fields`` asks for, inner ones by "outer/inner"."""
    found: dict[str, Any] = {}
    for name in fields:
        value: Any = answer
        for part in name.split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found[name] = value
    return found
