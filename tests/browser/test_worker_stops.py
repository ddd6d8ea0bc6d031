"""A real worker, a real page: the worker freezes, the page turns red; it thaws, the page is live."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal

import pytest
from support.command import Command
from support.methodologies import DEMO_CONFIG

playwright_api = pytest.importorskip("playwright.async_api")
pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.slow]

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
TIMEOUT_MS = 240_000


async def test_a_worker_that_freezes_turns_the_page_red(tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium-headless-shell")
    arguments = ("up", "--dir", tmp_path, "--inputs", "2", "--config", DEMO_CONFIG, "--json")
    with Command(*arguments) as up:
        where = await asyncio.to_thread(up.line)
        config = tmp_path / "ecindex.toml"
        with Command("simulate", "--config", config, "--rate", "20", "--markets", "PK") as shops:
            async with playwright_api.async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path=CHROMIUM, args=["--no-sandbox"]
                )
                page = await browser.new_page()
                page.set_default_timeout(TIMEOUT_MS)
                await page.goto(where["board"])
                await page.wait_for_selector("body[data-state=live]")
                await page.wait_for_selector("#categories tbody tr")
                worker = json.loads((tmp_path / "pids" / "worker-0.pid").read_text())["pid"]
                os.kill(worker, signal.SIGSTOP)
                try:
                    await page.wait_for_selector("body[data-state=stale]")
                    assert "publishing stopped" in await page.inner_text("#alarm")
                finally:
                    os.kill(worker, signal.SIGCONT)
                await page.wait_for_selector("body[data-state=live]")
                assert await page.is_hidden("#alarm")
                await browser.close()
            shops.end(signal.SIGTERM)
        code, _out, err = up.end(signal.SIGTERM)
        assert code == 0, err
