"""Slack, PagerDuty, a mail server, a webhook and Prometheus, as far as messages need them.

Each listens on loopback in the test's own loop and refuses what the real one refuses, by the vendor's
reference: https://docs.slack.dev/reference/block-kit/blocks and the Events API v2 of PagerDuty.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
from email import message_from_bytes, policy

import jsonschema
from aiohttp import web
from aiosmtpd.smtp import SMTP

TOKEN = "xoxb-1-local"
CHANNEL = "C0123456789"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
SECRET = "webhook-key"


@contextlib.asynccontextmanager
async def serving(*routes):
    """Serve (method, path, handler) on a free port; yield the address."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    for method, path, handler in routes:
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


class Vendor:
    """Answers are those of the real one unless ``next_answers`` has some: (status, headers, body)."""

    def __init__(self):
        self.url = ""
        self.next_answers = []
        self.calls = []

    def instead(self, what):
        self.calls.append(what)
        if not self.next_answers:
            return None
        status, headers, body = self.next_answers.pop(0)
        if isinstance(body, dict):
            return web.json_response(body, status=status, headers=headers)
        return web.Response(status=status, headers=headers, text=body)


# -- Slack ---------------------------------------------------------------------------------------

LIMITS = {"header": 150, "section": 3_000}


def text_object(found, most, *, kinds=("plain_text", "mrkdwn")):
    assert found["type"] in kinds, found
    assert set(found) <= {
        "type",
        "text",
        *(("emoji",) if found["type"] == "plain_text" else ("verbatim",)),
    }
    assert 1 <= len(found["text"]) <= most, f"{len(found['text'])} of {most} characters"


def check_block(block, files):
    kind = block["type"]
    assert len(block.get("block_id", "")) <= 255
    if kind == "header":
        assert set(block) <= {"type", "text", "block_id"}
        text_object(block["text"], 150, kinds=("plain_text",))
    elif kind == "section":
        assert set(block) <= {"type", "text", "block_id", "fields", "accessory", "expand"}
        assert "text" in block or "fields" in block
        if "text" in block:
            text_object(block["text"], 3_000)
        assert len(block.get("fields", ())) <= 10
        for field in block.get("fields", ()):
            text_object(field, 2_000)
    elif kind == "rich_text":
        assert set(block) <= {"type", "elements", "block_id"}
        for section in block["elements"]:
            assert section["type"] == "rich_text_section"
            assert section["elements"]
            for part in section["elements"]:
                assert part["type"] in ("text", "link")
                assert set(part) <= {"type", "text", "style", "url"}
                assert part["text"]
                if part["type"] == "link":
                    assert re.fullmatch(r"https?://[!-~]+", part["url"])
    elif kind == "context":
        assert 1 <= len(block["elements"]) <= 10
        for element in block["elements"]:
            text_object(element, 3_000)
    elif kind == "image":
        assert set(block) <= {"type", "alt_text", "slack_file", "image_url", "title", "block_id"}
        assert 1 <= len(block["alt_text"]) <= 2_000
        assert ("slack_file" in block) != ("image_url" in block)
        found = block["slack_file"]
        assert set(found) in ({"id"}, {"url"}), "either of both"
        assert re.fullmatch("F[A-Z0-9]{8,}", found["id"])
        assert files.get(found["id"]) == 0, "invalid slack file"
    else:
        assert kind == "divider", kind


