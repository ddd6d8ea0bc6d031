"""Event ids are remembered as 64-bit hashes."""

from __future__ import annotations

ID_SEED = 0x65_63_69_6E_64_65_78
"""Key of the hashes: fixed for ever, or a replay would not know its own ids."""
