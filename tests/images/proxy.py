"""A proxy before a registry that fails in the ways that networks and registries fail."""

import http.client
import http.server
import socket
import threading
import time


class Proxy:
    """Passes GETs on, unless `rule(request)` gives an Answer. Remembers every request."""

    def __init__(self, target, rule=None):
        self.requests, self.rule, self.lock = [], rule, threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                request = Request(self.path, dict(self.headers))
                with proxy.lock:
                    request.earlier = sum(1 for other in proxy.requests if other.path == self.path)
                    proxy.requests.append(request)
                    answer = (proxy.rule and proxy.rule(request)) or Answer()
                try:
                    answer.give(self, request, target)
                except OSError:
                    self.close_connection = True

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 64

            def handle_error(self, *_):
                pass  # a client that goes away in the middle is what these tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def blobs(self):
        return [request for request in self.requests if "/blobs/" in request.path]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Request:
    def __init__(self, path, headers):
        self.path, self.headers, self.earlier = path, headers, 0

    def header(self, name):
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)

    @property
    def is_blob(self):
        return "/blobs/" in self.path


class Answer:
    """What the registry says, changed: its status, its headers, its body; cut, or slowed down.

    cut: so many bytes of the body come, then the connection ends. pause: seconds between pieces of 64 KiB.
    ranges: whether the registry hears of the range that was asked for. change: a function of the body.
    """

    def __init__(self, status=None, headers=None, body=None, cut=None, pause=0, ranges=True, change=None):
        self.status, self.headers, self.body, self.cut = status, headers or {}, body, cut
        self.pause, self.ranges, self.change = pause, ranges, change

    def give(self, handler, request, target):
        status, headers, body = self.status, {}, self.body
        if status is None and body is None:
            status, headers, body = self.upstream(request, target)
        body = body or b""
        if self.change:
            body = self.change(body)
        handler.send_response(status or 200)
        for name, value in {**headers, **self.headers}.items():
            handler.send_header(name, value)
        if "Content-Length" not in self.headers:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for begin in range(0, min(len(body), self.cut if self.cut is not None else len(body)), 65536):
            end = begin + 65536 if self.cut is None else min(begin + 65536, self.cut)
            handler.wfile.write(body[begin:end])
            time.sleep(self.pause)
        if self.cut is not None:
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True

    def upstream(self, request, target):
        connection = http.client.HTTPConnection(target, timeout=60)
        wanted = {name: value for name, value in request.headers.items()
                  if name.lower() in ("accept", "authorization") or name.lower() == "range" and self.ranges}
        connection.request("GET", request.path, headers=wanted)
        answer = connection.getresponse()
        body = answer.read()
        kept = ("content-type", "content-range", "docker-content-digest", "www-authenticate", "location")
        headers = {name: value for name, value in answer.getheaders() if name.lower() in kept}
        connection.close()
        return answer.status, headers, body