class LocalSlack(Vendor):
    """A workspace with one channel, which the bot is in."""

    def __init__(self, scans=0):
        super().__init__()
        self.scans = scans
        self.posted, self.updated, self.uploaded = [], [], {}
        self.no_thread = None
        """Error of each reply, where none is taken."""
        self.refused = {}
        """Error of each method that is not taken, by its name."""
        self.files = {}
        """How often a file is still refused, by its id."""

    @contextlib.asynccontextmanager
    async def serving(self):
        async with serving(
            ("POST", "/api/{method}", self._api), ("POST", "/upload/{id}", self._upload)
        ) as self.url:
            yield self

    async def _upload(self, request):
        body = await request.read()
        if body.startswith(b"--"):
            reader = await request.multipart()
            body = await (await reader.next()).read()
        self.uploaded[request.match_info["id"]] = body
        return web.Response(text=f"OK - {len(body)}")

    async def _api(self, request):
        method = request.match_info["method"]
        if (answer := self.instead(method)) is not None:
            return answer
        if method in self.refused:
            return web.json_response({"ok": False, "error": self.refused[method]})
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"ok": False, "error": "invalid_auth"})
        if request.content_type == "application/json":
            given = await request.json()
        else:
            given = dict(await request.post()) | dict(request.query)
        return web.json_response(getattr(self, "_" + method.replace(".", "_"))(given))

    def _files_getUploadURLExternal(self, given):  # noqa: N802 - Slack's name
        assert int(given["length"]) > 0
        number = f"F0000000{len(self.files) + 1:03}"
        self.files[number] = -1
        return {"ok": True, "upload_url": f"{self.url}/upload/{number}", "file_id": number}

    def _files_completeUploadExternal(self, given):  # noqa: N802 - Slack's name
        files = given["files"] if isinstance(given["files"], list) else json.loads(given["files"])
        for file in files:
            assert file["id"] in self.uploaded, "it was not uploaded"
            self.files[file["id"]] = self.scans
        return {"ok": True, "files": [{"id": file["id"], "mimetype": ""} for file in files]}

    def _refusal(self, given):
        if given["channel"] != CHANNEL:
            return {"ok": False, "error": "channel_not_found"}
        blocks = given.get("blocks", [])
        blocks = json.loads(blocks) if isinstance(blocks, str) else blocks
        assert given.get("text"), "no_text: what notifications show"
        assert len(given["text"]) <= 40_000
        assert str(given.get("link_names", "0")).lower() in ("0", "false")
        assert not re.search(r"<[!@#]", given["text"]), "a mention"
        try:
            assert len(blocks) <= 50
            for block in blocks:
                check_block(block, self.files)
        except (AssertionError, KeyError) as error:
            for number, left in self.files.items():
                self.files[number] = max(left - 1, 0) if left >= 0 else left
            return {"ok": False, "error": "invalid_blocks", "errors": [str(error)]}
        return None

    def _chat_postMessage(self, given):  # noqa: N802 - Slack's name
        if (refusal := self._refusal(given)) is not None:
            return refusal
        if "thread_ts" in given and self.no_thread is not None:
            return {"ok": False, "error": self.no_thread}
        if "thread_ts" in given:
            assert given["thread_ts"] in {each["ts"] for each in self.posted}
        ts = f"1700000000.{len(self.posted) + 1:06}"
        self.posted.append({**given, "ts": ts})
        return {"ok": True, "channel": CHANNEL, "ts": ts}

    def _chat_update(self, given):
        if (refusal := self._refusal(given)) is not None:
            return refusal
        if given["ts"] not in {each["ts"] for each in self.posted}:
            return {"ok": False, "error": "message_not_found"}
        self.updated.append(given)
        return {"ok": True, "channel": CHANNEL, "ts": given["ts"]}


def shown(message):
    """Every text of a message's blocks, by kind of text object."""
    found = {"plain_text": [], "mrkdwn": [], "links": []}
    for block in message["blocks"]:
        for section in block["elements"] if block["type"] == "rich_text" else ():
            parts = section["elements"]
            found["plain_text"].append("".join(p["text"] for p in parts if p["type"] == "text"))
            found["links"] += [f"{p['text']} {p['url']}" for p in parts if p["type"] == "link"]
        if block["type"] == "rich_text":
            continue
        for text in [block.get("text"), *block.get("elements", ()), *block.get("fields", ())]:
            if text is not None:
                found[text["type"]].append(text["text"])
    return {kind: "\n".join(texts) for kind, texts in found.items()}


# -- PagerDuty -----------------------------------------------------------------------------------

EVENT = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "additionalProperties": False,
    "properties": {
        "routing_key": {"type": "string", "pattern": "^[0-9a-zA-Z]{32}$"},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "maxLength": 255, "minLength": 1},
        "client": {"type": "string"},
        "client_url": {"type": "string", "format": "uri"},
        "links": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["href"],
                "additionalProperties": False,
                "properties": {
                    "href": {"type": "string", "pattern": "^https?://[!-~]+$"},
                    "text": {"type": "string"},
                },
            },
        },
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "additionalProperties": False,
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": {
                    "type": "string",
                    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)$",
                },
                "component": {"type": "string"},
                "group": {"type": "string"},
                "class": {"type": "string"},
                "custom_details": {"type": "object"},
            },
        },
    },
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}

EVENT_RULES = jsonschema.validators.validator_for(EVENT)(EVENT)


