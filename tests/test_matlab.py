"""MATLAB 5 files: read as SciPy reads them, or refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import loadmat, savemat

from dabs_rq.domains.images.matlab import read_variable

KINDS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def written(variables: dict[str, object], *, compressed: bool = False) -> bytes:
    content = io.BytesIO()
    savemat(content, variables, do_compression=compressed)
    return content.getvalue()


@given(
    values=st.sampled_from(KINDS).flatmap(
        lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=6))
    ),
    compressed=st.booleans(),
)
def test_numbers_are_those_that_scipy_reads(values: np.ndarray, compressed: bool) -> None:
    content = written({"a": np.ones((2, 3)), "labels": values, "z": np.zeros((1, 1))}, compressed=compressed)
    expected, found = loadmat(io.BytesIO(content))["labels"], read_variable(content, "labels")
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("variable", ["text", {"a": 1}, np.array([1 + 2j]), np.array(["a", 1], object)], ids=str)
def test_what_is_not_an_array_of_real_numbers_is_refused(variable: object) -> None:
    with pytest.raises(ValueError, match="not an array of real numbers"):
        read_variable(written({"labels": variable}), "labels")


def test_what_is_missing_cut_or_bloated_is_refused() -> None:
    labels = np.arange(100, dtype=np.uint8)[None]
    for compressed in (False, True):
        content = written({"labels": labels}, compressed=compressed)
        with pytest.raises(ValueError, match="no variable 'label'"):
            read_variable(content, "label")
        for end in range(len(content) - 1, 0, -7):
            with pytest.raises(
                ValueError, match=r"not a MATLAB 5 file|no variable|cut short|longer than what holds it"
            ):
                read_variable(content[:end], "labels")
    with pytest.raises(ValueError, match="has more than"):
        read_variable(written({"labels": np.zeros((1, 17 << 20), np.uint8)}, compressed=True), "labels")
