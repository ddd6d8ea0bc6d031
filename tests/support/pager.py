"""A pager for tests: an HTTP server that keeps every notification of Alertmanager."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Pager(ThreadingHTTPServer):
    """Listens on loopback as soon as it is created, until ``close``."""

    def __init__(self):
        self.notified = []
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                pager.notified.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def of(self, **labels):
        """Notifications of one group."""
        return [each for each in self.notified if labels.items() <= each["groupLabels"].items()]

    def alerts(self):
        """(name, status) of every alert in every notification, in order."""
        return [
            (alert["labels"]["alertname"], alert["status"])
            for notification in self.notified
            for alert in notification["alerts"]
        ]

    def close(self):
        self.shutdown()
        self.server_close()
