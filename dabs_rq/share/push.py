"""Sends the contents of a bundle to a model repository of the Hugging Face hub, in one commit."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dabs_rq.data.readers import hub
from dabs_rq.errors import HubError, OptionError, first_line
from dabs_rq.share import contents

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

_OWN = (".gitattributes",)  # the hub's own file in every repository
_FOLDERS = (f"{contents.RUNS}/", f"{contents.SPLITS}/")


def check_repo(repo: str) -> None:
    """Raise OptionError unless `repo` is user/name, as the hub takes it."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise OptionError(f"repo {repo!r}: {first_line(error)}") from error
    if "/" not in repo:
        raise OptionError(f"repo {repo!r}: expected user/name or organisation/name (make: REPO=user/name)")


def listing(folder: Path, repo: str) -> str:
    """Return what would be sent, and how much."""
    from huggingface_hub import constants

    files = [(name, file.stat().st_size) for name, file in contents.files_of(folder)]
    lines = [f"{size:>13,}  {name}" for name, size in files]
    total = sum(size for _, size in files)
    return "\n".join([*lines, f"{len(files)} files, {total:,} bytes, to {repo} at {constants.ENDPOINT}"])


def push(folder: Path, repo: str, *, create: bool, timeout: float, endpoint: str | None = None) -> str:
    """Send the files of a bundle's folder to the repository `repo` in one commit. Returns the commit's address.

    Files of an earlier bundle that are not in this one are removed there; other files stay. The token is that of
    HF_TOKEN or `hf auth login`. create: make the repository, private, if it is not there. timeout: seconds without an
    answer. endpoint: of the hub, by default HF_ENDPOINT.
    Raises HubError without a token or a connection, for a repository that is not there or not to be written, and for
    one that has files of the same names from somebody else.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token

    endpoint = endpoint or constants.ENDPOINT
    if constants.is_offline_mode():
        raise HubError("HF_HUB_OFFLINE is set, so nothing is sent; unset it, or use --dry-run (DRY_RUN=1)")
    if (token := get_token()) is None:
        raise HubError(
            "no token for the hub: set HF_TOKEN, or log in with `hf auth login`. It needs the right to write to "
            f"{repo}."
        )
    names = dict(contents.files_of(folder))
    with _told(repo, endpoint, token, timeout):
        api = HfApi(endpoint=endpoint, token=token, library_name="dabs_rq")
        info = _repository(api, repo, create, timeout)
        there = {sibling.rfilename for sibling in info.siblings or ()}
        old = _files_of_manifest(api, repo, token) if contents.MANIFEST in there else None
        if old is None and (theirs := sorted((there & names.keys()) - set(_OWN))):
            raise HubError(
                f"{repo} has {', '.join(theirs)}, which no bundle of dabs_rq wrote; they stay as they are. Give an "
                "empty repository, or another name."
            )
        gone = sorted((set(old or ()) & there) - names.keys())
        operations: list[Any] = [CommitOperationAdd(name, file) for name, file in names.items()]
        operations += [CommitOperationDelete(name) for name in gone]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
            commit = api.create_commit(repo, operations, commit_message="Results of dabs_rq")
    return str(commit.commit_url)


def _repository(api: HfApi, repo: str, create: bool, timeout: float) -> ModelInfo:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.model_info(repo, timeout=timeout)
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:  # the hub says so of a wrong token too
            raise
        if not create:
            raise HubError(
                f"{api.endpoint} has no model repository {repo}, or this token may not see it. --create (CREATE=1) "
                "makes it, as a private one."
            ) from error
    api.create_repo(repo, private=True, exist_ok=True)
    return api.model_info(repo, timeout=timeout)


def _files_of_manifest(api: HfApi, repo: str, token: str) -> list[str] | None:
    """Return the names below `_FOLDERS` in the manifest of the bundle that the repository holds; None if it is none of
    ours."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(repo, contents.MANIFEST, endpoint=api.endpoint)
    answer = get_session().get(url, headers=build_hf_headers(token=token))
    hf_raise_for_status(answer)
    try:
        manifest = json.loads(answer.content)
        if str(manifest["made_by"]).startswith("dabs_rq "):
            # Whoever wrote the manifest, only files where bundles have theirs may be removed.
            return [name for name in dict(manifest["files"]) if str(name).startswith(_FOLDERS)]
    except (ValueError, KeyError, TypeError):
        pass
    return None


@contextmanager
def _told(repo: str, endpoint: str, token: str, timeout: float) -> Iterator[None]:
    """Give the hub `timeout` seconds for each answer in this block, and raise HubError for what it answers."""
    import httpx2
    from huggingface_hub import set_client_factory
    from huggingface_hub.errors import HfHubHTTPError

    set_client_factory(partial(hub.client, timeout))  # the library's own client waits for ever
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = {
            401: "the token is not valid: set HF_TOKEN, or log in again",
            403: "this token may not write there",
            404: "there is no such repository",
        }.get(status, first_line(error))
        raise HubError(
            f"{endpoint} refused {repo} ({status}): {_without(token, why)}. Nothing was committed."
        ) from None
    except ValueError as error:
        why = _without(token, first_line(error))
        raise HubError(f"{endpoint} does not take the contents: {why}. Nothing was committed.") from None
    except (httpx2.HTTPError, OSError) as error:
        why = _without(token, f"{type(error).__name__}: {first_line(error)}")
        raise HubError(
            f"{endpoint} does not answer ({why}). network.hub_timeout={timeout:g} is how many seconds it has. Look at "
            f"{repo} before you send it again: the commit is whole or not there."
        ) from None


def _without(token: str, text: str) -> str:
    return text.replace(token, "<token>")
