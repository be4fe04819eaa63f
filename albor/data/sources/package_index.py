"""A package index by the Simple API (PEP 503 and PEP 691): finding an archive by its SHA-256, and downloading it.

Nothing of a package is run: `pip download` would run the build script of every source archive to learn its name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from albor.data.errors import DataError
from albor.data.sources.base import expand
from albor.data.sources.index_pages import Link, Pin, differs, html_links, json_links, local_links
from albor.data.sources.pip_config import PipConfig
from albor.runs.files import CHUNK, atomic_path, sha256_file

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
ATTEMPTS = 3
"""Downloads of one archive that may break off."""
CONNECTIONS = 8
MAX_DOWNLOAD = 2 << 30
"""Bytes of one archive; no real source archive comes near."""


class _Unreachable(Exception):
    """An address gave no answer, or a refusal; the message is one sentence."""


class PackageIndex:
    """The indexes of a pip configuration. Downloads may run in several threads."""

    def __init__(self, config: PipConfig) -> None:
        self._config = config
        self._session = requests.Session()
        retry = Retry(
            total=config.retries,
            connect=min(2, config.retries),
            backoff_factor=0.3,
            status_forcelist=(429, 500, 502, 503, 504),
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=CONNECTIONS))
        if config.proxy:
            self._session.proxies = {"http": config.proxy, "https": config.proxy}
        self._session.cert = config.client_cert
        self._credentials = dict(filter(None, map(_credentials, config.indexes + config.find_links)))

    def download(self, pin: Pin, path: Path) -> None:
        """Put the pinned archive at ``path``: whole and of that SHA-256, or not at all.

        Raises:
            DataError: no index has it, none can be reached, or what came is something else.
        """
        link = self._find(pin)
        with atomic_path(path) as temporary:
            try:
                self._save(link.url, temporary)
            except _Unreachable as error:
                raise _offline(pin, [str(error)]) from error
            if (found := sha256_file(temporary)) != pin.sha256:
                raise differs(pin, found, "nothing was kept; is the index, or a proxy on the way to it, to be trusted?")

    def _find(self, pin: Pin) -> Link:
        failures: list[str] = []
        offered: list[Link] = []
        unnamed: list[Link] = []
        for page in self._pages(pin.name):
            try:
                links = list(self._links(page))
            except _Unreachable as error:
                failures.append(str(error))
                continue
            for link in links:
                if link.sha256 == pin.sha256:
                    return link
                if link.may_be(pin):
                    (offered if link.sha256 else unnamed).append(link)
        if unnamed:
            # An index need not give SHA-256; the download is checked in any case.
            return unnamed[0]
        if failures:
            raise _offline(pin, failures)
        known = ", ".join(str(link.sha256) for link in offered) or "no source archive of that version"
        raise DataError(
            f"no package index has {pin} with SHA-256 {pin.sha256}; they have {known}",
            help=f"correct data.source.packages.{pin.name}, or name another index: PIP_INDEX_URL=https://…/simple",
        )

    def offers(self, name: str) -> list[Link]:
        """Every file that the indexes have of a project.

        Raises:
            DataError: one of them cannot be reached.
        """
        try:
            return [link for page in self._pages(name) for link in self._links(page)]
        except _Unreachable as error:
            raise _offline(name, [str(error)]) from error

    def _pages(self, name: str) -> Iterator[str]:
        yield from self._config.find_links
        for index in self._config.indexes:
            yield f"{index.rstrip('/')}/{name}/"

    def _links(self, page: str) -> Iterator[Link]:
        """What a page offers; nothing where there is no such page."""
        if (path := _local(page)) is not None:
            yield from local_links(path)
            return
        with self._get(page, accept=ACCEPT) as answer:
            if answer.status_code == 404:
                return
            _check(answer)
            try:
                read = json_links if "json" in answer.headers.get("Content-Type", "") else html_links
                # A page from elsewhere has no say about files of this machine.
                yield from (link for link in read(answer.text, answer.url) if _is_remote(link.url))
            except requests.RequestException as error:
                raise _Unreachable(_sentence(page, error)) from error
            except (ValueError, KeyError, TypeError) as error:
                raise _Unreachable(f"{_bare(page)} is no page of a package index") from error

    def _save(self, url: str, path: Path) -> None:
        if (source := _local(url)) is not None:
            shutil.copyfile(source, path)
            return
        for attempt in range(1, ATTEMPTS + 1):
            try:
                # What is packed is wanted as it is: a server may unpack it on the way otherwise.
                with self._get(url, accept="*/*") as answer, path.open("wb") as file:
                    _check(answer)
                    _copy(answer, file)
                return
            except requests.RequestException as error:
                if attempt == ATTEMPTS:
                    raise _Unreachable(_sentence(url, error)) from error

    def _get(self, url: str, *, accept: str) -> requests.Response:
        host = urlsplit(url).netloc.rpartition("@")[2]
        trusted = {host, host.partition(":")[0]} & set(self._config.trusted_hosts)
        try:
            return self._session.get(
                _bare(url),
                auth=self._credentials.get(host),
                headers={"Accept": accept, "Accept-Encoding": "identity"},
                stream=True,
                timeout=self._config.timeout,
                verify=False if trusted else self._config.cert or True,
            )
        except requests.RequestException as error:
            raise _Unreachable(_sentence(url, error)) from error


def _offline(pin: Pin | str, failures: list[str]) -> DataError:
    return DataError(
        f"{pin} could not be downloaded: {'; '.join(failures)}",
        help="check the connection, or name an index that can be reached: PIP_INDEX_URL=https://…/simple",
    )


def _copy(answer: requests.Response, file: IO[bytes]) -> None:
    stated = answer.headers.get("Content-Length", "")
    size = int(stated) if stated.isdecimal() else 0
    for chunk in chain([b""], answer.iter_content(CHUNK)):
        size = max(size, file.tell() + len(chunk))
        if size > MAX_DOWNLOAD:
            raise DataError(
                f"{_bare(answer.url)} is larger than {MAX_DOWNLOAD:,} bytes",
                help="take it out of data.source.packages, or name another index: PIP_INDEX_URL=https://…/simple",
            )
        file.write(chunk)


def _check(answer: requests.Response) -> None:
    if answer.status_code != 200:
        raise _Unreachable(f"{_bare(answer.url)} answers {answer.status_code} {answer.reason}")


def _sentence(url: str, error: requests.RequestException) -> str:
    """Where and why, without the chain of objects that urllib3 prints."""
    inner = error.args[0] if error.args else error
    why = str(getattr(inner, "reason", inner)).rpartition(": ")[2]
    return f"{_bare(url)} cannot be reached ({why})"


def _credentials(url: str) -> tuple[str, tuple[str, str]] | None:
    """Host to user and password; an index's files are often on its host, their URLs without either."""
    parts = urlsplit(url)
    if parts.username is None:
        return None
    return parts.netloc.rpartition("@")[2], (unquote(parts.username), unquote(parts.password or ""))


def _bare(url: str) -> str:
    """Without the password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _is_remote(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _local(address: str) -> Path | None:
    if address.startswith("file:"):
        return Path(url2pathname(urlsplit(address).path))
    return None if "://" in address else expand(address)
