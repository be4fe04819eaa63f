"""What the server adds to a model, and how it bears many clients and those that go away.

    python -m bench.serving [--model tiny] [--kind q4_0] [--threads 1] [--rounds 5] [--streams 16] [--tokens 128]
        [--clients 200] [--seconds 300] [--kills 1000] [--only overhead throughput load kills]

A model with random weights is written as a GGUF file (``--kind torch`` keeps its weights, for the torch engine) and
served by ``albor stage=serve`` in a process of its own. In turn with it the same model is asked in this process.
*overhead* is what a request for one token takes longer over HTTP, on a connection that is kept. *throughput* is new
tokens a second of so many streams at once. *load* is clients that ask again and again, each for a text of its own, and
the server's memory. *kills* is clients that go away in the middle of a stream, and how long their place stays taken.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from albor.config.schema.model import Model
from albor.inference.engine import Sampling
from albor.inference.loaded import LanguageModel, load
from albor.models.checkpoint import save_model
from albor.models.decoder import Decoder
from albor.models.gguf import write_gguf
from bench.generation import shape
from bench.timing import machine
from tests.models.gguf_example import codec
from tests.serve.serving import serving

PROMPT = "def quicksort(items):\n    if len(items) < 2:\n        return items\n"


def write_model(place: Path, config: Model, kind: str) -> None:
    """A directory to serve."""
    torch.manual_seed(0)
    model = Decoder(config)
    weights = place / "weights"
    save_model(config, model.state_dict(), weights, eos_token_id=None, pad_token_id=4)
    # A tokenizer of fewer tokens than the model has: what it says beyond is no text.
    codec().save(weights)
    del model
    if kind != "torch":
        write_gguf(weights, place / "model.gguf", kind=kind)  # type: ignore[arg-type]
        for file in weights.glob("*.json"):
            (place / file.name).write_bytes(file.read_bytes())


class Client:
    """One connection, by hand: a client library would take more of the machine than the server does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: Any = None
        self.writer: Any = None

    async def ask(self, body: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body of an answer that comes whole."""
        await self.send(body)
        return await self.whole()

    async def send(self, body: dict[str, Any], path: str = "/v1/completions") -> None:
        if self.writer is None or self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(data)}"
        )
        self.writer.write(head.encode() + b"\r\n\r\n" + data)
        await self.writer.drain()

    async def head(self) -> tuple[int, str]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        return int(head.split()[1]), head

    async def whole(self) -> tuple[int, bytes]:
        status, head = await self.head()
        if found := re.search(r"content-length: (\d+)", head):
            return status, await self.reader.readexactly(int(found[1]))
        parts = []
        while size := int(await self.reader.readline(), 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return status, b"".join(parts)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
            self.writer = None


async def gauge(port: int, name: str) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    found = re.search(rf"^{name}\{{[^}}]*\}} (\S+)$", text, re.M)
    assert found, text
    return float(found[1])


def resident(pid: int) -> float:
    """MiB of the process that serves: the youngest of the command's."""
    children = subprocess.run(["ps", "--ppid", str(pid), "-o", "rss="], capture_output=True, text=True).stdout.split()
    return max(map(int, children), default=0) / 1024


# --- what the server adds ---


def alone(model: LanguageModel, count: int, tokens: int) -> float:
    """Seconds that so many texts take in this process."""
    began = time.perf_counter()
    desk = model.desk()
    writings = [
        desk.write([1 + i, *model.codec.encode(PROMPT)], max_new_tokens=tokens, sampling=Sampling(), seed=i)
        for i in range(count)
    ]
    while any(writing.ended is None for writing in writings):
        desk.advance()
    return time.perf_counter() - began


async def overhead(port: int, model: LanguageModel, rounds: int) -> None:
    client, differences, served = Client(port), [], []
    body = {"prompt": PROMPT, "max_tokens": 1, "temperature": 0}
    for _ in range(20 * rounds):
        began = time.perf_counter()
        status, _ = await client.ask(body)
        assert status == 200
        over_http = time.perf_counter() - began
        here = time.perf_counter()
        model.complete(PROMPT, max_tokens=1, fim="spm")
        differences.append(over_http - (time.perf_counter() - here))
        served.append(over_http)
    print(f"| a request for one token | {1000 * statistics.median(served):.2f} ms | "
          f"+{1000 * statistics.median(differences):.2f} ms over the model in this process |", flush=True)  # fmt: skip


async def throughput(port: int, model: LanguageModel, rounds: int, streams: int, tokens: int) -> None:
    async def one(number: int) -> None:
        body = {
            "prompt": [1 + number, *model.codec.encode(PROMPT)],
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
        }
        status, answer = await Client(port).ask(body)
        assert status == 200 and answer.endswith(b"[DONE]\n\n")

    ratios, rates = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(streams)))
        over_http = time.perf_counter() - began
        ratios.append(over_http / alone(model, streams, tokens))
        rates.append(streams * tokens / over_http)
    print(f"| {streams} streams of {tokens} tokens | {statistics.median(rates):,.0f} tokens/s | "
          f"{100 * (1 - 1 / statistics.median(ratios)):+.1f}% of the throughput lost |", flush=True)  # fmt: skip


