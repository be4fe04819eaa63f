"""A teacher's likelihoods by vLLM, which computes many documents at a time and large mixtures of experts fast.

Written to vLLM's documented interface (``LLM.generate`` with ``prompt_logprobs``) and not run by albor's tests, which
have no GPU and no vLLM. Its sums depend on what is computed together, so in bf16 a second pass may differ from what was
stored by more than FALSIFY-ALBOR-006 allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from albor.errors import AlborError

INSTALL = "pip install vllm, or teacher.backend=transformers"


def not_installed() -> AlborError:
    return AlborError("the teacher is to be computed by vLLM, which is not installed", INSTALL, code="E-TEACHER")


class VllmScorer:
    """A ``likelihood.Scorer``."""

    def __init__(self, directory: Path, *, context: int, dtype: str) -> None:
        """Raises AlborError when vLLM is not installed."""
        try:
            from vllm import LLM, SamplingParams
        except ImportError:
            raise not_installed() from None
        self.context = context - 1
        """One token less than the model's: vLLM always writes one."""
        # A cached prefix has no log-probabilities.
        self._model = LLM(
            model=str(directory),
            dtype=dtype,
            max_model_len=context,
            enable_prefix_caching=False,
            trust_remote_code=False,
        )
        self._wanted = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False)

    def __call__(self, documents: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        cut = [list(document[: self.context]) for document in documents]
        asked = [index for index, ids in enumerate(cut) if len(ids) > 1]
        found = [np.empty(0, np.float32)] * len(cut)
        prompts = [{"prompt_token_ids": cut[index]} for index in asked]
        outputs = self._model.generate(prompts, self._wanted, use_tqdm=False) if prompts else []
        for index, output in zip(asked, outputs, strict=True):
            # Of each token a mapping that has it and the likeliest; of the first one, nothing.
            said = zip(cut[index][1:], output.prompt_logprobs[1:], strict=True)
            found[index] = np.array([those[token].logprob for token, those in said], np.float32)
        return found
