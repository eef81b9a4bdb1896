"""An endpoint from its beginning to its end: listen, tell where, stay until a signal, leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping

from zerotrust_kerberos.agent import callers, hardened, private
from zerotrust_kerberos.agent.endpoint import CONTAINER_PATH, Endpoint
from zerotrust_kerberos.agent.http import HEAD_MAX, Door
from zerotrust_kerberos.agent.supply import Supply
from zerotrust_kerberos.failures import Place

_ADDRESS = "127.0.0.1"  # the AWS CLI 2.9 knows no ::1
_BACKLOG = 512
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def stay(
    *,
    role: str,
    supply: Supply,
    place: Place,
    is_in_file: bool,
    has_imds: bool,
    ready: Callable[[dict[str, str]], None],
    told: Callable[[str], None],
    files: Mapping[str, str] | None = None,
) -> None:
    """Serve one role until SIGTERM, SIGINT or SIGHUP.

    Args:
        role: Its name.
        supply: Of its credentials; asked once before anything else, so that who may not have any hears so at once.
        place: What the lines for the user talk about.
        is_in_file: Whether the token is in a file, or among what ``ready`` gets.
        has_imds: Whether to be an instance's metadata service too.
        ready: Gets the environment for the programs that may ask.
        told: Gets each line that says why there are no credentials.
        files: What else lies beside the token, by name.

    Raises:
        Failure: There are no credentials to begin with.
        OSError: There is no port or folder to be had.
    """
    hardened.hide()
    ended = _signalled()
    await supply.begin()
    async with contextlib.AsyncExitStack() as leaving:
        leaving.push_async_callback(supply.end)
        listener = leaving.enter_context(socket.create_server((_ADDRESS, 0), backlog=_BACKLOG))
        host = f"{_ADDRESS}:{listener.getsockname()[1]}"
        endpoint = Endpoint(
            role=role,
            credentials=supply.credentials,
            place=place,
            host=host,
            has_imds=has_imds,
            is_neighbour=callers.is_neighbour,
            now=time.monotonic,
            told=told,
        )
        door = Door(endpoint.answer, of=callers.of_loopback)
        server = await asyncio.start_server(door.connected, sock=listener, limit=HEAD_MAX)
        leaving.callback(server.close)
        environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{host}{CONTAINER_PATH}{role}"}
        if is_in_file:
            place_of_token = private.base(os.environ)
            private.sweep(place_of_token)
            folder = private.Folder(place_of_token)
            leaving.callback(folder.remove)
            environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = folder.put(private.TOKEN, endpoint.token)
            for name, text in (files or {}).items():
                folder.put(name, text)
        else:
            environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = endpoint.token
        if has_imds:
            environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = f"http://{host}/"
        ready(environment)
        await ended.wait()


def _signalled() -> asyncio.Event:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, ended.set)
    return ended
