"""Of the lines marked `# gpu`, which left a coverage measurement on a CPU: how many did a run on a GPU reach?

python -m quality.gpu DATA    # of `coverage run -m pytest -m gpu` and `coverage combine`; writes quality/gpu.json
"""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "quality/gpu.json"
MARK = "# gpu"


def lines(data: str, *, marked_too: bool) -> dict[str, tuple[set[int], set[int]]]:
    """Statements of every file of the package, and those of them that were not run."""
    measured = coverage.Coverage(data_file=data, config_file=str(ROOT / "pyproject.toml"))
    if marked_too:
        left = measured.get_option("report:exclude_lines")
        assert isinstance(left, list)
        measured.set_option("report:exclude_lines", [pattern for pattern in left if MARK not in str(pattern)])
    measured.load()
    found = {}
    for path in sorted((ROOT / "albor").rglob("*.py")):
        _, statements, _, missing, _ = measured.analysis2(str(path))
        found[path.relative_to(ROOT).as_posix()] = set(statements), set(missing)
    return found


def main(data: str) -> int:
    everything, without = lines(data, marked_too=True), lines(data, marked_too=False)
    files = {}
    for name, (statements, missing) in everything.items():
        if marked := statements - without[name][0]:
            files[name] = {"marked": len(marked), "run": len(marked - missing), "missed": sorted(marked & missing)}
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    RECORD.write_text(json.dumps({"date": str(date.today()), "device": device, "files": files}, indent=1) + "\n")
    for name, found in files.items():
        print(f"{name:40} {found['run']}/{found['marked']}  missed {found['missed']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
