"""What an API server asks a node for: the logs of its containers.

Usage: python3 node.py PORT CERTIFICATE KEY DIRECTORY
`DIRECTORY/POD/CONTAINER.log` has lines that begin with their time; a file `CONTAINER.ended` beside it says that no more will
come. Serves /containerLogs/NAMESPACE/POD/CONTAINER over TLS, with follow, timestamps and sinceTime.
"""

import http.server
import os
import ssl
import sys
import time
import urllib.parse

port, certificate, key, directory = sys.argv[1:]


class Node(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        words = url.path.strip("/").split("/")
        query = dict(urllib.parse.parse_qsl(url.query))
        if words[0] != "containerLogs" or len(words) != 4:
            self.send_error(404)
            return
        log = os.path.join(directory, words[2], words[3])
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        # The API server gives seconds.
        since = query.get("sinceTime", "")[:19]
        sent = 0
        while True:
            is_over = query.get("follow") != "true" or os.path.exists(log + ".ended")
            lines = open(log + ".log").readlines() if os.path.exists(log + ".log") else []
            # The last one may still be written.
            lines = [line for line in lines if line.endswith("\n")]
            for line in lines[sent:]:
                moment, text = line.split(" ", 1)
                if moment[:19] >= since:
                    self.wfile.write((line if query.get("timestamps") == "true" else text).encode())
            self.wfile.flush()
            sent = len(lines)
            if is_over:
                return
            time.sleep(0.1)

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Node)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
