"""Commands that page, alerts and documents show for an incident are accepted when they are typed."""

from __future__ import annotations

import json
import shlex

import pytest
from msgspec import structs
from support.documented import (
    INCIDENT,
    PAGES,
    advised,
    alert_descriptions,
    filled_in,
    spans,
)
from support.methodologies import DEMO
from support.publications import incident, incident_shift
from support.shopfloor import shift_record
from typer.testing import CliRunner

from streams.board.shown_incidents import incidents_of
from streams.board.shown_shifts import active, expect_command
from streams.cli.commands import app
from streams.clock import now_ms
from streams.index.instants import parse_instant
from streams.index.operator_answers import EXPECTED
from streams.index.panes import HOUR_MS
from streams.publish.incident_records import published_incident
from streams.publish.incident_words import MarketNaming
from streams.settings import load_methodology

ENVIRONMENT = {"ECINDEX_CONFIG": None, "ECINDEX_METHODOLOGY": str(DEMO)}
STOP = incident()
UNPAID = incident(incident_shift("payment_failure", "cod", direction=1))
PK = MarketNaming("Pakistan", "PKR", "Asia/Karachi")


def answers_of(commands):
    """Those about shifts that name more than the command itself."""
    return sorted(
        {each for each in commands if each.startswith(("ecindex answer ", "ecindex expect "))}
    )


DOCUMENTED = answers_of(command for page in PAGES for command in spans(page))
ADVISED = answers_of(command for _, text in alert_descriptions() for command in advised(text))


async def declared_markets(settings):
    """The markets of an installation that no definitions were applied to."""
    return load_methodology(settings).markets


@pytest.fixture
def typed(monkeypatch):
    """Types a command where these incidents go on; returns what it sends."""

    def typed(command, *going):
        sent = []
        known = {each.id: published_incident(each) for each in going}
        if not known:
            known[STOP.id] = published_incident(STOP)

        async def send(*found):
            sent.extend(found)
            return found[0]

        monkeypatch.setattr("streams.operate.answering.read_known", lambda *_: known)
        monkeypatch.setattr("streams.operate.answering.sending", lambda _: send)
        monkeypatch.setattr("streams.operate.seeding.send_history", send)
        monkeypatch.setattr("streams.operate.seeding.markets_in_force", declared_markets)
        done = CliRunner().invoke(app, shlex.split(command)[1:], env=ENVIRONMENT)
        assert done.exit_code == 0, f"{command}: {done.output}"
        return sent, done.stdout

    return typed


def test_there_are_commands_and_their_placeholders_are_the_only_ones():
    assert STOP.id == INCIDENT
    assert len(DOCUMENTED) >= 4
    assert {each.split(maxsplit=3)[3] for each in ADVISED} == {"ack", "expected --until TIME"}


@pytest.mark.parametrize("command", [*DOCUMENTED, *ADVISED])
def test_what_documents_and_alerts_say_is_accepted(typed, tmp_path, command):
    named = [part for part in command.split() if part.endswith(("-up", "-down"))]
    going = [structs.replace(STOP, id=name) for name in named]
    sent, _ = typed(filled_in(command, tmp_path), *going)
    assert sent


@pytest.mark.parametrize("going", [STOP, UNPAID], ids=["stop", "unpaid"])
def test_the_command_of_a_card_is_accepted_years_after_the_incident_began(typed, going):
    """It named hours that were over, and its factor was refused: an outage is below 0.001."""
    tiny = structs.replace(published_incident(going).size, ratio=0.0003)
    text = json.dumps(structs.asdict(published_incident(going)), default=structs.asdict)
    shown = json.loads(text) | {"size": structs.asdict(tiny)}
    (card,) = incidents_of({going.id: json.dumps(shown)}, {}, PK).open
    (answer,), output = typed(card.command, going)
    assert (answer.incident, answer.kind) == (going.id, EXPECTED)
    assert answer.until_ms > now_ms() + 5 * HOUR_MS
    assert f"silenced until then: every shift of {going.id}" in output


@pytest.mark.parametrize(
    ("record", "factor"),
    [
        (shift_record(ratio=0.0003), 0.0),
        (shift_record(ratio=1e9), 1_000.0),
        (shift_record(ratio=123.4), 120.0),
        ("{}", None),
        (shift_record(start="2099-01-01T00:00:00.000Z"), 5.9),
    ],
)
def test_the_command_of_a_shift_without_a_card_is_accepted_and_in_force_now(typed, record, factor):
    (shift,) = active({"category:books": record})
    shift = structs.replace(shift, member="beauty_grooming", dimension="category")
    _, output = typed(f"{expect_command('PK', shift, now_ms())} --json")
    declared = json.loads(output)
    assert declared["factor"] == factor
    assert parse_instant(declared["start"]) <= now_ms()
    assert parse_instant(declared["end"]) >= now_ms() + 6 * HOUR_MS
