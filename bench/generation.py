"""How long HumanEval's continuations take: albor's engine at several slot counts against transformers' `generate`.

    python -m bench.generation [--model 350m] [--device cuda] [--problems 164] [--samples 50] [--total 512]
        [--slots 256 512 1024] [--peer-rows 128 512] [--prompts FILE --tokenizer DIRECTORY] [--profile]

Weights are random and nothing ends a text, so every continuation goes on to --total tokens, prompt included: the worst
case. Prompts are random ids, 60 to 300 of them, or those of a JSONL file with a "prompt" a line. Both sample with
temperature 0.2 and top-p 0.95; on CUDA both compute in bf16. Loading is not counted; kernels are compiled before,
graphs are captured within. transformers continues --peer-rows rows of middling length, padded on the left, and its time
for all is extrapolated from the tokens it made. --profile says which kernels the time goes to. On a CPU, for a try:
`--device cpu --model tiny --problems 4 --samples 2 --slots 4 --peer-rows 4 --total 320`.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from albor.config.compose import Composer
from albor.config.schema.model import Model
from albor.inference.device import best_dtype
from albor.inference.engine import Request, Sampling
from albor.inference.torch_engine import TorchEngine
from albor.models.decoder import Decoder
from albor.models.llama_config import config_text
from albor.plan.nodes import Planner
from albor.plan.resolver import Resolver
from bench.timing import machine

SAMPLING = Sampling(temperature=0.2, top_p=0.95)
GIB = 2**30
Prompt = tuple[int, ...]


@dataclass(frozen=True)
class Measured:
    seconds: float
    tokens: int
    """New ones."""
    peak_bytes: int

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


def measure(device: torch.device, work: Callable[[], int]) -> Measured:
    """Times work that gives the number of tokens it made."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    tokens = work()
    if cuda:
        torch.cuda.synchronize()
    return Measured(time.perf_counter() - began, tokens, torch.cuda.max_memory_allocated() if cuda else 0)


def shape(name: str) -> Model:
    return Planner(Resolver(Composer([]))).plan(("stage=pretrain", f"model={name}")).target.config.model


def synthetic(problems: int, vocab: int) -> list[Prompt]:
    generator = random.Random(0)
    lengths = [generator.randint(60, 300) for _ in range(problems)]
    return [tuple(generator.randrange(vocab) for _ in range(length)) for length in lengths]


def from_file(path: Path, tokenizer: Path, problems: int) -> list[Prompt]:
    from albor.data.tokenizer import Codec

    codec = Codec.load(tokenizer)
    lines = path.read_text(encoding="utf-8").splitlines()[:problems]
    return [(codec.eos_id, *codec.encode(json.loads(line)["prompt"].strip())) for line in lines]


def requests(prompts: Sequence[Prompt], samples: int, total: int) -> list[Request]:
    return [
        Request(prompt=prompt, max_new_tokens=total - len(prompt), sampling=SAMPLING, seed=number * samples + sample)
        for number, prompt in enumerate(prompts)
        for sample in range(samples)
    ]


