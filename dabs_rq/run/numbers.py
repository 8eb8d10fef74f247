"""The types of numbers and paths that options take, with their legal ranges."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag


def _not_bool(value: Any) -> Any:
    """true is 1 for Python, but nobody means that."""
    if isinstance(value, bool):
        raise ValueError("a whole number")
    return value


def _number_or_auto(value: Any) -> Any:
    """Refuse other words than auto, and true."""
    with contextlib.suppress(TypeError, ValueError):
        if not isinstance(value, bool):
            float(value)
            return value
    raise ValueError("a number or auto")


def _kind(value: Any) -> str:
    return "auto" if value == "auto" else "number"


def _without_null(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path without a null character")
    return path


Count = Annotated[int, BeforeValidator(_not_bool), Field(ge=1, le=2**31 - 1)]
Processes = Annotated[int, BeforeValidator(_not_bool), Field(ge=1, le=4096)]
Seed = Annotated[int, BeforeValidator(_not_bool), Field(ge=0, le=2**32 - 1)]
Positive = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False), AfterValidator(abs)]  # -0: one variant with 0
Auto = Annotated[Literal["auto"], Tag("auto")]
Readers = Annotated[int, Field(ge=0, le=4096), BeforeValidator(_number_or_auto), Tag("number")]
Gigabytes = Annotated[NotNegative, BeforeValidator(_number_or_auto), Tag("number")]
Place = Annotated[Path, AfterValidator(_without_null)]
ReadersOrAuto = Annotated[Readers | Auto, Discriminator(_kind)]
GigabytesOrAuto = Annotated[Gigabytes | Auto, Discriminator(_kind)]
