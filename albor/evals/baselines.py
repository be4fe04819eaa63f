"""What known models score, in percent, to be read beside a model's own numbers."""

from __future__ import annotations

from collections.abc import Mapping

BASELINES: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("humaneval", "pass@1"): {
        "phi-1 1.3B": 50.6,
        "phi-1-small 350M (self-reported)": 45.0,
        "DeciCoder-1B": 19.3,
        "SantaCoder 1.1B": 18.1,
        "StarCoderBase-1B": 15.2,
        "CodeGen-350M-mono": 12.8,
    },
    ("mbpp", "pass@1"): {"phi-1 1.3B": 55.5, "SantaCoder 1.1B": 35.0},
    ("arc_easy", "acc"): {"Pythia-410M": 47.1, "GPT-2 Medium": 43.0, "OPT-350M": 41.9},
    ("hellaswag", "acc"): {"Pythia-410M": 40.1, "OPT-350M": 36.2, "GPT-2 Medium": 34.0},
    ("piqa", "acc"): {"Pythia-410M": 67.2, "GPT-2 Medium": 66.0, "OPT-350M": 64.8},
}
"""(task, metric) to model and score."""


def beside(task: str, metric: str) -> Mapping[str, float]:
    return BASELINES.get((task, metric), {})
