"""What an open port refuses: foreign names, pages, requests that never end, too many connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from aiohttp import web

from streams.board.hub import Hub
from streams.board.server import BoardServer
from streams.publish.http import RELEASE_HEADER, MetricsServer, Released
from streams.publish.http_server import application, listen
from streams.publish.metrics import Metrics

GONE_S = 20
"""Only a failure waits this long."""
RELEASE = "/partitions/orders/0/release"


class Partitions:
    def __init__(self):
        self.released = []

    def states(self):
        return []

    def release(self, topic, partition):
        self.released.append((topic, partition))
        return Released.RELEASED


async def sent(port, text, host="127.0.0.1"):
    """Send bytes as they are; return (status, everything until the connection ends)."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(text.replace("\n", "\r\n").encode())
    async with asyncio.timeout(GONE_S):
        answer = await reader.read()
    writer.close()
    return int(answer.split()[1]) if answer else None, answer.decode()


def request(host, path="/metrics", method="GET", **headers):
    lines = [f"{method} {path} HTTP/1.1", "Connection: close"]
    lines += [f"Host: {each}" for each in ([host] if isinstance(host, str) else host)]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    return "\n".join([*lines, "", ""])


async def until(condition):
    async with asyncio.timeout(GONE_S):
        while not condition():  # noqa: ASYNC110 - the server's own tasks decide it
            await asyncio.sleep(0)


@pytest.fixture
def partitions():
    return Partitions()


@pytest.fixture
async def ports(partitions):
    """Port of a worker's server and of the board's, on loopback; then those that others reach."""
    made = []
    metrics = Metrics(markets=["PK"], version="0", edition=1, methodology="0")
    for host in ("127.0.0.1", "0.0.0.0"):
        where = {"host": host, "port": 0, "names": ("shop.example", "*.svc.cluster.local")}
        made += [
            MetricsServer(metrics.registry, lambda: None, partitions=partitions, **where),
            BoardServer(Hub(), lambda: None, **where),
        ]
    yield [await server.start() for server in made]
    for server in made:
        await server.stop()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("localhost", 200),
        ("LOCALHOST.", 200),
        ("board.localhost:8080", 200),
        ("10.1.2.3:9464", 200),  # an address is nobody's name
        ("shop.example:80", 200),
        ("ecindex.prod.svc.cluster.local", 200),
        ("evil.example", 421),
        ("shop.example.evil.example", 421),
        ("svc.cluster.local.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("evilsvc.cluster.local", 421),
        (("127.0.0.1", "evil.example"), 400),
    ],
)
async def test_only_our_own_names_are_answered(ports, host, status):
    for port in ports:
        assert (await sent(port, request(host, "/livez")))[0] == status


async def test_a_container_may_be_asked_by_its_own_name_and_this_machine_may_not(ports):
    alone, in_a_network = ports[:2], ports[2:]
    for port in alone:
        assert (await sent(port, request("worker", "/livez")))[0] == 421
    for port in in_a_network:
        assert (await sent(port, request("worker:9464", "/livez")))[0] == 200
        assert (await sent(port, request("", "/livez")))[0] in (400, 421)


async def test_a_health_check_of_http_1_0_needs_no_name(ports):
    for port in ports:
        assert (await sent(port, "GET /livez HTTP/1.0\n\n"))[0] == 200


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("127.0.0.1", {RELEASE_HEADER: "1"}, 200),
        ("localhost:9464", {RELEASE_HEADER: "1", "Sec_Fetch_Site": "none"}, 200),
        ("127.0.0.1", {}, 403),
        ("shop.example", {RELEASE_HEADER: "1"}, 403),
        ("10.1.2.3", {RELEASE_HEADER: "1"}, 403),
        ("evil.example", {RELEASE_HEADER: "1"}, 421),
        ("127.0.0.1", {RELEASE_HEADER: "1", "Origin": "http://evil.example"}, 403),
        ("127.0.0.1", {RELEASE_HEADER: "1", "Origin": "null"}, 403),
        ("127.0.0.1", {RELEASE_HEADER: "1", "Sec_Fetch_Site": "cross-site"}, 403),
        ((), {RELEASE_HEADER: "1"}, 400),
    ],
)
async def test_no_page_releases_a_partition(ports, partitions, host, headers, status):
    for port in (ports[0], ports[2]):
        text = request(host, RELEASE, "POST", Content_Length="0", **headers)
        assert (await sent(port, text))[0] == status
    assert len(partitions.released) == (2 if status == 200 else 0)


async def test_a_partition_that_cannot_be_is_not_found(ports, partitions):
    for partition in ("9" * 5_000, "-1", "1e3", "%d9%a3", ""):
        path = f"/partitions/orders/{partition}/release"
        text = request("127.0.0.1", path, "POST", Content_Length="0", **{RELEASE_HEADER: "1"})
        assert (await sent(ports[0], text))[0] == 404
    assert partitions.released == []


@pytest.fixture
async def quick():
    """A server that waits a tenth of a second for a request, with room for three connections."""
    served = []
    release = asyncio.Event()

    async def answer(request):
        served.append(request.path)
        if request.path == "/long":
            await release.wait()
        return web.Response(text="ok")

    app = application()
    app.router.add_route("*", "/{path}", answer)
    server = await listen(
        app, "127.0.0.1", 0, setting="x.hosts", connections_max=3, request_s=0.1, shutdown_s=0.1
    )
    yield server.port, served, release
    release.set()
    await server.close()
    await server.close()


