"""A model that somebody has loaded to complete code with: ``albor.load``."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack, cast, get_args

from albor.data.chat import Message, Role, render
from albor.data.tokenizer import Codec
from albor.errors import AlborError
from albor.inference.engine import Ended, Engine, Likelihood, Sampling
from albor.inference.opening import open_engine
from albor.inference.prompts import FimOrder, Framed, Framing, NoFim, TextRequest
from albor.inference.writing import Desk, Writing
from albor.models.companions import chat_template
from albor.runs.checkpoints import MODEL
from albor.runs.lineage import chain
from albor.runs.manifest import NAME as MANIFEST
from albor.runs.manifest import verify
from albor.runs.store import ARTIFACT, Run, Store

BYTES = "bytes:"
"""What the spelling of a token begins with that is no text of its own."""


@dataclass(frozen=True)
class TokenLogprob:
    """A token of a text and what the model said of its place."""

    token: str
    id: int
    logprob: float
    """In nats."""
    likeliest: tuple[tuple[str, float], ...]
    """The likeliest tokens there, and theirs."""


class Wishes(TypedDict, total=False):
    """How a text is written; all may be left out."""

    max_tokens: int
    """Most new tokens: 128."""
    temperature: float
    """0, the likeliest token each time."""
    top_p: float
    """Draw from the fewest tokens whose probabilities reach this sum: 1, all of them."""
    top_k: int
    """Before that, keep so many of the likeliest: 0, all of them."""
    seed: int | None
    """Of the random numbers: drawn."""
    stop: Sequence[str]
    """The text ends before the first of these."""
    fim: FimOrder
    """In which order a hole is asked for: psm."""


@dataclass(frozen=True)
class Completion:
    text: str
    tokens: tuple[int, ...]
    ended: Ended
    """"end": the model came to an end; "length": there was no room for more; "stop": before a stop string."""
    reused: int
    """Tokens of the prompt that had been read before."""
    logprobs: tuple[TokenLogprob, ...]
    """One for each token, if they were asked for."""

    def __str__(self) -> str:
        return self.text


class LanguageModel:
    """A loaded model. What a prompt has in common with those before it is not read again. One thread at a time."""

    def __init__(self, directory: Path, engine: Engine, codec: Codec, *, rows: int | None = None) -> None:
        """``rows`` bounds the texts that are written at a time."""
        self.directory, self.engine, self.codec = directory, engine, codec
        self.chats = chat_template(directory) is not None and codec.chat is not None
        """Whether it answers messages."""
        self._rows = rows
        self._desk: Desk | None = None

    @property
    def context(self) -> int:
        """Most tokens of a prompt and its continuation together."""
        return self.engine.context

    @property
    def fills(self) -> bool:
        """Whether it fills holes."""
        return self.codec.fim is not None

    def desk(self) -> Desk:
        """Where its texts are written; the memory for them is taken when the first one is."""
        if self._desk is None:
            self._desk = Desk(self.engine.session(rows=self._rows), self.codec)
        return self._desk

    def warm(self) -> None:
        """Writes a little for nobody: weights come into memory, and on a GPU what is made once for all is made."""
        text = "def f(x):\n    return x\n" * 40
        ids = self.codec.encode(text)
        for length in self.engine.warmed_by:
            framed = Framed(tuple(ids[: min(length, self.context // 2)]), 4, False)
            self._finish(self._begin(framed, Sampling(temperature=0.5), 0, (), None))

    # --- texts ---

    def complete(
        self, prefix: str, suffix: str | None = None, *, logprobs: int | None = None, **wishes: Unpack[Wishes]
    ) -> Completion:
        """What follows ``prefix`` or, with a ``suffix``, what stands between them.

        Text too long for the context loses its beginning, and the suffix its end. ``logprobs`` asks for each token's
        log-probability and those of so many of the likeliest. Raises AlborError when the model fills no holes,
        ValueError for settings out of their range.
        """
        return self._whole(self._write(prefix, suffix, logprobs, **wishes))

    def stream(self, prefix: str, suffix: str | None = None, **wishes: Unpack[Wishes]) -> Iterator[str]:
        """``complete``, piece by piece, as it is written. Closing the iterator ends it."""
        return self._pieces(self._write(prefix, suffix, None, **wishes))

    def chat(
        self,
        messages: Sequence[Message | Mapping[str, str]],
        *,
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """The assistant's answer to messages ({"role": …, "content": …}). Raises AlborError when the model knows none,
        ValueError when they fill its context or one is no message."""
        ids = self.conversation([given if isinstance(given, Message) else _message(given) for given in messages])
        framed = Framed(tuple(ids), min(max_tokens, self.context - len(ids)), False)
        return self._whole(self._begin(framed, Sampling(temperature=temperature, top_p=top_p), seed, stop, None))

    def logprobs(self, text: str, *, told: int = 0) -> list[TokenLogprob]:
        """Each token of a text, behind the end of another, with its log-probability. Raises ValueError when it is
        longer than the context."""
        ids = [self.codec.eos_id, *self.codec.encode(text)]
        return self.said(ids[1:], self.engine.likelihoods(ids, told))

    # --- parts that the server needs, too ---

    def frame(self, request: TextRequest) -> Framed:
        """A prompt as the model reads it. Raises AlborError when it fills no holes."""
        try:
            return Framing(self.codec, self.context).frame(request)
        except NoFim:
            raise AlborError(
                "the model's tokenizer has no fill-in-the-middle tokens, so it fills no hole before a suffix",
                "leave the suffix out, or take a model that was trained on holes (data.fim_rate above 0)",
                code="E-INFER",
            ) from None

    def conversation(self, messages: Sequence[Message]) -> list[int]:
        """Messages as the model reads them, up to where it answers. Raises AlborError when it knows none."""
        if not self.chats:
            raise AlborError(
                "the model has no chat template: it continues texts and answers no messages",
                "take one that was finetuned on instructions, the rung instruct for example",
                code="E-INFER",
            )
        return render(self.codec, messages, add_generation_prompt=True).tokens

    def said(self, ids: Sequence[int], likelihoods: Sequence[Likelihood]) -> list[TokenLogprob]:
        """The same with the tokens as they are written."""
        return [
            TokenLogprob(
                self.spell(token), token, one.logprob, tuple((self.spell(other), p) for other, p in one.likeliest)
            )
            for token, one in zip(ids, likelihoods, strict=True)
        ]

    def spell(self, token: int) -> str:
        """As it is written; bytes that are no text of their own as OpenAI shows them, ``bytes:\\xe2\\x80``."""
        if (spellings := self.codec.spellings) and (spelling := spellings[token]):
            try:
                spelling.decode()
            except UnicodeDecodeError:
                return BYTES + "".join(f"\\x{byte:02x}" for byte in spelling)
        return self.codec.decode([token], skip_special=False)

    def _write(
        self,
        prefix: str,
        suffix: str | None,
        told: int | None,
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
        stop: Sequence[str] = (),
        fim: FimOrder = "psm",
    ) -> Writing:
        sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
        framed = self.frame(TextRequest(prompt=prefix, suffix=suffix, fim=fim, max_new_tokens=max_tokens))
        return self._begin(framed, sampling, seed, stop, told)

    def _begin(
        self, framed: Framed, sampling: Sampling, seed: int | None, stop: Sequence[str], told: int | None
    ) -> Writing:
        return self.desk().write(
            framed.ids,
            max_new_tokens=framed.room,
            sampling=sampling,
            seed=random.getrandbits(64) if seed is None else seed,
            stop=stop,
            told=told,
        )

    def _pieces(self, writing: Writing) -> Iterator[str]:
        shown = 0
        try:
            while True:
                if len(text := writing.text) > shown:  # it may grow while somebody has this piece
                    new, shown = text[shown:], len(text)
                    yield new
                elif writing.ended:
                    return
                else:
                    self.desk().advance()
        finally:
            self.desk().cancel(writing)

    def _finish(self, writing: Writing) -> None:
        while writing.ended is None:
            self.desk().advance()

    def _whole(self, writing: Writing) -> Completion:
        self._finish(writing)
        assert writing.ended is not None
        said = self.said(writing.tokens, writing.likelihoods) if writing.likelihoods else []
        return Completion(writing.text, tuple(writing.tokens), writing.ended, writing.made.reused, tuple(said))


def load(
    model: str | Path,
    *,
    outputs: str | Path = "outputs",
    device: str | None = None,
    threads: int | None = None,
    rows: int | None = None,
) -> LanguageModel:
    """The model of a run (an id, or the beginning of one, in ``outputs``) or in a directory, or a GGUF file there.
    A run that made none has that of the nearest one upstream.

    ``device`` is the best there is if it is not said; GGUF files are computed on CPUs, by so many ``threads``. ``rows``
    bounds the texts that are written at a time. A run's files are held against their hashes. Raises AlborError when
    there is no such model.
    """
    found = find(model, outputs)
    path = found.artifact if isinstance(found, Run) else found
    if path.is_file():
        from albor.inference.gguf_engine import GgufEngine

        return LanguageModel(
            path.parent, GgufEngine.load(path, threads=threads), Codec.of_model(path.parent), rows=rows
        )
    if isinstance(found, Run):
        for name, known in found.manifest.files.items():
            verify(path / name, known)
    return LanguageModel(path, open_engine(path, device=device, threads=threads), Codec.of_model(path), rows=rows)


def find(model: str | Path, outputs: str | Path) -> Run | Path:
    """The run that has the model, or the directory or GGUF file that is it; nothing is read. Raises AlborError when
    there is no such run, or none with a model."""
    path = Path(model)
    if path.suffix == ".gguf" and path.is_file():
        return path
    if path.is_dir() and not any((place / MANIFEST).exists() for place in (path, path.parent)):
        return path
    return _with_model(Store(Path(outputs)).find(str(model)))


def _message(given: Mapping[str, str]) -> Message:
    roles = get_args(Role)
    if given.keys() != {"role", "content"} or given["role"] not in roles:
        raise ValueError(f"{dict(given)!r} is no message: a role ({', '.join(roles)}) and a content make one")
    return Message(role=cast(Role, given["role"]), content=given["content"])


def _with_model(found: Run) -> Run:
    for directory, manifest in reversed(list(chain(found.directory))):
        names = [name for name in manifest.files if name == MODEL or name.endswith(".gguf")]
        if names and (directory / ARTIFACT / names[0]).exists():
            return Run(directory, manifest)
    raise AlborError(
        "no model lies in this run or upstream of it", "choose a pretrain run that is done", place=str(found.directory)
    )
