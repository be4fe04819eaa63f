import pytest
import torch

from albor.data.chat_ids import ChatIds
from albor.models.checkpoint import EMBEDDING
from albor.models.decoder import Decoder
from albor.training.chat_rows import with_learnable_end

from .toy import MODEL

CHAT, EOS = ChatIds(7, 8), 0


@pytest.fixture
def pretrained():
    """Rows 7 to 15 as pretraining leaves those of tokens that it never shows."""
    torch.manual_seed(3)
    weights = Decoder(MODEL).state_dict()
    away = 3 * torch.randn(MODEL.hidden_size) * weights[EMBEDDING].std()
    weights[EMBEDDING][7:16] = away + 0.2 * weights[EMBEDDING][7:16]
    return weights


def test_what_ends_an_answer_gets_a_row_of_its_own(pretrained):
    before = pretrained[EMBEDDING].clone()
    made = with_learnable_end(pretrained, CHAT, EOS, seed=1)
    assert torch.equal(pretrained[EMBEDDING], before), "what is given stays as it is"
    changed = (made[EMBEDDING] != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [CHAT.end]
    assert all(made[name] is tensor for name, tensor in pretrained.items() if name != EMBEDDING)
    table = torch.nn.functional.normalize(made[EMBEDDING], dim=1)
    cosines = table @ table[CHAT.end]
    assert 0.4 < cosines[EOS] < 0.95 and cosines[9:16].max() < 0.8
    assert made[EMBEDDING][CHAT.end].norm() == pytest.approx(before[EOS].norm(), rel=0.7)
    assert torch.equal(with_learnable_end(pretrained, CHAT, EOS, seed=1)[EMBEDDING], made[EMBEDDING])


def test_a_row_that_was_learnt_stays(pretrained):
    for weights in (Decoder(MODEL).state_dict(), with_learnable_end(pretrained, CHAT, EOS, seed=1)):
        again = with_learnable_end(weights, CHAT, EOS, seed=2)
        assert all(again[name] is tensor for name, tensor in weights.items())
