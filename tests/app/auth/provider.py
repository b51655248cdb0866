"""A small OpenID provider on this machine, for the tests that need one."""

import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

NOW = 1_790_000_000
AUDIENCE = "fleetgraph-api"


def rsa(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}, private=True)


RSA_ONE, RSA_TWO = rsa("one"), rsa("two")
EC = ECKey.generate_key("P-256", {"kid": "ec"}, private=True)
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"}, private=True)


class Provider:
    """A small OpenID provider: what it answers can be changed, and what it was asked is kept."""

    def __init__(self) -> None:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                provider.gate.wait(10)
                status, body = provider.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if 300 <= status < 400:
                    self.send_header("Location", "/keys")
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.end_headers()
                # A caller who was tired of waiting has gone.
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing."""

        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.discovery: Any = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}
        self.keys: Any = {"keys": []}
        self.status = 200
        self.publish(RSA_ONE)

    def answer(self, path: str) -> tuple[int, bytes]:
        document = {"/.well-known/openid-configuration": self.discovery, "/keys": self.keys}.get(path)
        if document is None:
            return 404, b"{}"
        return self.status, document if isinstance(document, bytes) else json.dumps(document).encode()

    def publish(self, *keys: Key) -> None:
        self.keys = {"keys": [key.as_dict(private=False) for key in keys]}

    def token(self, key: Key = RSA_ONE, algorithm: str = "RS256", header: Any = None, **claims: Any) -> str:
        content = {"iss": self.issuer, "aud": AUDIENCE, "sub": "auth0|ada", "iat": NOW, "exp": NOW + 300} | claims
        present = {name: value for name, value in content.items() if value is not None}
        named = {"alg": algorithm, "kid": key.kid} | (header or {})
        named = {name: value for name, value in named.items() if value is not None}
        with warnings.catch_warnings():
            # The library warns of signing as EdDSA; what verifies must not.
            warnings.simplefilter("ignore", SecurityWarning)
            return jwt.encode(named, present, key, [algorithm])


@contextmanager
def running() -> Iterator[Provider]:
    """A provider that answers as long as the block lasts."""
    made = Provider()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.gate.set()
        made.server.shutdown()
        made.server.server_close()
        thread.join()
