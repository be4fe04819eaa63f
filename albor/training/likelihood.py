"""How likely a teacher finds given texts, token by token, by its passes over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from albor.models.loss import linear_log_probs
from albor.training.teacher import Teacher


class Scorer(Protocol):
    """What computes a teacher."""

    context: int
    """The most tokens of a document that it reads."""

    def __call__(self, documents: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Of each document the log-probabilities of its tokens but the first, of the first ``context`` at most."""


class TeacherScorer:
    """The passes of a teacher in this process, several documents of like length in each."""

    def __init__(self, teacher: Teacher, device: torch.device, *, context: int, tokens: int) -> None:
        """``tokens`` is how many a pass may have, padding counted; a longer document has one of its own."""
        self.teacher, self.device, self.context, self.tokens = teacher, device, context, tokens

    def __call__(self, documents: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        cut = [document[: self.context] for document in documents]
        found = [np.empty(0, np.float32)] * len(cut)
        for group in self._groups([len(document) for document in cut]):
            for index, scores in zip(group, self._scored([cut[index] for index in group]), strict=True):
                found[index] = scores.numpy()
        return found

    def _groups(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Documents for one pass each, the longest first; what has no second token is left out."""
        group = list[int]()
        for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
            if lengths[index] < 2:
                break
            if group and (len(group) + 1) * lengths[group[0]] > self.tokens:
                yield group
                group = []
            group.append(index)
        if group:
            yield group

    @torch.no_grad()
    def _scored(self, group: Sequence[Sequence[int]]) -> list[Tensor]:
        """Padding stands after what it cannot change: a token sees only those before it."""
        lengths = [len(document) for document in group]
        tokens = torch.zeros(len(group), lengths[0], dtype=torch.long)
        for row, document in zip(tokens, group, strict=True):
            row[: len(document)] = torch.tensor(document)
        real = torch.arange(1, lengths[0]) < torch.tensor(lengths)[:, None]
        tokens, real = tokens.to(self.device), real.to(self.device)
        hidden = self.teacher.hidden(tokens)[:, :-1][real]
        scores = linear_log_probs(hidden, self.teacher.head, tokens[:, 1:][real])
        return list(scores.cpu().split([length - 1 for length in lengths]))
