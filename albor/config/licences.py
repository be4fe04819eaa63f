"""The licences that the Hugging Face Hub knows, by the keys that a card names them with."""

from __future__ import annotations

from albor.config.suggest import nearest

HUB = (
    *("apache-2.0", "mit", "afl-3.0", "agpl-3.0", "artistic-2.0", "bsl-1.0", "isc", "ms-pl", "mpl-2.0", "ncsa"),
    *("bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "ecl-2.0", "epl-1.0", "epl-2.0", "osl-3.0"),
    *("gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr", "gfdl", "eupl-1.1", "eupl-1.2"),
    *("lppl-1.3c", "ofl-1.1", "postgresql", "unlicense", "wtfpl", "zlib", "etalab-2.0", "odbl", "odc-by", "pddl"),
    *("cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
    *("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "c-uda"),
    *("cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0"),
    *("openrail", "openrail++", "bigcode-openrail-m", "bigscience-openrail-m", "creativeml-openrail-m"),
    *("bigscience-bloom-rail-1.0", "deepfloyd-if-license", "gemma", "llama2", "llama3", "llama3.1", "llama3.2"),
    *("llama3.3", "llama4", "apple-ascl", "apple-amlr", "intel-research", "h-research", "open-mdw"),
    *("fair-noncommercial-research-license", "unknown", "other"),
)
LIST = "https://huggingface.co/docs/hub/repositories-licenses"


def hub_key(given: str) -> str | None:
    """A licence as the Hub writes it, from its SPDX identifier in any case; None where the Hub has no such key."""
    return given.lower() if given.lower() in HUB else None


def instead(given: str) -> str:
    """What to give instead of what is no key of the Hub's."""
    guess = nearest(given.lower().removesuffix("-only").removesuffix("-or-later"), HUB)
    listed = f"the Hub's keys are apache-2.0, mit, bsd-3-clause, gpl-3.0 and more ({LIST}), other for any other licence"
    return f"did you mean {guess}? {listed[0].upper()}{listed[1:]}" if guess else listed
