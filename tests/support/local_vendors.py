"""Local vendors as a program, to try `ecindex notify`: python -m support.local_vendors, in tests/.

It prints the settings that lead there, for a shell, and then each message as a line of JSON: when it
came, to whom, what it says, and how large its picture is.
"""

from __future__ import annotations

import asyncio
import json
import sys

from support.notifying import settings_for, vendors
from support.vendors import shown

from streams.clock import now_ms
from streams.index.panes import rfc3339

EVERY_S = 0.1


def variables(settings):
    """Settings of the section notify as a user sets them."""
    found = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        value = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        if value is not None and value != ():
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            found[f"ECINDEX_NOTIFY__{name.upper()}"] = text
    return found


def messages(found):
    """(vendor, what it says) of everything that has come so far, in order within a vendor."""
    slack, files = found.slack, found.slack.uploaded
    for each in slack.posted:
        images = [b["slack_file"]["id"] for b in each.get("blocks", ()) if b["type"] == "image"]
        text = shown(each)["plain_text"] if "blocks" in each else each["text"]
        size = sum(len(files[image]) for image in images)
        yield "slack", {"text": text, "picture_bytes": size, "reply": "thread_ts" in each}
    for event in found.pagerduty.events:
        content = {k: event[k] for k in ("event_action", "dedup_key")}
        yield "pagerduty", content | {"summary": event.get("payload", {}).get("summary")}
    for mail in found.mail.mails:
        yield "mail", {"subject": mail["Subject"]}
    for taken in found.webhook.taken:
        yield "webhook", {k: taken[k] for k in ("incident", "kind", "title", "now", "no_picture")}


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def run():
    async with vendors() as found:
        settings = settings_for(found, port=9_095, prometheus_url=None)
        for name, value in variables(settings).items():
            say(f"export {name}='{value}'")
        say("# and ECINDEX_NOTIFY__PROMETHEUS_URL, for pictures")
        seen = {}
        while True:
            counts = {}
            for vendor, content in messages(found):
                counts[vendor] = counts.get(vendor, 0) + 1
                if counts[vendor] > seen.get(vendor, 0):
                    seen[vendor] = counts[vendor]
                    line = {"at": rfc3339(now_ms()), "to": vendor, **content}
                    say(json.dumps(line, ensure_ascii=False))
            await asyncio.sleep(EVERY_S)


if __name__ == "__main__":
    asyncio.run(run())
