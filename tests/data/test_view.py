"""A row as a person reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from albor.data.fim import assemble
from albor.data.tokenizer import Codec
from albor.data.view import Mark, Piece, Text, pieces

LITERAL = "x = '<|fim_prefix|><|endoftext|>'\n"


def form(codec: Codec, prefix: str, middle: str, suffix: str, *, spm: bool) -> list[int]:
    assert codec.fim
    parts = (codec.encode(part) for part in (prefix, middle, suffix))
    return assemble(*parts, fim=codec.fim, eos_id=codec.eos_id, spm=spm)


def read(codec: Codec, *spans: list[int], padding: int = 3) -> list[Piece]:
    tokens = [token for span in spans for token in span] + [codec.pad_id] * padding
    ends = [sum(map(len, spans[: i + 1])) for i in range(len(spans))]
    return pieces(tokens, ends, codec)


def test_a_row_is_read_piece_by_piece(codec: Codec) -> None:
    plain = [*codec.encode(LITERAL), codec.eos_id]
    psm, spm = (form(codec, "def f():\n", "    return 1\n", "\n# é🙂\n", spm=s) for s in (False, True))
    first, second, third = read(codec, plain, psm, spm)
    assert first == Piece("plain", len(plain), [Text(LITERAL, "text"), Mark("EOS")])
    assert (second.form, second.tokens, third.form) == ("PSM", len(psm), "SPM")
    assert second.parts == [
        Mark("FIM_PREFIX"), Text("def f():\n", "prefix"), Mark("FIM_SUFFIX"), Text("\n# é🙂\n", "suffix"),
        Mark("FIM_MIDDLE"), Text("    return 1\n", "middle"), Mark("EOS")]  # fmt: skip
    assert third.parts == [
        Mark("FIM_PREFIX"), Mark("FIM_SUFFIX"), Text("\n# é🙂\n", "suffix"),
        Mark("FIM_MIDDLE"), Text("def f():\n    return 1\n", "middle"), Mark("EOS")]  # fmt: skip


@pytest.mark.parametrize("parts", [("", "", ""), ("a", "", ""), ("", "", "a"), ("", "a", "")])
@pytest.mark.parametrize("spm", [False, True])
def test_empty_parts_leave_their_marks(codec: Codec, parts: tuple[str, str, str], spm: bool) -> None:
    (piece,) = read(codec, form(codec, *parts, spm=spm), padding=0)
    marks = [part.name for part in piece.parts if isinstance(part, Mark)]
    assert marks == ["FIM_PREFIX", "FIM_SUFFIX", "FIM_MIDDLE", "EOS"]
    assert piece.form == ("PSM" if parts[0] and not spm else "SPM")
    assert "".join(part.text for part in piece.parts if isinstance(part, Text)) == "".join(parts)


def test_a_tokenizer_without_fim_has_plain_pieces_only(codec: Codec, tmp_path: Path) -> None:
    codec.save(tmp_path)
    plain = Codec(Tokenizer.from_file(str(tmp_path / "tokenizer.json")))
    (piece,) = read(plain, [*plain.encode("a = 1\n"), plain.eos_id], padding=0)
    assert piece.form == "plain" and piece.parts == [Text("a = 1\n", "text"), Mark("EOS")]