class LocalPagerDuty(Vendor):
    """An integration of one service; ``open`` are its alerts."""

    def __init__(self):
        super().__init__()
        self.events, self.open = [], {}

    @contextlib.asynccontextmanager
    async def serving(self):
        async with serving(("POST", "/v2/enqueue", self._enqueue)) as self.url:
            yield self

    async def _enqueue(self, request):
        body = await request.read()
        if (answer := self.instead("enqueue")) is not None:
            return answer
        try:
            assert len(body) <= 512 * 1024
            event = json.loads(body)
            EVENT_RULES.validate(event)
            assert event["routing_key"] == ROUTING_KEY, "routing_key is invalid"
        except (AssertionError, jsonschema.ValidationError) as error:
            errors = [str(error)[:200]]
            found = {
                "status": "invalid event",
                "message": "Event object is invalid",
                "errors": errors,
            }
            return web.json_response(found, status=400)
        self.events.append(event)
        key = event["dedup_key"]
        if event["event_action"] == "trigger":
            self.open[key] = event
        elif event["event_action"] == "resolve":
            self.open.pop(key, None)
        found = {"status": "success", "message": "Event processed", "dedup_key": key}
        return web.json_response(found, status=202)


# -- a webhook -----------------------------------------------------------------------------------


class LocalWebhook(Vendor):
    """Takes what is signed with SECRET."""

    def __init__(self):
        super().__init__()
        self.taken, self.ids = [], []
        self.before = None

    @contextlib.asynccontextmanager
    async def serving(self):
        async with serving(("POST", "/hook", self._hook)) as url:
            self.url = f"{url}/hook"
            yield self

    async def _hook(self, request):
        body = await request.read()
        if self.before is not None:
            await self.before()
        if (answer := self.instead("hook")) is not None:
            return answer
        parts = dict(part.split("=") for part in request.headers["X-Ecindex-Signature"].split(","))
        signed = parts["t"].encode() + b"." + body
        if hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest() != parts["v1"]:
            return web.Response(status=401, text="the signature is of another key")
        self.taken.append(json.loads(body))
        self.ids.append(request.headers["X-Ecindex-Message"])
        return web.Response(text="thanks")


# -- mail ----------------------------------------------------------------------------------------


class LocalMail(Vendor):
    """A mail server without TLS, which keeps every mail; ``refuses`` are addresses it does not know.

    ``puts_off``: addresses for which it asks to come again.
    """

    def __init__(self):
        super().__init__()
        self.mails, self.refuses, self.puts_off = [], set(), set()
        self.taken_for = []
        self.data_answer = "250 OK"

    @contextlib.asynccontextmanager
    async def serving(self, loop):
        server = await loop.create_server(
            lambda: SMTP(self, hostname="mail.test", loop=loop), "127.0.0.1", 0
        )
        self.url = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802
        if address in self.refuses:
            return "550 no such mailbox"
        if address in self.puts_off:
            return "451 come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802
        self.calls.append("data")
        if self.data_answer.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.taken_for.append(sorted(envelope.rcpt_tos))
        return self.data_answer


# -- Prometheus ----------------------------------------------------------------------------------


class LocalPrometheus(Vendor):
    """Answers every range query with one hour of a market: 100 orders, of 90 to 110 expected."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.empty = False
        self.hangs = None

    @contextlib.asynccontextmanager
    async def serving(self):
        async with serving(("POST", "/api/v1/query_range", self._range)) as self.url:
            yield self

    async def _range(self, request):
        given = dict(await request.post())
        if self.hangs is not None:
            await self.hangs.wait()
        if (answer := self.instead("query_range")) is not None:
            return answer
        self.asked.append(given)
        end, step = float(given["end"]), float(given["step"])
        times = [end - step * back for back in range(60, -1, -1)]
        base = "market_window:ecindex_market_orders"
        lines = [
            ({"__name__": f"{base}:max"}, "100"),
            ({"__name__": f"{base}_expected:max"}, "100.5"),
            (
                {
                    "__name__": "market_window_bound:ecindex_market_orders_band:max",
                    "bound": "lower",
                },
                "90",
            ),
            (
                {
                    "__name__": "market_window_bound:ecindex_market_orders_band:max",
                    "bound": "upper",
                },
                "110",
            ),
        ]
        result = [
            {"metric": metric, "values": [[at, value] for at in times]} for metric, value in lines
        ]
        found = {"resultType": "matrix", "result": [] if self.empty else result}
        return web.json_response({"status": "success", "data": found})
