"""The pictures of the documentation, taken of a real demo while a shift is active.

uv run --group browser pytest --long tests/browser/test_pictures.py --pictures -n0 -s

Takes the ten minutes or so until the demo's jump is found (up to an hour's quarter more: a demo plants
nothing across a full hour). Also prints what ``ecindex show`` shows then, for README.md.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest
from support.command import ENVIRONMENT, Command

from streams.operate.board_stream import board_events

playwright_api = pytest.importorskip("playwright.async_api")
pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.slow]

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
IMAGES = Path(__file__).parents[2] / "docs" / "images"
MARKET = "PK"
BYTES_MAX = 300_000
TIMEOUT_MS = 60_000
COLUMNS = 108
PICTURES = (
    ("board-light", {"width": 1360, "height": 1180}, "light"),
    ("board-dark", {"width": 1360, "height": 1180}, "dark"),
    ("board-phone", {"width": 390, "height": 844}, "light"),
)


async def until_a_jump_is_found(url):
    async with aclosing(board_events(url, MARKET)) as events:
        async for event in events:
            if event.kind == "market":
                for incident in json.loads(event.data)["incidents"].get("open", []):
                    return incident
    raise AssertionError("the board ended before an incident was found")


async def take(browser, url, name, viewport, scheme):
    context = await browser.new_context(viewport=viewport, color_scheme=scheme)
    context.set_default_timeout(TIMEOUT_MS)
    page = await context.new_page()
    await page.goto(f"{url}?market={MARKET}")
    await page.wait_for_selector(".incident")
    await page.get_by_text("1 min", exact=True).click()
    await page.mouse.move(0, 0)
    await page.evaluate("scrollTo(0, 0)")
    await asyncio.sleep(1)
    path = IMAGES / f"{name}.png"
    await page.screenshot(path=path)
    assert path.stat().st_size < BYTES_MAX
    await context.close()


def shown(config):
    argv = [sys.executable, "-P", "-m", "streams.cli", "show", MARKET, "--config", str(config)]
    environment = ENVIRONMENT | {"COLUMNS": str(COLUMNS)}
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


async def test_pictures_for_the_documentation(request, tmp_path):
    if not request.config.getoption("--pictures"):
        pytest.skip("only with --pictures")
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium-headless-shell")
    with Command("demo", "--keep", tmp_path, "--json") as demo:
        errors = iter(demo.process.stderr)
        url = next(line.split()[1] for line in errors if line.startswith("board "))
        # It would wait for who leaves one of its pipes full.
        reading = [
            asyncio.create_task(asyncio.to_thread(list, pipe))
            for pipe in (errors, demo.process.stdout)
        ]
        incident = await until_a_jump_is_found(url)
        assert (incident["kind"], incident["direction"]) == ("jump", 1)
        async with playwright_api.async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            for name, viewport, scheme in PICTURES:
                await take(browser, url, name, viewport, scheme)
            await browser.close()
        print(await asyncio.to_thread(shown, tmp_path / "ecindex.toml"))  # noqa: T201 - for README.md
        demo.process.send_signal(signal.SIGINT)
        printed, _snapshots = await asyncio.gather(*reading)
        assert demo.process.wait(60) == 0, printed
        print("".join(line for line in printed if "FOUND" in line))  # noqa: T201
