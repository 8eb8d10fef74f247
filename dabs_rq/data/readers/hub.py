"""The Hugging Face hub: asked once per run, with a time limit. Without an answer the libraries use their caches."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2

_ASKED = "DABS_RQ_HUB_ASKED"  # inherited by the processes of a run, so that they do not ask again
_timeout = 10.0


def set_timeout(seconds: float) -> None:
    """Set how long the hub has for an answer."""
    global _timeout
    _timeout = seconds


def is_offline() -> bool:
    """Return whether the hub is not to be asked: HF_HUB_OFFLINE is set, or it did not answer before."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def reach(what: str) -> None:
    """Find out whether the hub answers, before a library loads `what` from it. Prints who is asked, once per run.

    If it does not answer in time, the libraries are told to use only what is in their caches, so that none waits again.
    """
    from huggingface_hub import constants, set_client_factory

    if is_offline():
        return
    set_client_factory(partial(client, _timeout))  # the library's own client waits for ever
    if os.environ.get(_ASKED):
        return
    os.environ[_ASKED] = "1"
    print(f"asking {constants.ENDPOINT} for {what} (HF_HUB_OFFLINE=1 uses only what was loaded before)", flush=True)
    import httpx2

    try:
        with client(_timeout) as asked:
            asked.head(constants.ENDPOINT)
    except (httpx2.HTTPError, OSError) as error:
        why = str(error) or type(error).__name__
        print(f"{constants.ENDPOINT} does not answer ({why}); only what was loaded before is used", flush=True)
        _go_offline()


def client(timeout: float) -> httpx2.Client:
    """Make a client of the hub that waits `timeout` seconds for an answer."""
    import httpx2
    from huggingface_hub.utils._http import default_client_factory

    made = default_client_factory()
    made.timeout = httpx2.Timeout(timeout)
    return made


def _go_offline() -> None:
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"  # for the processes of this run
    constants.HF_HUB_OFFLINE = True
    if (datasets := sys.modules.get("datasets")) is not None:
        datasets.config.HF_HUB_OFFLINE = True