# --- many, and those that go away ---


async def load_test(port: int, pid: int, clients: int, seconds: float) -> None:
    statuses: Counter[Any] = Counter()
    end = time.monotonic() + seconds
    memory = []

    async def one(number: int) -> None:
        draw, client = random.Random(number), Client(port)
        while time.monotonic() < end:
            body = {"prompt": PROMPT[: draw.randrange(1, 60)], "max_tokens": draw.randrange(1, 64), "temperature": 1,
                    "stream": draw.random() < 0.5, "suffix": "\n" if draw.random() < 0.3 else None}  # fmt: skip
            try:
                status, _ = await client.ask(body)
                statuses[status] += 1
                if status == 429:
                    await asyncio.sleep(draw.random())
            except (OSError, asyncio.IncompleteReadError) as error:
                statuses[type(error).__name__] += 1
                client.close()
        client.close()

    async def watch() -> None:
        while time.monotonic() < end:
            memory.append(resident(pid))
            await asyncio.sleep(seconds / 10)

    await asyncio.gather(watch(), *(one(number) for number in range(clients)))
    await asyncio.sleep(1)
    left = await gauge(port, "albor_running_requests") + await gauge(port, "albor_waiting_requests")
    told = ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items(), key=str))
    print(f"| {clients} clients for {seconds:.0f} s | {told} | {left:.0f} requests left; memory "
          f"{' '.join(f'{mib:.0f}' for mib in memory)} {resident(pid):.0f} MiB |", flush=True)  # fmt: skip


async def kills(port: int, count: int) -> None:
    waited = []
    body = {"prompt": PROMPT, "max_tokens": 300, "temperature": 1, "stream": True}
    for number in range(count):
        client = Client(port)
        await client.send({**body, "seed": number})
        await client.head()
        await client.reader.readline()
        client.close()
        began = time.perf_counter()
        while await gauge(port, "albor_running_requests"):
            pass
        waited.append(1000 * (time.perf_counter() - began))
    waited.sort()
    print(f"| {count:,} clients killed in a stream | free again after {statistics.median(waited):.1f} ms | "
          f"99%: {waited[int(0.99 * len(waited))]:.1f} ms, at most {waited[-1]:.1f} ms |", flush=True)  # fmt: skip


async def measure(given: argparse.Namespace, place: Path, port: int, pid: int) -> None:
    model = load(place, rows=given.streams, threads=given.threads)
    model.warm()
    gc.freeze()  # or a collection of this process counts as the server's time
    if "overhead" in given.only:
        await overhead(port, model, given.rounds)
    if "throughput" in given.only:
        await throughput(port, model, given.rounds, given.streams, given.tokens)
    if "kills" in given.only:
        await kills(port, given.kills)
    if "load" in given.only:
        await load_test(port, pid, given.clients, given.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a choice of the group model")
    parser.add_argument("--kind", default="q4_0", help="of the GGUF file, or torch")
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--kills", type=int, default=1000)
    every = ["overhead", "throughput", "kills", "load"]
    parser.add_argument("--only", nargs="*", default=every, choices=every)
    given = parser.parse_args()
    with TemporaryDirectory() as made:
        place = Path(made) / "model"
        place.mkdir()
        write_model(place, shape(given.model), given.kind)
        served = place if given.kind != "torch" else place / "weights"
        words = f"inputs.model={served}", f"stage.slots={given.streams}"
        with serving(Path(made), *words, threads=given.threads) as server:
            print(f"{machine()}; {given.model}, {given.kind}, {given.threads} threads\n\n| what | | |\n|---|---|---|")
            port = int(server.url.rpartition(":")[2])
            asyncio.run(measure(given, served, port, server.process.pid))
            return server.stop()


if __name__ == "__main__":
    sys.exit(main())
