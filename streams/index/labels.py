"""Names for people, made from the methodology's slugs."""

from __future__ import annotations

OWN_NAMES = {"cod": "Cash on delivery", "bnpl": "Pay later (BNPL)"}
_CODE_LENGTH = 2


def label(member: str) -> str:
    """Name of a member for people.

    >>> label("mobiles_tablets"), label("sp"), label("cod")
    ('Mobiles tablets', 'SP', 'Cash on delivery')
    """
    if member in OWN_NAMES:
        return OWN_NAMES[member]
    if len(member) <= _CODE_LENGTH:
        return member.upper()
    return member.replace("_", " ").capitalize()
