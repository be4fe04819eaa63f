"""What pip's own configuration says about package indexes, by pip's rules; pip itself need not be installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from configparser import Error, RawConfigParser
from dataclasses import dataclass
from pathlib import Path

from albor.data.errors import DataError

PYPI = "https://pypi.org/simple"


@dataclass(frozen=True, kw_only=True)
class PipConfig:
    """The settings that bear on finding and downloading an archive."""

    indexes: tuple[str, ...]
    """Addresses of simple indexes, the main one first."""
    find_links: tuple[str, ...]
    """Addresses of pages or directories of archives."""
    trusted_hosts: tuple[str, ...]
    """Hosts (or host:port) whose certificates are not checked."""
    cert: str | None
    """File of certificate authorities; None is the usual ones."""
    client_cert: str | None
    proxy: str | None
    """None takes the environment's proxies."""
    timeout: float
    """Seconds without an answer."""
    retries: int


def pip_config(environment: Mapping[str, str] = os.environ) -> PipConfig:
    """The files of the system, the user, the virtual environment and PIP_CONFIG_FILE, then PIP_*; the last one counts.

    Raises:
        DataError: a file is no configuration, or a number is none.
    """
    values: dict[str, str] = {}
    for file in _files(environment):
        values |= _read(file)
    values |= {_key(name[4:]): value for name, value in environment.items() if name.startswith("PIP_") and value}
    main = () if values.get("no-index", "0").lower() in ("1", "true", "yes", "on") else (values.get("index-url", PYPI),)
    extra = tuple(values.get("extra-index-url", "").split()) if main else ()
    return PipConfig(
        indexes=main + extra,
        find_links=tuple(values.get("find-links", "").split()),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        cert=_path(values.get("cert")),
        client_cert=_path(values.get("client-cert")),
        proxy=values.get("proxy"),
        timeout=_number(values, "timeout", 15),
        retries=int(_number(values, "retries", 5)),
    )


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    own = environment.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return
    home = Path.home()
    if sys.platform == "win32":
        yield Path(environment.get("PROGRAMDATA", "C:/ProgramData"), "pip", "pip.ini")
        yield home / "pip" / "pip.ini"
        yield Path(environment.get("APPDATA", home / "AppData/Roaming"), "pip", "pip.ini")
    else:
        if sys.platform == "darwin":
            yield Path("/Library/Application Support/pip/pip.conf")
        for directory in reversed(environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
            yield Path(directory, "pip", "pip.conf")
        yield Path("/etc/pip.conf")
        yield home / ".pip" / "pip.conf"
        yield Path(environment.get("XDG_CONFIG_HOME", home / ".config"), "pip", "pip.conf")
        if sys.platform == "darwin":
            yield home / "Library/Application Support/pip/pip.conf"
    yield Path(sys.prefix, "pip.ini" if sys.platform == "win32" else "pip.conf")
    if own:
        yield Path(own).expanduser()


def _read(file: Path) -> dict[str, str]:
    """[global], then what is said for `pip download`, which this stands in for."""
    parser = RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (Error, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} is no pip configuration: {str(error).splitlines()[0]}", help="correct it: pip config debug"
        ) from error
    return {
        _key(name): value
        for section in ("global", "download")
        if parser.has_section(section)
        for name, value in parser.items(section)
    }


def _key(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--").removeprefix("default-")


def _path(value: str | None) -> str | None:
    return str(Path(value).expanduser()) if value else None


def _number(values: Mapping[str, str], key: str, default: float) -> float:
    try:
        return float(values.get(key, default))
    except ValueError as error:
        raise DataError(
            f"pip's configuration: {key} is {values[key]}, not a number", help=f"pip config unset global.{key}"
        ) from error
