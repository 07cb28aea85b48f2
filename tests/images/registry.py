"""Debian's docker-registry on loopback: plain, with TLS, with passwords, with tokens."""

import base64
import crypt
import http.server
import json
import os
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def openssl(*arguments, **more):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60, **more).stdout


class Authority:
    """A certificate authority of the test's own, and a server's certificate for 127.0.0.1."""

    def __init__(self, directory):
        os.makedirs(directory)
        self.ca, self.ca_key = f"{directory}/ca.crt", f"{directory}/ca.key"
        self.cert, self.key = f"{directory}/server.crt", f"{directory}/server.key"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=creel test authority",
                "-keyout", self.ca_key, "-out", self.ca)
        request, extensions = f"{directory}/server.csr", f"{directory}/server.ext"
        with open(extensions, "w") as file:
            file.write("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", self.key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days", "2",
                "-extfile", extensions, "-out", self.cert)


class Tokens:
    """A token server: gives out signed tokens for pulling to those who know the password."""

    SERVICE, ISSUER = "creel test registry", "creel test tokens"

    def __init__(self, authority, user, password):
        self.asked = []
        tokens = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
                expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
                tokens.asked.append((query, self.headers.get("Authorization")))
                if self.headers.get("Authorization") != expected:
                    return self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]})
                return self.answer(200, {"token": tokens.sign(authority, query.get("scope", []))})

            def answer(self, status, document):
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def sign(self, authority, scopes):
        def part(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        der = openssl("x509", "-in", authority.cert, "-outform", "DER")
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {"iss": self.ISSUER, "sub": "test", "aud": self.SERVICE, "exp": now + 300, "nbf": now - 10, "iat": now,
                  "jti": str(now), "access": access}
        text = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims).encode())
        return (text + b"." + part(openssl("dgst", "-sha256", "-sign", authority.key, input=text))).decode()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Registry:
    """One docker-registry process, on a directory that several may share."""

    def __init__(self, work, storage, authority=None, users=None, tokens=None):
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.scheme = "https" if authority else "http"
        http_part = [f"  addr: {self.host}"]
        if authority:
            http_part += ["  tls:", f"    certificate: {authority.cert}", f"    key: {authority.key}"]
        text = ["version: 0.1", "log:", "  level: error", "storage:", "  filesystem:", f"    rootdirectory: {storage}",
                "  delete:", "    enabled: true", "http:", *http_part]
        name = f"{work}/registry-{self.port}"
        if users:
            with open(f"{name}.htpasswd", "w") as file:
                for user, password in users.items():
                    file.write(f"{user}:{crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))}\n")
            text += ["auth:", "  htpasswd:", "    realm: creel", f"    path: {name}.htpasswd"]
        if tokens:
            server, bundle = tokens
            text += ["auth:", "  token:", f"    realm: {server.url}", f"    service: {server.SERVICE}",
                     f"    issuer: {server.ISSUER}", f"    rootcertbundle: {bundle}"]
        with open(f"{name}.yml", "w") as file:
            file.write("\n".join(text) + "\n")
        self.log = open(f"{name}.log", "w")
        self.process = subprocess.Popen(["docker-registry", "serve", f"{name}.yml"], stdout=self.log, stderr=self.log,
                                        env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"})
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"docker-registry does not answer; see {name}.log") from None
                time.sleep(0.05)

    def put(self, repository, tag, manifest, media_type, blobs):
        """Pushes by hand what no tool would build."""
        base = f"http://{self.host}/v2/{repository}"
        for digest, data in blobs.items():
            begun = urllib.request.urlopen(urllib.request.Request(f"{base}/blobs/uploads/", method="POST"), timeout=20)
            separator = "&" if "?" in begun.headers["Location"] else "?"
            url = f"{begun.headers['Location']}{separator}digest={digest}"
            urllib.request.urlopen(urllib.request.Request(
                url, data=data, method="PUT", headers={"Content-Type": "application/octet-stream"}), timeout=60)
        urllib.request.urlopen(urllib.request.Request(
            f"{base}/manifests/{tag}", data=manifest, method="PUT", headers={"Content-Type": media_type}), timeout=20)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()
