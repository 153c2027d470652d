"""A server on 127.0.0.1 that speaks S3: moto's, with its conditional puts made atomic, as S3's are.

moto looks for an object and then writes it; between the two another of its threads may write. A lock around each
request that writes makes it keep S3's promise: of many puts with If-None-Match, one is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class S3Server:
    """`url` is the endpoint. `requests` are (method, path, query) in the order they came."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self._app = DomainDispatcherApplication(create_backend_app)
        self._writing = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find this server: fsspec's and the AWS libraries' own names."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "road-key-id",
            "AWS_SECRET_ACCESS_KEY": "road-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        self.requests.append((method, environ["PATH_INFO"], environ["QUERY_STRING"]))
        if method in {"PUT", "POST", "DELETE"}:
            with self._writing:
                return list(self._app(environ, start_response))
        return self._app(environ, start_response)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, *args: Any) -> None:
        """Silent."""
