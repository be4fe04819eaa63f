"""Training the byte-level BPE, and one codec over it and over any Hugging Face fast tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from albor.config.schema.tokenizer import FIM_NAMES, MIN_BPE_VOCAB, SPECIAL_TOKENS, HfTokenizer
from albor.data import chat_ids
from albor.data.encoded import Encoded
from albor.data.errors import DataError
from albor.data.fim import FimIds
from albor.data.token_layout import spellings, splits_by_words, text_only, token_bytes
from albor.data.word_cache import WordCache
from albor.runs.files import write_text

FILE, ROLES = "tokenizer.json", "roles.json"
EOS, PREFIX, SUFFIX, MIDDLE, PAD = SPECIAL_TOKENS[:5]
MIN_PAIR_COUNT = 2
"""A pair seen once is no statistic, and merging it would only memorise a file."""


def train_bpe(texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
    """A byte-level BPE of exactly ``vocab_size`` tokens; ``SPECIAL_TOKENS`` have the ids 0 to 15.

    Numerals stand alone, the rest is split by GPT-2's expression: the layout that llama.cpp calls ``starcoder``.

    Raises:
        DataError: the vocabulary is smaller than its alphabet, or the texts have too few different pairs to fill it.
    """
    if vocab_size < MIN_BPE_VOCAB:
        raise DataError(
            f"tokenizer.vocab_size={vocab_size} does not hold the {len(SPECIAL_TOKENS)} specials and 256 bytes",
            help=f"set tokenizer.vocab_size to {MIN_BPE_VOCAB} or more",
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_PAIR_COUNT,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    if (reached := tokenizer.get_vocab_size()) != vocab_size:
        raise DataError(
            f"the corpus yields a vocabulary of {reached}, not tokenizer.vocab_size={vocab_size}",
            help=f"set tokenizer.vocab_size={reached} or less, or train it on more text",
        )
    return tokenizer


class Codec:
    """Text to token ids and back.

    Text never becomes a control token: a literal ``<|fim_prefix|>`` in a source file is encoded as the characters it
    is. Control tokens enter by id only. For a byte-level tokenizer without a normalizer ``decode(encode(x)) == x``.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, eos: str = EOS, pad: str = PAD, fim: Sequence[str] | None = None
    ) -> None:
        """``eos``, ``pad`` and ``fim`` (prefix, suffix, middle) name tokens of ``tokenizer``.

        Raises:
            DataError: one of them is not in the vocabulary.
        """
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        missing = [name for name in (eos, pad, *(fim or ())) if name not in vocabulary]
        if missing:
            raise DataError(
                f"the tokenizer has no token {', '.join(missing)}",
                help="name tokens of its vocabulary in tokenizer.eos_token, pad_token and fim_*",
            )
        self.vocab_size = max(vocabulary.values()) + 1
        """Rows of an embedding that serves every id."""
        self.eos_id: int = vocabulary[eos]
        self.pad_id: int = vocabulary[pad]
        self.fim = FimIds(vocabulary[fim[0]], vocabulary[fim[1]], vocabulary[fim[2]], self.pad_id) if fim else None
        """None when the tokenizer has no fill-in-the-middle tokens."""
        self._saved = tokenizer.to_str(pretty=True)
        self._roles = {"eos": eos, "pad": pad, "fim": list(fim) if fim else None}
        self._tokenizer, layout = text_only(json.loads(self._saved))
        self._refuse_readable_controls(vocabulary, (eos, pad, *(fim or ())))
        self._token_bytes = token_bytes(self._tokenizer, layout, self.vocab_size)
        self._by_words = WordCache(self._encode_fast) if splits_by_words(layout) else None
        # Known by their names: a role of their own would change the digest of every tokenizer there is.
        self.chat = chat_ids.find(vocabulary, self.encode)
        """None when the tokenizer has no chat tokens."""

    def _refuse_readable_controls(self, vocabulary: Mapping[str, int], names: Sequence[str]) -> None:
        """Some models (Unigram's) hold their control tokens among the words, where nothing keeps text from them."""
        readable = [name for name in names if vocabulary[name] in self.encode(name)]
        if readable:
            raise DataError(
                f"the tokenizer reads {', '.join(readable)} in a text as the control token",
                help="take a byte-level BPE tokenizer, whose control tokens are added to the vocabulary",
            )

    @classmethod
    def load(cls, directory: Path) -> Codec:
        """The codec that ``save`` wrote. Raises DataError when a file is missing or damaged."""
        try:
            roles = json.loads((directory / ROLES).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{directory / ROLES} cannot be read: {error}", help="build the tokenizer again") from error
        return cls(_load(directory / FILE), **roles)

    @classmethod
    def of_model(cls, directory: Path) -> Codec:
        """The codec in a model's directory: ours, or that of a Hugging Face checkpoint, whose end of text config.json
        names and whose fill-in-the-middle tokens are known by their usual names.

        Raises:
            DataError: there is none, or its end of text is not said.
        """
        if (directory / ROLES).is_file():
            return cls.load(directory)
        tokenizer = _load(directory / FILE)
        try:
            eos = json.loads((directory / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
            name = tokenizer.id_to_token(eos[0] if isinstance(eos, list) else eos)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            name = None
        if name is None:
            raise DataError(
                f"{directory / 'config.json'} does not say which token ends a text",
                help="add eos_token_id, an id of tokenizer.json's vocabulary",
            )
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        fim = next((names for names in FIM_NAMES if all(token in vocabulary for token in names)), None)
        return cls(tokenizer, eos=name, pad=name, fim=fim)

    @classmethod
    def hf(cls, tokenizer: HfTokenizer) -> Codec:
        """The codec of a ``tokenizer.json``, a directory that holds one, or a Hub repository.

        Raises:
            DataError: it cannot be loaded, lacks a named token, has another vocabulary size, or only some of its
                fill-in-the-middle tokens are named.
        """
        fim: tuple[str, str, str] | None = None
        match (tokenizer.fim_prefix, tokenizer.fim_suffix, tokenizer.fim_middle):
            case (str() as prefix, str() as suffix, str() as middle):
                fim = (prefix, suffix, middle)
            case (None, None, None):
                pass
            case _:
                raise DataError(
                    "only some of tokenizer.fim_prefix, fim_suffix and fim_middle are set",
                    help="set all three, or leave all three null",
                )
        path = Path(tokenizer.path)
        if path.exists():
            loaded = _load(path / "tokenizer.json" if path.is_dir() else path)
        else:
            loaded = _download(tokenizer.path)
        codec = cls(loaded, eos=tokenizer.eos_token, pad=tokenizer.pad_token, fim=fim)
        if codec.vocab_size != tokenizer.vocab_size:
            raise DataError(
                f"{tokenizer.path} has {codec.vocab_size} tokens, the config says {tokenizer.vocab_size}",
                help=f"set tokenizer.vocab_size={codec.vocab_size}",
            )
        return codec

    @property
    def vocabulary(self) -> dict[str, int]:
        """Every token, control tokens too, and its id."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    @cached_property
    def spellings(self) -> list[bytes] | None:
        """The bytes that each id is decoded to; None where a text is not its tokens' bytes in a row."""
        return spellings(*text_only(json.loads(self._saved)), self.vocab_size)

    @property
    def controls(self) -> dict[str, int]:
        """Control tokens, as they are written, and their ids."""
        added = self._tokenizer.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    @property
    def digest(self) -> str:
        """SHA-256 of everything that is saved."""
        return hashlib.sha256((self._saved + json.dumps(self._roles)).encode()).hexdigest()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A tokenizer loses this switch when it is pickled.
        self._tokenizer.encode_special_tokens = True

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``, nothing added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """``encode`` of many texts: by words on one core where the tokenizer allows it, or else on all cores."""
        return self._by_words(texts) if self._by_words else self._encode_fast(texts)

    def _encode_fast(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_documents(self, texts: Sequence[str]) -> list[Encoded]:
        """``encode_batch`` that also knows where each token stands in its text."""
        if self._token_bytes is None:
            encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
            return [Encoded(text, e.ids, e) for text, e in zip(texts, encodings, strict=True)]
        return [
            Encoded(text, ids, self._token_bytes[ids])
            for text, ids in zip(texts, self.encode_batch(texts), strict=True)
        ]

    def encode_parts(self, text: Encoded, start: int, parts: Sequence[str]) -> list[list[int]]:
        """``encode_batch`` of texts that follow each other in ``text`` from the cut ``start`` on."""
        if self._token_bytes is None or self._by_words is None:
            return self.encode_batch(parts)
        return text.encode_parts(start, parts, self.encode_batch)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of ``ids``; bytes that are not UTF-8 become U+FFFD."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=skip_special))

    def save(self, directory: Path) -> None:
        for name, content in self.files().items():
            write_text(directory / name, content)

    def files(self) -> dict[str, str]:
        """The ``tokenizer.json`` that this codec was made from, and which of its tokens play which role."""
        return {FILE: self._saved, ROLES: json.dumps(self._roles)}


def _load(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise DataError(
            f"{path} is no tokenizer.json: {error}", help="check tokenizer.path, or build it again"
        ) from error


def _download(name: str) -> Tokenizer:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise DataError(
            f"tokenizer.path={name} does not exist", help="give a tokenizer.json, its directory, or org/name"
        )
    try:
        return Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises bare Exception
        raise DataError(
            f"tokenizer.path={name} is neither here nor on the Hugging Face Hub: {str(error).splitlines()[0]}",
            help="give a tokenizer.json, its directory, or a Hub repository that this machine can reach",
        ) from error