def own(model: Decoder, wanted: Sequence[Request], slots: int, *, profile: bool) -> Measured:
    engine = TorchEngine(model, batch_size=slots)

    def work(asked: Sequence[Request]) -> int:
        return sum(len(new) for _, new in engine.generate(asked))

    few = [replace(request, max_new_tokens=16) for request in wanted[:slots]]
    work(few)
    measured = measure(engine.device, lambda: work(wanted))
    if profile:
        from torch.profiler import ProfilerActivity
        from torch.profiler import profile as profiling

        with profiling(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as taken:
            work([replace(request, max_new_tokens=128) for request in wanted[:slots]])
        key = "self_cuda_time_total" if engine.device.type == "cuda" else "self_cpu_time_total"
        print(taken.key_averages().table(sort_by=key, row_limit=16, max_name_column_width=60), file=sys.stderr)
    return measured


def theirs(model: Decoder) -> Any:
    """The same weights in transformers' LlamaForCausalLM."""
    import transformers

    keys = json.loads(config_text(model.config, dtype=model.dtype, eos_token_id=None, pad_token_id=0))
    config = transformers.AutoConfig.for_model(keys.pop("model_type"), **keys)
    with torch.device(model.model.norm.weight.device):
        peer = transformers.AutoModelForCausalLM.from_config(config, dtype=model.dtype, attn_implementation="sdpa")
    peer.load_state_dict(model.state_dict(), strict=False)
    peer.tie_weights()
    return peer.eval()


def peer(module: Any, wanted: Sequence[Request], rows: int, total: int) -> Measured:
    """``rows`` continuations of middling length in one batch."""
    ordered = sorted(wanted, key=lambda request: len(request.prompt))
    start = max(0, (len(ordered) - rows) // 2)
    prompts = [request.prompt for request in ordered[start : start + rows]]
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=module.device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=module.device)

    def work(new: int) -> int:
        made = module.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=new, do_sample=True, temperature=SAMPLING.temperature,
            top_p=SAMPLING.top_p, top_k=0, eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        return int(made[:, longest:].numel())

    work(4)
    return measure(module.device, lambda: work(total - longest))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="350m", help="a choice of the group model")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--problems", type=int, default=164)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--total", type=int, default=512, help="tokens of prompt and continuation")
    parser.add_argument("--slots", type=int, nargs="*", default=[256, 512, 1024])
    parser.add_argument("--peer-rows", type=int, nargs="*", default=[128, 512], help="batch sizes of transformers")
    parser.add_argument("--prompts", type=Path, help='JSONL with a "prompt" a line')
    parser.add_argument("--tokenizer", type=Path, help="directory of tokenizer.json")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    if bool(given.prompts) != bool(given.tokenizer):
        parser.error("--prompts and --tokenizer go together")
    device = torch.device(given.device)
    torch.manual_seed(0)
    with device:
        model = Decoder(shape(given.model), best_dtype(given.device))
    prompts = (
        from_file(given.prompts, given.tokenizer, given.problems)
        if given.prompts
        else synthetic(given.problems, model.config.vocab_size)
    )
    prompts = [prompt for prompt in prompts if len(prompt) < given.total]
    wanted = requests(prompts, given.samples, given.total)
    new = sum(request.max_new_tokens for request in wanted)
    name = torch.cuda.get_device_name() if device.type == "cuda" else machine()
    mean = statistics.mean(map(len, prompts))
    print(f"{name}; torch {torch.__version__}; {given.model}, {model.dtype}: {len(prompts)} prompts of {mean:.0f} "
          f"tokens on average, {given.samples} samples each, {new:,} new tokens\n"
          f"\n| what | rows | seconds for all | new tokens/s | peak GiB |\n|---|---|---|---|---|")  # fmt: skip

    def tell(what: str, rows: int, measured: Measured) -> float:
        seconds = new / measured.rate
        print(
            f"| {what} | {rows} | {seconds:.1f} | {measured.rate:,.0f} | {measured.peak_bytes / GIB:.1f} |", flush=True
        )
        return seconds

    ours = [tell("albor", slots, own(model, wanted, slots, profile=given.profile)) for slots in given.slots]
    module = theirs(model) if given.peer_rows else None
    others = []
    for rows in given.peer_rows:
        try:
            found = peer(module, wanted, rows, given.total)
        except torch.OutOfMemoryError:
            print(f"| transformers generate | {rows} | out of memory | – | – |")
        else:
            others.append(tell("transformers generate, extrapolated", min(rows, len(wanted)), found))
    if ours and others:
        print(f"\nalbor / transformers, the best of each: {min(others) / min(ours):.1f}×")
    return 0


if __name__ == "__main__":
    sys.exit(main())
