"""A dataset on the Hugging Face Hub: the same files as on disk, read over HTTP by ranges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, cast

from albor.config.schema.sources import HubSource
from albor.data.errors import DataError
from albor.data.sources.base import Kind, Rejected, Task, no_fetch
from albor.data.sources.store import File, checked

if TYPE_CHECKING:
    from albor.data.documents import Document

COMMIT = re.compile("[0-9a-f]{40}")
BLOCK = 4 << 20
"""Bytes per request."""
BLOCKS = 16
"""Blocks that an open file keeps: the columns of Parquet are read side by side."""


@dataclass(frozen=True)
class Hub:
    """The files of a dataset repository at one revision; a file is called by its path there."""

    repository: str
    revision: str
    paths: tuple[str, ...]

    def files(self) -> list[File]:
        from huggingface_hub import HfFileSystem

        found: dict[str, File] = {}
        for pattern in self.paths:
            with self.refusing(pattern):
                entries = HfFileSystem().glob(self._address(pattern), detail=True)
            files = [
                File(address[len(self._address("")) :], info["size"], info["blob_id"])
                for address, info in sorted(entries.items())
                if info["type"] == "file"
            ]
            found |= {file.name: file for file in checked(pattern, files)}
        return list(found.values())

    def open(self, name: str) -> IO[bytes]:
        from huggingface_hub import HfFileSystem

        # Read-ahead would fetch the same bytes over and over when columns are read side by side.
        opened = HfFileSystem().open(
            self._address(name), "rb", block_size=BLOCK, cache_type="blockcache", cache_options={"maxblocks": BLOCKS}
        )
        return cast(IO[bytes], opened)

    def pinned(self) -> Hub:
        """At the commit that the revision is now.

        Raises:
            DataError: there is no such repository or revision, it may not be read, or the Hub cannot be reached.
        """
        from huggingface_hub import HfApi

        if COMMIT.fullmatch(self.revision):
            return self
        with self.refusing(""):
            commit = HfApi().dataset_info(self.repository, revision=self.revision).sha
        return replace(self, revision=cast(str, commit))

    @contextmanager
    def refusing(self, name: str) -> Iterator[None]:
        import httpx2
        from huggingface_hub import errors

        where = f"{self.repository}@{self.revision}" + (f", {name}" if name else "")
        try:
            yield
        except errors.GatedRepoError as error:
            raise DataError(
                f"{where}: access must be granted first",
                help=f"accept the terms at huggingface.co/datasets/{self.repository}, then `hf auth login`",
            ) from error
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
            raise self._missing(where) from error
        except (errors.OfflineModeIsEnabled, httpx2.HTTPError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"{where}: the Hub cannot be read: {reason}",
                help="check the connection, HF_ENDPOINT and HF_HUB_OFFLINE",
            ) from error
        except (errors.EntryNotFoundError, FileNotFoundError) as error:
            raise self._missing(where) from error

    def _missing(self, where: str) -> DataError:
        return DataError(
            f"{where} is not on the Hub, or not for you to see",
            help="check data.source.repository, revision and paths; for a private dataset `hf auth login`",
        )

    def _address(self, path: str) -> str:
        return f"datasets/{self.repository}@{self.revision.replace('/', '%2F')}/{path}"


def fingerprint(source: HubSource) -> dict[str, str]:
    """A commit in the config says it all; any other revision is taken by its name, for the planner asks no network."""
    return {} if COMMIT.fullmatch(source.revision) else {"revision": source.revision}


def tasks(source: HubSource, name: str, limit: int | None, max_characters: int) -> list[Task]:
    from albor.data.sources import row_tasks

    hub = Hub(source.repository, source.revision, source.paths).pinned()
    # The tasks name the commit, so that all of them read the same content, however long they take.
    return row_tasks.tasks(hub, replace(source, revision=hub.revision), name, limit, max_characters)


def read(task: Task) -> Iterator[Document | Rejected]:
    from albor.data.sources import rows

    source = task.source
    assert isinstance(source, HubSource)
    return rows.read(Hub(source.repository, source.revision, source.paths), task)


KIND = Kind(fingerprint=fingerprint, fetch=no_fetch, tasks=tasks, read=read)
