"""Pins the newest final source archive of projects: the packages of conf/data/pypi.yaml.

python -m bench.pypi_list numpy scipy > pins.yaml
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from packaging.version import InvalidVersion, Version

from albor.data.sources.index_pages import Link, Pin, normalised
from albor.data.sources.package_index import PackageIndex
from albor.data.sources.pip_config import pip_config


def newest(index: PackageIndex, name: str) -> Pin | None:
    """The source archive of the highest final version, None where a project has only wheels."""
    found = list(_archives(index.offers(normalised(name)), normalised(name)))
    if not found:
        return None
    return max(found, key=lambda each: each[0])[1]


def _archives(links: list[Link], name: str) -> Iterator[tuple[Version, Pin]]:
    for link in links:
        written = link.filename.removesuffix(".tar.gz").removesuffix(".zip").rpartition("-")[2]
        try:
            version = Version(written)
        except InvalidVersion:
            continue
        if link.sha256 and not version.is_prerelease and link.may_be(pin := Pin(name, written, link.sha256)):
            yield version, pin


def main(names: list[str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        pins = pool.map(partial(newest, PackageIndex(pip_config())), names)
    for name, pin in zip(names, pins, strict=True):
        if pin is None:
            print(f"    # {name} has no source archive")
        else:
            print(f'    {pin.name}: {{version: "{pin.version}", sha256: "{pin.sha256}"}}')


if __name__ == "__main__":
    main(sys.argv[1:])
