"""A proxy that meddles: it passes GET requests on to a backend, and changes what it is told to. It knows no upgrades."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "upgrade", "transfer-encoding", "content-length", "host"}


@dataclass
class Meddler:
    """`methods` are those of all requests that came; `hosts` are those that it was asked for as a forward proxy."""

    upstream: str
    document: Callable[[Any], None] = lambda document: None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    takes_away: set[str] = field(default_factory=set[str])
    methods: set[str] = field(default_factory=set[str])
    hosts: set[str] = field(default_factory=set[str])

    @contextmanager
    def running(self) -> Iterator[str]:
        meddler = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                meddler.pass_on(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()

    def pass_on(self, request: BaseHTTPRequestHandler) -> None:
        self.methods.add(request.command)
        parts = urlsplit(self.upstream)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
        sent = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in HOP_BY_HOP | self.takes_away and not name.lower().startswith("sec-")
        }
        asked = urlsplit(request.path)  # a forward proxy is asked for a whole URL (RFC 9112 section 3.2.2)
        path = asked._replace(scheme="", netloc="").geturl()
        self.hosts.add(asked.netloc)
        connection.request(request.command, path, headers=sent)
        answer = connection.getresponse()
        body = answer.read()
        if path == "/openapi.json":
            document = json.loads(body)
            self.document(document)
            body = json.dumps(document).encode()
        request.send_response_only(answer.status)
        for name, value in {**dict(answer.headers.items()), **self.headers}.items():
            if name.lower() not in HOP_BY_HOP:
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
        connection.close()
