"""Receives messages at 127.0.0.1:8099, and appends the body of each to a file, one a line."""

import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Receiver(BaseHTTPRequestHandler):
    """Takes every POST."""

    def do_POST(self) -> None:
        """Append the body to the file."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with Path(sys.argv[1]).open("ab") as file:
            file.write(b" ".join(body.split(b"\n")) + b"\n")
        self.send_response(204)
        self.end_headers()


server = HTTPServer(("127.0.0.1", 8099), Receiver)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
    systemd.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
server.serve_forever()
