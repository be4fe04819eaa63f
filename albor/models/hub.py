"""The Hugging Face Hub: checkpoints from there, safetensors and JSON only, no code; exported models to there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from albor.errors import AlborError
from albor.models.errors import ModelError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError


class HubError(AlborError):
    """The Hub cannot be reached, or refuses."""

    code = "E-HUB"


def fetch(name: str) -> Path:
    """The local copy of a Hub repository ``org/name`` or ``org/name@revision``, downloaded when it is not cached.

    Raises ModelError.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        repository, _, revision = name.partition("@")
        return Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=["*.safetensors", "*.json"])
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        cause = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{name} cannot be fetched from the Hugging Face Hub: {cause}",
            help="check the name and the connection, log in for a gated model, or give a local directory",
        ) from None


def refuse_name(repository: str) -> None:
    """Raises HubError when a model cannot have this name on the Hub."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError:
        valid = False
    else:
        valid = "/" in repository
    if not valid:
        raise HubError(
            f"'{repository}' is no name that a model can have on the Hub",
            "write stage.repo=ORG/NAME, both of letters, digits and single - _ . between them",
            place="stage.repo",
        )


def refuse_stranger(repository: str) -> None:
    """Raises HubError when the Hub cannot be reached, or the token of this machine may not write to ``repository``."""
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise HubError("no token for the Hugging Face Hub is known here", "`hf auth login`, or set HF_TOKEN")
    with refusing(repository):
        known = HfApi().whoami()
        names = [known["name"], *(org["name"] for org in known.get("orgs") or [])]
    owner, _, _ = repository.partition("/")
    if owner.casefold() not in {name.casefold() for name in names}:
        raise HubError(
            f"the token is {names[0]}'s, who does not belong to {owner}",
            f"stage.repo=NAME/… with NAME one of {', '.join(names)}; or another token in HF_TOKEN",
            place="stage.repo",
        )


def push(directory: Path, repository: str, *, private: bool, revision: str | None, message: str) -> str:
    """Uploads every file of a directory in one commit, to a repository that is made when there is none; returns the
    commit's address.

    ``private`` says how a new repository is made; one that is there stays as it is. Other files in it are left alone.
    Raises HubError.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with refusing(repository):
        api.create_repo(repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        made = api.upload_folder(folder_path=directory, repo_id=repository, revision=revision, commit_message=message)
    return str(made.commit_url)


@contextmanager
def refusing(repository: str) -> Iterator[None]:
    """Turns what the client raises into one cause and a fix."""
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except (httpx2.HTTPError, OfflineModeIsEnabled, OSError, RuntimeError, ValueError, LookupError) as error:
        found = beneath(error)
        if isinstance(found, HfHubHTTPError):
            raise said(found, repository) from None
        reason = (str(found).strip().splitlines() or [type(found).__name__])[0]
        what = "is not understood" if isinstance(found, (ValueError, LookupError)) else "cannot be reached"
        broken = HubError(
            f"the Hub at {constants.ENDPOINT} {what}: {reason}",
            "check the connection, HF_ENDPOINT and HF_HUB_OFFLINE; the same command goes on with what is missing",
        )
        broken.exit_code = 1
        raise broken from None


def beneath(error: BaseException) -> BaseException:
    """What the Hub answered, or else what went wrong first: the client wraps both."""
    from huggingface_hub.errors import HfHubHTTPError

    while error.__cause__ is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    return error


def said(refused: HfHubHTTPError, repository: str) -> HubError:
    """The Hub's refusal, by its status."""
    status = refused.response.status_code
    reason = refused.server_message or f"status {status}"
    fixes = {
        400: "change what it names; the card's metadata come from stage.licence and stage.base_models of the export",
        401: "the token is not valid (any more): `hf auth login`, or set HF_TOKEN",
        403: "take a token that may write there, or another stage.repo",
        404: "check stage.repo and stage.revision, and that the token may see it",
        409: "it was changed at the same time: give the same command again",
        429: "wait a few minutes and give the same command again",
    }
    error = HubError(
        f"the Hub refuses {repository} ({status}): {reason}",
        fixes.get(status, "give the same command again; status.huggingface.co says whether the Hub is ill"),
    )
    error.exit_code = 1 if status >= 500 or status in (409, 429) else 2
    return error
