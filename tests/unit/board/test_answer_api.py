"""Answers over real HTTP: who may give them, what a browser may not send, what PagerDuty delivers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json

import aiohttp
import msgspec
import pytest
from support.flow_harness import METHODOLOGY
from support.publications import AS_OF_MS, incident

from streams.board.acknowledgements import SIGNATURE_HEADER
from streams.board.answer_api import ANSWERS_A_MINUTE, AnswerApi, Answering
from streams.board.answer_tokens import Tokens, TokensError, read_tokens
from streams.board.hub import Hub
from streams.board.server import BoardServer
from streams.console.errors import OperationError
from streams.flow.market_answers import GivenAnswers
from streams.index.operator_answers import ACKNOWLEDGED, FALSE_ALARM, Answer
from streams.index.page_budget import PageCount
from streams.index.panes import rfc3339
from streams.publish.incident_records import published_incident

TOKEN, SECRET = "a-token-of-twenty-characters", "hush"
BROKER_AHEAD_MS = 600_000
STOP = published_incident(incident())
MONTH = PageCount(30, 12.5, 4, 1, 2, 1, 0.42, 0.24, 8.77)
FALSE = {"incident": STOP.id, "kind": FALSE_ALARM}
MAY = {"Authorization": f"Bearer {TOKEN}"}


class Board:
    """A board whose answers are kept in a list."""

    def __init__(self, tokens=None, secret=SECRET):
        self.sent = []
        self.away = None
        self.acknowledged = self.verdict = None
        self.steady_ms = 0
        given = Answering(
            Tokens({TOKEN: "aisha"}) if tokens is None else tokens,
            secret,
            METHODOLOGY.markets,
            self._incidents,
            self._pages,
            self._send,
            lambda: AS_OF_MS,
            lambda: self.steady_ms,
        )
        where = {"host": "127.0.0.1", "port": 0, "names": ()}
        self.server = BoardServer(Hub(), lambda: None, **where, answers=AnswerApi(given))

    async def _incidents(self, code):
        answered = GivenAnswers(self.acknowledged, self.verdict, (), None)
        return {STOP.id: published_incident(incident(), answered)} if code == "PK" else {}

    async def _pages(self, code):
        return [MONTH] if code == "PK" else []

    async def _send(self, answer):
        if self.away is not None:
            raise OperationError(self.away)
        self.sent.append(answer)
        return answer._replace(at_ms=answer.at_ms + BROKER_AHEAD_MS)

    async def __aenter__(self):
        self.url = f"http://127.0.0.1:{await self.server.start()}"
        self.session = aiohttp.ClientSession(self.url)
        return self

    async def __aexit__(self, *_):
        await self.session.close()
        await self.server.stop()

    async def post(self, path="/answers", body=FALSE, headers=MAY):
        """Return (status, text)."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | headers
        async with self.session.post(path, data=data, headers=headers) as response:
            return response.status, await response.text()

    async def deliver(self, body, secrets=(SECRET,), headers=None):
        """Deliver as PagerDuty does, signed by each of the secrets."""
        data = json.dumps(body).encode()
        found = (hmac.new(each.encode(), data, hashlib.sha256).hexdigest() for each in secrets)
        signed = {SIGNATURE_HEADER: ",".join(f"v1={each}" for each in found)}
        return await self.post("/pagerduty", data, signed if headers is None else headers)


@pytest.fixture
async def board():
    async with Board() as found:
        yield found


async def test_a_token_answers_in_its_owners_name(board):
    status, text = await board.post()
    assert (status, json.loads(text)["by"], "taken_back" in text) == (200, "aisha", False)
    # It was said to be given when this board's clock says so.
    assert json.loads(text)["at"] == rfc3339(AS_OF_MS + BROKER_AHEAD_MS)
    assert [(each.incident, each.kind, each.by) for each in board.sent] == [
        (STOP.id, FALSE_ALARM, "aisha")
    ]
    status, text = await board.post(body=FALSE | {"taken_back": True})
    assert (status, "no `false_alarm` in force (in force: none)" in text) == (400, True)
    board.verdict = board.sent[0]
    undone, undo = await board.post(body=FALSE | {"taken_back": True})
    assert (undone, board.sent[1].taken_back) == (200, True)
    said = json.loads(undo)
    assert (said.pop("taken_back"), said.pop("at") > rfc3339(AS_OF_MS)) == (True, True)
    assert said == {"kind": FALSE_ALARM, "by": "aisha"}


