"""The two client libraries. Importing them takes a second, so only `connect` imports this."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import elasticsearch
from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport import ConnectionTimeout as ElasticTimeout
from elastic_transport import NodeConfig, Serializer, TlsError, TransportError, Urllib3HttpNode

from airlift.connections import ElasticsearchConnection
from airlift.sources.elasticsearch.bounded_answers import bound
from airlift.sources.elasticsearch.refusals import ServerError, refusal

JSON_HEADERS = {"accept": "application/json", "content-type": "application/json"}


class OtherProduct(Exception):
    """The server is not one that the Elasticsearch client speaks to."""


class _BoundedNode(Urllib3HttpNode):
    """The client's own, with answers of a bounded size."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        bound(self.pool)


class _Bytes(Serializer):
    """Leaves bodies as they are: they are parsed by those who know what is in them."""

    mimetype = "application/json"

    def loads(self, data: bytes) -> bytes:
        return data

    def dumps(self, data: Any) -> bytes:
        return bytes(data)


class ElasticsearchWire:
    """The `elasticsearch` client."""

    def __init__(self, connection: ElasticsearchConnection) -> None:
        self._address = connection.address
        options: dict[str, Any] = {"request_timeout": connection.timeout, "max_retries": 0}
        if connection.cloud_id:
            options["cloud_id"] = connection.cloud_id
        else:
            options["hosts"] = list(connection.hosts)
        if connection.user:
            options["basic_auth"] = (connection.user, connection.password.get_secret_value())
        elif connection.api_key.get_secret_value():
            options["api_key"] = connection.api_key.get_secret_value()
        elif token := connection.token:
            options["bearer_auth"] = token
        if connection.fingerprint:
            options["ssl_assert_fingerprint"] = connection.fingerprint
        elif connection.is_tls:
            options.update(_tls(connection))
        self._client = elasticsearch.Elasticsearch(
            serializers={"application/json": _Bytes()}, node_class=_BoundedNode, **options
        )

    def send(self, method: str, path: str, params: Mapping[str, str], body: bytes | None) -> bytes:
        """See `Wire`. Raises OtherProduct for what is no Elasticsearch."""
        what = f"{self._address}, {method} {path}"
        try:
            answer = self._client.perform_request(
                method, path, params=params, headers=JSON_HEADERS, body=body
            )
        except elasticsearch.UnsupportedProductError as error:
            raise OtherProduct from error
        except elasticsearch.ApiError as error:
            asked = error.meta.headers.get("retry-after") or ""
            raise refusal(error.meta.status, _raw(error.body), what, asked) from error
        except TlsError as error:
            raise _untrusted(what, error) from error
        except (ElasticTimeout, ElasticConnectionError) as error:
            raise _unreached(what, error, error.__cause__) from error
        except TransportError as error:
            raise ServerError(f"{what}: {error}") from error
        return _raw(answer.body)

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()


class OpenSearchWire:
    """The `opensearch-py` client."""

    def __init__(self, connection: ElasticsearchConnection) -> None:
        import opensearchpy

        self._library = opensearchpy
        self._address = connection.address
        headers = {}
        if connection.api_key.get_secret_value():
            headers["authorization"] = f"ApiKey {connection.api_key.get_secret_value()}"
        elif token := connection.token:
            headers["authorization"] = f"Bearer {token}"
        options: dict[str, Any] = {"headers": headers or None}
        self._signs = connection.aws is not None
        self._target: Callable[[str, Mapping[str, str]], str] = _target
        if connection.aws:
            from airlift.sources.elasticsearch.signing import RequestSigner, signed_target

            self._target = signed_target
            options["http_auth"] = RequestSigner(connection.aws)
        elif connection.user:
            options["http_auth"] = (connection.user, connection.password.get_secret_value())
        if connection.fingerprint:
            # The fingerprint is checked all the same: it says more than a chain of signatures.
            options["ssl_assert_fingerprint"] = connection.fingerprint
            options |= {"verify_certs": False, "ssl_show_warn": False}
        elif connection.is_tls:
            options.update(_tls(connection))
        self._client = opensearchpy.OpenSearch(
            list(connection.hosts),
            timeout=connection.timeout,
            max_retries=0,
            retry_on_status=(),
            serializer=_OpenSearchBytes(),
            connection_class=_bounded_connection(),
            **options,
        )

    def send(self, method: str, path: str, params: Mapping[str, str], body: bytes | None) -> bytes:
        """See `Wire`."""
        what = f"{self._address}, {method} {path}"
        errors = self._library.exceptions
        target = self._target(path, params)
        try:
            answer = self._client.transport.perform_request(
                method, target, body=body, headers={"content-type": "application/json"}
            )
        except errors.SSLError as error:
            raise _untrusted(what, error.error) from error
        except errors.ConnectionError as error:
            raise _unreached(what, error.error, error.info) from error
        except errors.TransportError as error:
            status = error.status_code if isinstance(error.status_code, int) else 0
            refused = refusal(status, _raw(error.info or str(error.error)), what)
            # The library's error has the whole answer of AWS, with the session token.
            raise refused from (None if self._signs else error)
        except errors.OpenSearchException as error:
            raise ServerError(f"{what}: {error}") from error
        return _raw(answer)

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()


def _target(path: str, params: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(params)}" if params else path


def _bounded_connection() -> type:
    from opensearchpy import Urllib3HttpConnection

    class BoundedConnection(Urllib3HttpConnection):
        """The client's own, with answers of a bounded size."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            bound(self.pool)

    return BoundedConnection


class _OpenSearchBytes:
    """As `_Bytes`, for the other client, which hands over text."""

    mimetype = "application/json"

    def loads(self, data: Any) -> Any:
        return data

    def dumps(self, data: Any) -> Any:
        return data


def _raw(body: Any) -> bytes:
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    import orjson

    return orjson.dumps(body)


def _tls(connection: ElasticsearchConnection) -> dict[str, Any]:
    """Options that both clients take by the same names."""
    if not connection.verify_certs:
        return {"verify_certs": False, "ssl_show_warn": False}
    if connection.ca_file:
        return {"ca_certs": connection.ca_file, "verify_certs": True}
    # The machine's own store, where a company's CA stands too.
    return {"ssl_context": ssl.create_default_context()}


def _untrusted(what: str, error: Any) -> ServerError:
    return ServerError(
        f"{what}: the server's certificate is not trusted ({error}); set the connection's ca_file "
        "or fingerprint"
    )


def _unreached(what: str, error: Any, cause: object) -> ServerError:
    if isinstance(cause, ServerError):
        return ServerError(f"{what}: {cause}", kind=cause.kind, passes=cause.passes)
    return ServerError(
        f"{what}: no answer ({error}); check the connection's host, port and TLS, and whether the "
        "server runs",
        passes=True,
    )
