"""Amounts in minor units as text in major units, exact at any width."""

from __future__ import annotations

_EXPONENTS = {
    **dict.fromkeys(
        (
            "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI",
            "VND", "VUV", "XAF", "XOF", "XPF",
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}  # fmt: skip
_DEFAULT_EXPONENT = 2


def exponent(currency: str) -> int:
    """Decimal digits of the minor unit by ISO 4217: 2, except for the currencies listed above.

    >>> exponent("PKR"), exponent("JPY"), exponent("KWD")
    (2, 0, 3)
    """
    return _EXPONENTS.get(currency, _DEFAULT_EXPONENT)


def major_units(minor: int, currency: str) -> str:
    """Amount in major units with thousands separators.

    >>> major_units(123456789, "PKR"), major_units(-5, "GBP"), major_units(1234, "JPY")
    ('1,234,567.89', '-0.05', '1,234')
    """
    digits = exponent(currency)
    whole, rest = divmod(abs(minor), 10**digits)
    fraction = f".{rest:0{digits}d}" if digits else ""
    return f"{'-' if minor < 0 else ''}{whole:,}{fraction}"
