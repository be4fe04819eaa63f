"""FALSIFY-ALBOR-008: pruning reaches its sparsity."""

from __future__ import annotations

from pathlib import Path

from albor.audit.predictions.base import Judgment, Material, judged, name, prediction, untested
from albor.errors import AlborError
from albor.runs.checkpoints import MODEL
from albor.runs.lineage import input_path
from albor.runs.store import Run

STAGE = "prune"
LEAST, MOST = 0.499, 0.501
LAYERS = "model.layers."


@prediction(
    8,
    "pruning reaches its sparsity",
    f"the share of zeros in the linear layers of an unstructured 50% prune is in [{LEAST}, {MOST}]",
    (STAGE,),
)
def sparsity(material: Material) -> Judgment:
    """Of the newest run that prunes by zeros, not by shape; or of a model directory that was named."""
    runs = [
        (name(run), run.artifact) for run in material.of(STAGE) if (run.artifact / MODEL).exists() and same_shape(run)
    ]
    for title, directory in [*((str(path), path) for path in material.models), *runs]:
        zeros, count = zero_weights(directory)
        if count:
            text = (
                f"{title}: {zeros:,} of {count:,} weights in its linear layers are zero, a share of {zeros / count:.4f}"
            )
            return judged(LEAST <= zeros / count <= MOST, text, model=title, zeros=zeros, weights=count)
    return untested(f"{material.no_run} prunes weights to zero", f"python -m albor stage={STAGE} prune=wanda")


def same_shape(run: Run) -> bool:
    """Whether the run left as many weights as its input had: a structured prune makes matrices smaller instead."""
    given = run.manifest.inputs.get("model")
    before = input_path(run.directory, given) if given else None
    if before is None or not (before / MODEL).exists():
        return True
    return zero_weights(run.artifact)[1] == zero_weights(before)[1]


def zero_weights(directory: Path) -> tuple[int, int]:
    """(zeros, all) of the matrices in a model's layers, without embeddings, head and norms. Raises AlborError."""
    from safetensors import SafetensorError, safe_open

    zeros = count = 0
    try:
        with safe_open(directory / MODEL, framework="pt") as file:
            for tensor in (file.get_tensor(key) for key in file.keys() if key.startswith(LAYERS)):  # noqa: SIM118
                if tensor.dim() == 2:
                    zeros, count = zeros + int((tensor == 0).sum()), count + tensor.numel()
    except (SafetensorError, OSError) as error:
        raise AlborError(f"the weights cannot be read: {error}", "give another model", place=str(directory)) from None
    return zeros, count
