"""C-FIT-002 counts the checkpoints that the trainer keeps."""

import pytest

from albor.contracts import check_all


@pytest.mark.contract("C-FIT-002", level=2)
@pytest.mark.parametrize(("keep_last", "keep_best"), [(1, 0), (2, 0), (1, 2), (3, 4)])
def test_the_disk_is_enough_to_the_byte(case, keep_last, keep_best) -> None:
    need = 398_509_056 * (12 * (keep_last + keep_best + 1) + 4)
    for disk, expected in ((need, []), (need - 1, ["C-FIT-002"])):
        texts = ("model=350m", "data.num_sequences=100M", f"trainer.keep_last={keep_last}",
                 f"trainer.keep_best={keep_best}", f"hardware.disk={disk}")  # fmt: skip
        found = [f for f in check_all(case(*texts, stage="pretrain")) if f.id == "C-FIT-002"]
        assert [f.id for f in found] == expected
        for finding in found:
            assert f"{keep_last} newest, {keep_best} best" in finding.message and "keep_last" in finding.help
