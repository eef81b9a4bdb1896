"""Starts Debian's Firefox and stands between it and Playwright.

Playwright speaks WebDriver BiDi to a Firefox that nobody has patched, and insists on a command that the ESR does not know yet
(the colour scheme). It is answered here; everything else passes as it is. To Playwright this program is the browser: the same
arguments, the same line about where it listens, and it ends with it.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys

import aiohttp
from aiohttp import web

_FIREFOX = "/usr/bin/firefox-esr"
_LISTENING = "WebDriver BiDi listening on "
_UNKNOWN = "emulation.setMediaFeaturesOverride"
_NO_LIMIT = 0  # A screenshot is one message.


async def _relay(request: web.Request, browser: str) -> web.WebSocketResponse:
    here = web.WebSocketResponse(max_msg_size=_NO_LIMIT)
    await here.prepare(request)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(browser + request.path, max_msg_size=_NO_LIMIT) as there,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(_answers(there, here))
        async for message in here:
            command = json.loads(message.data)
            if command["method"] == _UNKNOWN:
                await here.send_json({"type": "success", "id": command["id"], "result": {}})
            else:
                await there.send_str(message.data)
        await there.close()
    return here


async def _answers(there: aiohttp.ClientWebSocketResponse, here: web.WebSocketResponse) -> None:
    async for message in there:
        await here.send_str(message.data)
    await here.close()


async def _main(arguments: list[str]) -> int:
    firefox = await asyncio.create_subprocess_exec(_FIREFOX, *arguments, stderr=asyncio.subprocess.PIPE)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, firefox.terminate)
    assert firefox.stderr is not None
    browser = None
    while browser is None and (line := (await firefox.stderr.readline()).decode()):
        sys.stderr.write(line if _LISTENING not in line else "")
        found = re.search(re.escape(_LISTENING) + r"(ws://\S+)", line)
        browser = found[1] if found else None
    if browser is None:
        return await firefox.wait()
    where = browser

    async def relay(request: web.Request) -> web.WebSocketResponse:
        return await _relay(request, where)

    app = web.Application()
    app.router.add_get("/{path:.*}", relay)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stderr.write(f"{_LISTENING}ws://127.0.0.1:{runner.addresses[0][1]}\n")
    while await firefox.stderr.readline():
        pass  # Or the pipe fills and Firefox stands still.
    status = await firefox.wait()
    await runner.cleanup()
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(sys.argv[1:])))
