"""How long an editor waits for a suggestion: from the key to the answer of ``albor lsp``.

    python -m bench.editor [--model 350m] [--layers N --intermediate N] [--threads 2] [--tokens 16] [--pause 0.2]

A GGUF file of q4_0 with random weights is served by ``albor stage=serve``, and a line is typed into the middle of a
file of Python, a key at a time, as an editor tells it: the change, then the request. *warm* are the keys after the
first, whose beginning the server has read; *cold* is the first key in another file. The server's own part is asked
for beside it, by HTTP alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from bench.generation import shape
from bench.serving import write_model
from bench.timing import machine
from tests.serve.editor import AUTOMATIC, Editor, editing
from tests.serve.serving import serving

SOURCE = Path(__file__).parents[1] / "albor" / "errors.py"
LINE = "    total = sum(part.count for part in found if part.count > 0)"


def typed(editor: Editor, uri: str, pause: float) -> list[float]:
    """Milliseconds from each key of the line to its answer."""
    text = SOURCE.read_text(encoding="utf-8")
    half = text.count("\n") // 2
    editor.open(text, uri)
    waited = []
    for place, key in enumerate(LINE):
        time.sleep(pause)
        began = time.perf_counter()
        editor.type(key, half, place, uri=uri)
        editor.answer(editor.inline(half, place + 1, trigger=AUTOMATIC, uri=uri))
        waited.append(1000 * (time.perf_counter() - began))
    return waited


def served(url: str, tokens: int, pause: float) -> list[float]:
    """Milliseconds of the same questions, asked of the server itself."""
    lines = SOURCE.read_text(encoding="utf-8").splitlines(keepends=True)
    half = len(lines) // 2
    before, after = "".join(lines[:half]), "".join(lines[half:])
    waited = []
    with httpx2.Client(base_url=url) as client:
        for place in range(len(LINE)):
            time.sleep(pause)
            body = {"input_prefix": before + LINE[: place + 1], "input_suffix": after, "n_predict": tokens}
            began = time.perf_counter()
            assert client.post("/infill", json={**body, "temperature": 0.0}).is_success
            waited.append(1000 * (time.perf_counter() - began))
    return waited


def line(name: str, waited: list[float]) -> str:
    tenths = statistics.quantiles(waited, n=10, method="inclusive")
    return f"| {name} | {len(waited)} | {statistics.median(waited):.0f} ms | {tenths[8]:.0f} ms |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="350m", help="a choice of the group model")
    parser.add_argument("--layers", type=int, help="instead of its own, as of a model that was pruned")
    parser.add_argument("--intermediate", type=int)
    parser.add_argument("--threads", type=int, default=2, help="of the model")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between an answer and the next key")
    given = parser.parse_args()
    config = shape(given.model)
    config = replace(
        config,
        num_hidden_layers=given.layers or config.num_hidden_layers,
        intermediate_size=given.intermediate or config.intermediate_size,
    )
    with TemporaryDirectory() as made:
        place = Path(made) / "model"
        place.mkdir()
        write_model(place, config, "q4_0")
        with serving(Path(made), f"inputs.model={place}", threads=given.threads) as server:
            options = {"maxTokens": given.tokens}
            with editing(server.url, options=options) as editor:
                files = [typed(editor, f"file:///home/me/{number}.py", given.pause) for number in range(3)]
            alone = served(server.url, given.tokens, given.pause)
            blocks = f"{config.num_hidden_layers} blocks of {config.intermediate_size} channels"
            print(f"{machine()}; {blocks}, q4_0, {given.threads} threads, {given.tokens} tokens")
            print("\n| what | keys | p50 | p90 |\n|---|---|---|---|")
            print(line("warm", [wait for file in files for wait in file[1:]]))
            print(f"| cold | {len(files)} | {statistics.median(file[0] for file in files):.0f} ms | |")
            print(line("the server alone, warm", alone[1:]))
            return server.stop()


if __name__ == "__main__":
    sys.exit(main())
