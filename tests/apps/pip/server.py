"""A page with one dependency, for the fixture buildpack fx-pip."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer

from tabulate import tabulate


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        body = tabulate([["Hello from", "pip"]], tablefmt="html").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Page).serve_forever()
