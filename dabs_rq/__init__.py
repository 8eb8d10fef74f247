"""Scores encoders on the tasks of DABS. The names below are loaded when they are first used, so that importing the
package is quick; `docs/score-your-encoder.md` explains them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dabs_rq.api import evaluate as evaluate
    from dabs_rq.api import features as features
    from dabs_rq.api import load as load
    from dabs_rq.api import results as results

    __version__: str

__all__ = ["__version__", "evaluate", "features", "load", "results"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version(__name__)
    if name in __all__:
        from dabs_rq import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
