"""Values as text: plain decimals that read back the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.index.values import decimal


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12, "12"),
        (12.0, "12"),
        (0.5, "0.5"),
        (1e-07, "0.0000001"),
        (-2.5e-10, "-0.00000000025"),
        (1e22, "10000000000000000000000"),
        (-1.5e16, "-15000000000000000"),
        (0.0, "0"),
    ],
)
def test_a_decimal_has_no_exponent(value, text):
    assert decimal(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 2**63 - 1))
def test_a_decimal_reads_back_the_same(value):
    text = decimal(value)
    assert "e" not in text
    assert type(value)(text) == value
