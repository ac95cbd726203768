"""The small application, behind one of the servers, in a process of its own: `python serve_one.py NAME PORT THREADS`.

Each server is configured as its documentation advises for production, and every limit that it has is switched on.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from pathlib import Path

from flask import Flask, jsonify, request

SLOW_S = 3.0
LARGEST = 64 << 20
HEADER = 32 << 10
HERE = Path(__file__).parent

app = Flask(__name__)
counts = {"left": 0}


def client_left() -> bool:
    """Whether the client is gone, by whatever the server gives the application to learn it."""
    environ = request.environ
    if "graft.gone" in environ:
        return bool(environ["graft.gone"])
    if "waitress.client_disconnected" in environ:
        return bool(environ["waitress.client_disconnected"]())
    connection = environ.get("gunicorn.socket")
    if connection is not None and select.select([connection], [], [], 0)[0]:
        return not connection.recv(1, socket.MSG_PEEK)
    return False


@app.get("/livez")
def livez():
    return jsonify(status="alive")


@app.get("/left")
def left():
    return jsonify(counts)


@app.post("/echo")
def echo():
    return jsonify(bytes=len(request.get_data()))


@app.post("/slow")
def slow():
    request.get_data()
    end = time.monotonic() + SLOW_S
    while time.monotonic() < end:
        time.sleep(0.05)
        if client_left():
            counts["left"] += 1
            break
    return jsonify(slept=True)


def asgi(threads: int):
    """The application behind an adapter, for servers that speak ASGI."""
    from a2wsgi import WSGIMiddleware

    return WSGIMiddleware(app, workers=threads)


def waitress(port: int, threads: int) -> None:
    import waitress

    waitress.serve(
        app, host="127.0.0.1", port=port, threads=threads, connection_limit=1000, channel_timeout=30,
        asyncore_use_poll=True, max_request_header_size=HEADER, max_request_body_size=LARGEST,
        channel_request_lookahead=1,
    )  # fmt: skip


def gunicorn(port: int, threads: int) -> None:
    run(
        "gunicorn", "serve_one:app", f"--bind=127.0.0.1:{port}", "--worker-class=gthread", "--workers=1",
        f"--threads={threads}", "--worker-connections=1000", "--keep-alive=30", "--timeout=30",
        "--graceful-timeout=20", "--limit-request-fields=100", "--log-level=error",
    )  # fmt: skip


def granian(port: int, threads: int) -> None:
    run(
        "granian", "serve_one:app", "--interface=wsgi", "--host=127.0.0.1", f"--port={port}", "--http=1", "--no-ws",
        f"--blocking-threads={threads}", "--backpressure=1000", "--http1-header-read-timeout=10000",
        f"--http1-buffer-size={HEADER}", "--workers-kill-timeout=20", "--log-level=error",
    )  # fmt: skip


def uvicorn(port: int, threads: int, parser: str = "httptools") -> None:
    import uvicorn

    uvicorn.run(
        asgi(threads), host="127.0.0.1", port=port, http=parser, limit_concurrency=1000, timeout_keep_alive=30,
        timeout_graceful_shutdown=20, h11_max_incomplete_event_size=HEADER, log_level="error", access_log=False,
        lifespan="off",
    )  # fmt: skip


def uvicorn_h11(port: int, threads: int) -> None:
    uvicorn(port, threads, "h11")


def hypercorn(port: int, threads: int) -> None:
    import asyncio
    import signal

    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.read_timeout, config.keep_alive_timeout, config.graceful_timeout = 30, 30.0, 20.0
    config.h11_max_incomplete_size, config.loglevel, config.alpn_protocols = HEADER, "ERROR", ["http/1.1"]

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await serve(asgi(threads), config, shutdown_trigger=stop.wait, mode="asgi")

    asyncio.run(main())


def cheroot(port: int, threads: int) -> None:
    import signal

    from cheroot import wsgi

    server = wsgi.Server(("127.0.0.1", port), app, numthreads=threads, max=threads, request_queue_size=1024)
    server.timeout, server.shutdown_timeout = 10, 20
    server.max_request_header_size, server.max_request_body_size = HEADER, LARGEST
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.stop).start())
    server.start()


def front(port: int, threads: int) -> None:
    import json

    from service.front.gate import Routing
    from service.front.limits import Limits
    from service.front.server import Server

    def refusal(path: str, refused: Exception) -> bytes:
        return json.dumps({"error": {"type": str(refused.status), "message": refused.message}}).encode()

    routing = Routing({"/livez", "/left"}, lambda method, _: method == "POST", lambda: 1.0, refusal)
    server = Server(app, routing, "127.0.0.1", port, Limits(workers=threads, body_bytes=LARGEST))
    server.stop_on_signals()
    server.run()


def run(command: str, *arguments: str) -> None:
    """Become the command that stands beside this Python."""
    os.chdir(HERE)
    os.execv(Path(sys.executable).parent / command, [command, *arguments])


SERVERS = {
    "waitress": waitress,
    "gunicorn gthread": gunicorn,
    "granian wsgi": granian,
    "uvicorn httptools, a2wsgi": uvicorn,
    "uvicorn h11, a2wsgi": uvicorn_h11,
    "hypercorn, a2wsgi": hypercorn,
    "cheroot": cheroot,
    "service.front": front,
}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
