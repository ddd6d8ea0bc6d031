"""Event ids are remembered as 64-bit hashes."""

from __future__ import annotations

ID_SEED = 0x65_63_69_6E_64_65_78
"""Seed of the hashes. It never changes: a replay would not recognize its own ids."""
