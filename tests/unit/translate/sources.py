"""Source files for tests: small ones that say what a test is about."""

from __future__ import annotations

import json

from streams.translate.compiled_source import compile_source

FILE = """
name = "shop"
format = "json"
{more}

[order]
id = "id"
market = {{ constant = "DE" }}
currency = "currency"
placed_at = "at"
{order}

[order.lines]
each = "lines"
id = "id"
quantity = "quantity"
{lines}
"""
RECORD = {
    "id": 7,
    "currency": "EUR",
    "at": "2026-11-24T10:00:00Z",
    "lines": [{"id": 1, "quantity": 2, "total": "20.00"}],
}


def source(*, order="", lines='amount = "total"', more=""):
    """A compiled source of whole orders."""
    return compile_source(FILE.format(order=order, lines=lines, more=more))


def read(compiled, **fields):
    """What the record says, with other fields; an Ignored or RefusedRecord if that is what it is."""
    found = compiled.read(json.dumps(RECORD | fields).encode())
    return found[0] if isinstance(found, list) else found
