"""A teacher as others publish it: Qwen2 by transformers, with a tokenizer of its own, made here and small."""

from __future__ import annotations

import contextlib
import difflib
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from albor.data.tokenizer import Codec

CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
WORDS = r"'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""About as Qwen's tokenizer splits: otherwise than GPT-2's."""


def tokenizer(vocab_size: int = 600) -> Tokenizer:
    """A byte-level BPE with control tokens after the words and a normalizer, trained on a module of Python's."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WORDS), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(CONTROLS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(
        [Path(module.__file__ or "").read_text(encoding="utf-8") for module in (difflib, contextlib)], trainer=trainer
    )
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROLS])
    return made


def codec(vocab_size: int = 600) -> Codec:
    return Codec(tokenizer(vocab_size), eos=CONTROLS[0], pad=CONTROLS[0], fim=(CONTROLS[3], CONTROLS[5], CONTROLS[4]))


def qwen2(directory: Path, *, context: int = 4096, seed: int = 0) -> Path:
    """A model of random weights with opinions, and its tokenizer, as they lie in a Hub repository."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    directory.mkdir(parents=True, exist_ok=True)
    made = tokenizer()
    made.save(str(directory / "tokenizer.json"))
    end = made.token_to_id(CONTROLS[0])
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=640,  # padded, as Qwen's is
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.2,
        bos_token_id=end,
        eos_token_id=end,
        tie_word_embeddings=False,
    )
    Qwen2ForCausalLM(config).save_pretrained(directory)
    return directory


def learns(directory: Path, texts: list[str], *, steps: int = 300) -> None:
    """Teaches the model of a directory some texts by heart."""
    from transformers import AutoModelForCausalLM

    known = codec()
    rows = [[known.eos_id, *known.encode(text), known.eos_id] for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([row + [known.eos_id] * (width - len(row)) for row in rows])
    labels = torch.tensor([row + [-100] * (width - len(row)) for row in rows])
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(directory)
