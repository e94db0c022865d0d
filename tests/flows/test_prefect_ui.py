"""Prefect's server as `up` serves it: a browser that looks at it talks to this machine alone."""

import asyncio

from flows.prefect_ui import restrict

ADDRESS = "http://127.0.0.1:4200/api"


def test_every_answer_keeps_the_browser_here():
    """The policy stands beside the answer's own headers, and names this host and port alone."""

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"page"})

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(restrict(application, ADDRESS)({"type": "http"}, None, send))
    begin, body = sent
    headers = dict(begin["headers"])
    assert headers[b"a"] == b"b"
    policy = headers[b"content-security-policy"].decode()
    assert policy.endswith("connect-src 'self' http://127.0.0.1:4200 ws://127.0.0.1:4200")
    assert "http" not in policy.partition("connect-src")[0]
    assert body == {"type": "http.response.body", "body": b"page"}


def test_what_is_no_answer_passes_as_it_is():
    """The application's beginning and end, and web sockets, are none of the policy's business."""
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["type"])
        await send({"type": "lifespan.startup.complete"})

    async def send(message):
        seen.append(message)

    asyncio.run(restrict(application, ADDRESS)({"type": "lifespan"}, None, send))
    assert seen == ["lifespan", {"type": "lifespan.startup.complete"}]
