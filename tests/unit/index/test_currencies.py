from __future__ import annotations

import pytest

from streams.index.currencies import major_units


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (0, "PKR", "0.00"),
        (5, "BDT", "0.05"),
        (123_456_789, "MMK", "1,234,567.89"),
        (-123, "GBP", "-1.23"),
        (1234, "JPY", "1,234"),
        (1234, "KWD", "1.234"),
        (2**70, "PKR", "11,805,916,207,174,113,034.24"),
    ],
)
def test_major_units_are_exact(minor, currency, text):
    assert major_units(minor, currency) == text