async def test_following_a_link_changes_nothing(board):
    async with board.session.get("/answers", params=FALSE, headers=MAY) as response:
        how = {"answerable": True, "pagerduty": True, "pages": []}
        assert await response.json() == how
    async with board.session.get("/answers", params={"market": "PK"}) as response:
        assert (await response.json())["pages"] == [msgspec.to_builtins(MONTH)]
    for path in ("/pagerduty", f"/answers/{STOP.id}"):
        async with board.session.get(path, headers=MAY) as response:
            assert response.status in (404, 405)
    assert board.sent == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Cookie": f"token={TOKEN}"}, 401),
        ({"Authorization": "Bearer s\udce9cret"}, 401),
        (MAY | {"Content-Type": "text/plain"}, 415),
        (MAY | {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (MAY | {"Origin": "https://evil.example"}, 403),
        (MAY | {"Origin": "null"}, 403),
        (MAY | {"Origin": "http://["}, 403),
        (MAY | {"Sec-Fetch-Site": "cross-site"}, 403),
        (MAY | {"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
async def test_who_has_no_token_or_comes_from_another_page_is_refused(board, headers, status):
    found = await board.post(headers=headers)
    assert found[0] == status
    assert TOKEN not in found[1]
    assert board.sent == []


async def test_our_own_page_may_answer(board):
    own = {"Origin": board.url, "Sec-Fetch-Site": "same-origin"}
    assert (await board.post(headers=MAY | own))[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 400, "truncated"),
        (FALSE | {"by": "somebody else"}, 400, "unknown field"),
        (FALSE | {"kind": "shrug"}, 400, "expected one of acknowledged"),
        (FALSE | {"incident": "PK"}, 400, "expected MARKET-YYYYMMDDTHHMM"),
        (FALSE | {"incident": "PK-20260101T0000-up"}, 404, "no such incident"),
        (FALSE | {"incident": "XX-20260101T0000-up"}, 404, "no such incident"),
        (FALSE | {"text": "x" * 1_001}, 400, "expected at most 1000"),
        (
            FALSE | {"kind": "note", "text": " \u2003\u200b\n"},
            400,
            "expected what there is to note",
        ),
        (
            FALSE | {"kind": "expected", "until": rfc3339(AS_OF_MS)},
            400,
            f"expected an instant after now ({rfc3339(AS_OF_MS)})",
        ),
        (b" " * 20_000, 413, "more than 16384 bytes"),
        (b'{"incident":"\\ud800","kind":"note"}', 400, "surrogate"),
        (b'{"incident":"\xff","kind":"note"}', 400, "UTF-8"),
    ],
)
async def test_what_breaks_the_contract_is_refused_with_what_was_expected(
    board, body, status, reason
):
    found = await board.post(body=body)
    assert found[0] == status
    assert reason in found[1]
    assert board.sent == []


@pytest.mark.parametrize("path", ["/answers", "/pagerduty"])
async def test_a_body_that_does_not_come_is_not_waited_for(board, monkeypatch, path):
    monkeypatch.setattr("streams.publish.http_server.BODY_S", 0.01)

    async def dribbles():
        yield b"{"
        await asyncio.Event().wait()

    headers = MAY | {"Content-Type": "application/json"}
    async with board.session.post(path, data=dribbles(), headers=headers) as response:
        assert response.status == 408
        assert await response.text() == "expected the whole body within 0.01 s\n"


async def test_without_tokens_the_page_is_read_only():
    async with Board(Tokens({}), None) as board:
        async with board.session.get("/answers") as response:
            how = {"answerable": False, "pagerduty": False, "pages": []}
            assert await response.json() == how
        assert (await board.post()) == (
            403, "nobody may answer here: set answers.tokens_file (docs/security.md)\n"
        )  # fmt: skip
        assert (await board.deliver({}))[0] == 403


async def test_a_script_that_runs_wild_is_held_back_and_brokers_that_are_away_are_said(board):
    board.away = "no broker"
    assert await board.post() == (503, "no broker\n")
    board.away = None
    for _ in range(ANSWERS_A_MINUTE - 1):
        assert (await board.post())[0] == 200
    assert (await board.post())[0] == 429
    board.steady_ms += 60_000
    assert (await board.post())[0] == 200


def delivered(kind="incident.acknowledged", key=STOP.id, **more):
    """A delivery in the shape of PagerDuty's webhooks v3."""
    event = {
        "id": "01DEN0VLD3J3UJBB",
        "event_type": kind,
        "resource_type": "incident",
        "occurred_at": "2023-11-14T22:20:00.000Z",
        "agent": {"id": "PXPGF42", "type": "user_reference", "summary": "Earline Greenholt"},
        "client": None,
        "data": {"id": "PT4KHLK", "type": "incident", "number": 1234, "incident_key": key},
    }
    return {"event": event | more}


async def test_what_is_acknowledged_in_pagerduty_is_acknowledged_here(board):
    assert (await board.deliver(delivered()))[0] == 200
    assert (await board.deliver(delivered(), ("another", SECRET)))[0] == 200
    first, again = board.sent
    assert first == again, "a delivery that comes twice is one answer"
    assert (first.incident, first.kind, first.taken_back) == (STOP.id, ACKNOWLEDGED, False)
    assert first.by == "Earline Greenholt (PagerDuty)"
    board.acknowledged = first
    assert (await board.deliver(delivered("incident.unacknowledged", agent=None)))[0] == 200
    undone = board.sent[-1]
    assert (undone.by, undone.taken_back) == ("somebody (PagerDuty)", True)


async def test_what_we_have_acknowledged_there_does_not_come_back(board):
    ours = {"type": "events_api_v2_inbound_integration_reference", "summary": "ecindex"}
    for agent in (ours, ours | {"type": "service_reference"}, {"summary": "?"}, None):
        assert await board.deliver(delivered(agent=agent)) == (202, "ignored\n")
    gone = delivered("incident.unacknowledged", agent=None)
    assert await board.deliver(gone) == (202, "ignored\n"), "nothing is acknowledged"
    board.acknowledged = Answer(STOP.id, ACKNOWLEDGED, "aisha", AS_OF_MS)
    assert await board.deliver(gone) == (202, "ignored\n"), "she has acknowledged it here"
    assert board.sent == []


async def test_other_deliveries_are_ignored_and_unsigned_ones_refused(board):
    for body in (
        delivered("pagey.ping", data={}),
        delivered("incident.resolved"),
        delivered(key="baf7cf21b1da41b4b0221008339ff357"),
        delivered(key="XX-20260101T0000-up"),
    ):
        assert await board.deliver(body) == (202, "ignored\n")
    assert (await board.deliver(delivered(), ("another",)))[0] == 401
    assert (await board.deliver(delivered(), headers={}))[0] == 401
    assert (await board.deliver({"event": {}}))[0] == 400
    assert (await board.deliver(delivered(occurred_at="now")))[0] == 400
    assert board.sent == []


def test_a_file_of_tokens_names_their_owners(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# who may answer\n\naisha:{TOKEN}\n Bilal Khan : {TOKEN}=2 \n")
    tokens = read_tokens(path)
    assert (tokens.author(TOKEN), tokens.author(f"{TOKEN}=2")) == ("aisha", "Bilal Khan")
    assert tokens.author("") is None
    assert tokens.author("\udce9") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("aisha", "line 1: expected NAME:TOKEN"),
        ("\naisha:short", "line 2: expected NAME:TOKEN"),
        (f"ai|sha:{TOKEN}", "line 1: expected NAME:TOKEN"),
        (f"a:{TOKEN}\nb:{TOKEN}", "line 2: the token of a again"),
    ],
)
def test_a_file_of_tokens_that_is_wrong_is_refused_and_shows_none(tmp_path, text, reason):
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(TokensError, match=reason) as found:
        read_tokens(path)
    assert TOKEN not in str(found.value)