@pytest.mark.parametrize(
    ("text", "answered"),
    [
        ("", False),
        ("GET /a HT", False),
        ("GET /a HTTP/1.1\nHost: localhost\nX-Slow: ", False),
        # The answer needs no body, and nobody waits for the rest of one.
        ("POST /a HTTP/1.1\nHost: localhost\nContent-Length: 1000\n\nhalf", True),
        ("GET /a HTTP/1.1\nHost: localhost\n\n", True),  # kept alive, and then silent
        ("GET /a HTTP/1.1\nHost: localhost\n\nGET /b HTTP/1.1\nHo", True),
    ],
)
async def test_a_connection_that_sends_half_a_request_is_closed(quick, text, answered):
    port, served, _ = quick
    _, answer = await sent(port, text)
    assert bool(answer) is answered
    assert served == (["/a"] if answered else [])


async def test_what_dribbles_in_wins_no_time(quick):
    port, _, _ = quick
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /a HTTP/1.1\r\nHost: localhost\r\n")

    async def dribble():
        while True:
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.02)

    dribbling = asyncio.create_task(dribble())
    async with asyncio.timeout(GONE_S):
        # What was on its way when the server closed makes the end a reset.
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    dribbling.cancel()
    writer.close()


async def test_headers_without_end_are_refused(quick):
    port, served, _ = quick
    lines = "\n".join(f"X-{number}: y" for number in range(200))
    status, _ = await sent(port, f"GET /a HTTP/1.1\nHost: localhost\n{lines}\n\n")
    assert (status, served) == (400, [])


async def test_one_that_waits_makes_room_and_one_that_is_answered_stays(quick):
    port, served, release = quick
    long_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    for _, writer in long_ones:
        writer.write(b"GET /long HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    await until(lambda: served == ["/long"] * 2)
    waiting, _ = await asyncio.open_connection("127.0.0.1", port)
    assert (await sent(port, request("localhost", "/a")))[0] == 200
    async with asyncio.timeout(GONE_S):
        assert await waiting.read() == b"", "it had to go"
    third = await asyncio.open_connection("127.0.0.1", port)
    third[1].write(b"GET /long HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    await until(lambda: len(served) == 4)
    assert await sent(port, request("localhost", "/b")) == (None, ""), "all are being answered"
    release.set()
    for reader, _ in (*long_ones, third):
        async with asyncio.timeout(GONE_S):
            assert (await reader.read()).startswith(b"HTTP/1.1 200")


ANSWER = 8_000_000
"""Bytes of an answer that no buffer between two processes holds."""


@contextlib.asynccontextmanager
async def unread(number, **options):
    """Clients that ask for much and take none of it, of a server with room for two connections."""

    async def answer(request):
        return web.Response(body=b"x" * (ANSWER if request.path == "/much" else 1))

    app = application()
    app.router.add_get("/{path}", answer)
    options = {"connections_max": 2, "request_s": 0.1, "shutdown_s": 0.1} | options
    server = await listen(app, "127.0.0.1", 0, setting="x.hosts", **options)
    clients = []
    for _ in range(number):
        client = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        client[1].write(b"GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n")
        clients.append(client)
    yield server, clients
    await server.close()
    for _, writer in clients:
        writer.close()


async def taken(client):
    """Bytes that a client got before its connection ended."""
    found = 0
    async with asyncio.timeout(GONE_S):
        with contextlib.suppress(ConnectionResetError):
            while part := await client[0].read(1 << 16):
                found += len(part)
    return found


async def test_a_client_that_takes_no_answer_is_cut_off():
    """It held its socket for ever: a closed connection waits until its answer is taken."""
    async with unread(2, untaken_s=0.05) as (server, clients):
        await until(lambda: not server._connections._open)
        assert all([await taken(client) < ANSWER for client in clients])


async def test_those_that_take_no_answer_make_room():
    async with unread(9, untaken_s=GONE_S) as (server, clients):
        assert (await sent(server.port, request("localhost", "/little")))[0] == 200
        assert len(server._connections._open) <= 2
        assert all([await taken(client) < ANSWER for client in clients[:7]])


async def test_a_client_that_takes_its_answer_slowly_gets_all_of_it():
    """A slow line takes long: only a client that takes nothing is cut off."""
    async with unread(1, untaken_s=GONE_S) as (server, [client]):
        await until(lambda: any(each.stalled for each in server._connections._open))
        (connection,) = server._connections._open
        found = 0
        while connection.stalled:
            connection._check()
            left = connection._transport.get_write_buffer_size()
            async with asyncio.timeout(GONE_S):
                while connection.stalled and connection._transport.get_write_buffer_size() == left:
                    part = await client[0].read(1 << 16)
                    assert part, "it was cut off"
                    found += len(part)
        assert found + await taken(client) > ANSWER


async def test_those_that_come_in_one_turn_of_the_loop_are_no_more_than_there_is_room_for():
    """One that had to make room before it had a transport was forgotten, and stayed open."""
    async with unread(0, connections_max=3, request_s=GONE_S) as (server, _):
        with contextlib.ExitStack() as open_ones:
            sockets = [
                open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                for _ in range(12)
            ]
            for each in sockets:
                each.setblocking(False)
            async with asyncio.timeout(GONE_S):
                ended = (asyncio.get_running_loop().sock_recv(each, 1) for each in sockets[:-3])
                await asyncio.gather(*ended, return_exceptions=True)
            assert len(server._connections._open) == 3
