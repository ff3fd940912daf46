"""The edges over the services: which protocol is answered by what.

Only what every server needs is imported at once. Another edge is imported and made when it is first asked: all of them,
with what they import, take longer to start than a server may, and memory that most servers never need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from sluiceway.core.invoker import Invoker
from sluiceway.core.search.index import SearchIndexes
from sluiceway.edges.apis.sockets import WebSocketEdge
from sluiceway.edges.aws.admission import admitting
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.inprocess import InProcessClient
from sluiceway.edges.aws.operations import ServiceEdge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.http import Handler, Request, Response
from sluiceway.edges.s3.edge import S3Edge
from sluiceway.server.services import Services

if TYPE_CHECKING:
    from sluiceway.edges.apis.http import ApiEdge
    from sluiceway.edges.elasticsearch.edge import SearchEdge
    from sluiceway.edges.issuer.issuer import Issuer


class Edges:
    """``handlers`` by the names of ``edges.routing``; ``pages`` below ``/_sluiceway/``."""

    def __init__(
        self, services: Services, invoker: Invoker, search: SearchIndexes, certificate_pem: Callable[[], bytes]
    ) -> None:
        self._s = s = services
        self._invoker = invoker
        self._indexes = search
        self._certificate_pem = certificate_pem
        self._codecs = Codecs()
        self.sockets = WebSocketEdge(
            s.store, s.apis, s.connections, invoker, s.may_invoke, s.scope, s.settings.apis, s.place.url, s.clock
        )
        self.s3 = S3Edge(
            s.store, s.blobs, s.objects, self._codecs, s.verifier, s.authorize, s.settings.objects, s.clock, s.pressure
        )
        self.handlers: dict[str, Handler] = {name: self._later(name) for name in (*_SERVICES, _MANAGEMENT)}
        self.handlers |= {
            "api": _Later(lambda: self.apis.handle).handle,
            "s3": self.s3.handle,
            "elasticsearch": _Later(lambda: self.search.handle).handle,
        }
        self.pages: dict[str, Handler] = {
            "sns": _Later(self._sns_pages).handle,
            "issuer": _Later(lambda: self.issuer.handle).handle,
        }

    async def close(self) -> None:
        """Let go of what was made."""
        made = vars(self)  # a cached property that nobody asked for is not there
        if "apis" in made:
            await self.apis.close()
        if "search" in made:
            self.search.close()

    @cached_property
    def issuer(self) -> Issuer:
        """Who signs people in."""
        from sluiceway.edges.issuer.issuer import Issuer

        s = self._s
        return Issuer(s.store, s.people, s.sealer, s.place.url, s.settings.apis, s.clock)

    @cached_property
    def apis(self) -> ApiEdge:
        """HTTP APIs."""
        from sluiceway.edges.apis.http import ApiEdge

        s = self._s
        limits = s.settings.apis
        return ApiEdge(
            s.store, s.apis, self._invoker, s.may_invoke, s.scope, limits, s.clock, lambda url: self.issuer.jwks_of(url)
        )

    @cached_property
    def search(self) -> SearchEdge:
        """Elasticsearch's protocol."""
        from sluiceway.edges.elasticsearch.edge import SearchEdge

        s = self._s
        return SearchEdge(
            s.store, s.documents, self._indexes, s.verifier, s.authorize, s.scope, s.settings.search,
            domains=s.domains, keys=s.ring, wakeups=s.wakeups, clock=s.clock,
        )  # fmt: skip

    def _sns_pages(self) -> Handler:
        from sluiceway.edges.sns_pages import SnsPages

        return SnsPages(self._s.store, self._s.topics, self._certificate_pem()).handle

    def service_edge(self, name: str) -> tuple[ServiceEdge, Callable[[bytes], bytes]]:
        """The edge of an AWS service, made now, and what is taken for the path of its requests."""
        if name == _MANAGEMENT:
            from sluiceway.edges.aws.apigatewaymanagementapi import management_edge, path_of

            return management_edge(self.sockets, self._s.settings.apis), path_of
        return _SERVICES[name](_Around(self._s, self._invoker, self.handlers)), lambda raw: raw

    def _later(self, name: str) -> Handler:
        s = self._s

        def make() -> Handler:
            edge, path_of = self.service_edge(name)
            edge = admitting(edge, s.pressure)
            return AwsPipeline(
                edge, self._codecs, s.verifier, s.authorize, s.scope, s.clock, s.settings.http, s.place.url, path_of
            ).handle

        return _Later(make).handle


class _Later:
    """A handler that is made when the first request comes."""

    def __init__(self, make: Callable[[], Handler]) -> None:
        self._make = make
        self._made: Handler | None = None

    async def handle(self, request: Request) -> Response:
        """As the handler's."""
        if self._made is None:
            self._made = self._make()
        return await self._made(request)


class _Around:
    """What the edges of AWS's services are made with."""

    def __init__(self, services: Services, invoker: Invoker, handlers: Mapping[str, Handler]) -> None:
        self.s = services
        self.invoker = invoker
        self.client = InProcessClient(handlers, services.place.url)


def _iam(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.iam import iam_edge

    s = around.s
    return iam_edge(s.store, s.accounts, s.ring)


def _sts(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.sts import sts_edge

    return sts_edge(around.s.store, around.s.accounts)


def _secretsmanager(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.secretsmanager import secretsmanager_edge

    return secretsmanager_edge(around.s.store, around.s.secrets)


def _ssm(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.ssm import ssm_edge

    return ssm_edge(around.s.store, around.s.parameters)


def _kms(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.kms import kms_edge

    return kms_edge(around.s.store, around.s.keys)


def _sns(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.sns import sns_edge
    from sluiceway.services.topics.texting import Texting

    return sns_edge(around.s.store, around.s.topics, Texting(around.s.settings.delivery))


def _sqs(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.sqs import sqs_edge

    s = around.s
    return sqs_edge(s.store, s.queues, s.wakeups, s.settings.queues)


def _kinesis(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.kinesis import kinesis_edge

    s = around.s
    return kinesis_edge(s.store, s.streams, s.wakeups, s.settings.streams)


def _dynamodb(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.dynamodb import dynamodb_edge

    s = around.s
    return dynamodb_edge(s.store, s.tables, s.settings.tables)


def _dynamodbstreams(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.dynamodbstreams import streams_edge

    s = around.s
    return streams_edge(s.store, s.tables, s.settings.tables)


def _es(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.es import es_edge

    s = around.s
    return es_edge(s.store, s.domains, s.settings.search)


def _apigatewayv2(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.apigatewayv2 import apigatewayv2_edge

    s = around.s
    return apigatewayv2_edge(s.store, s.apis, s.settings.apis)


def _logs(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.logs import logs_edge

    s = around.s
    return logs_edge(s.store, s.functions, s.logs)


def _lambda(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.lambda_ import lambda_edge
    from sluiceway.edges.aws.lambda_code import Archives
    from sluiceway.edges.aws.lambda_mappings import mapping_operations

    s = around.s
    archives = Archives(s.store, s.blobs, s.objects, s.authorize, s.settings.functions)
    mapping = mapping_operations(s.store, s.mappings, s.sources, s.functions, s.rights.may_read, s.rights.may_send)
    return lambda_edge(s.store, s.blobs, s.functions, around.invoker, archives, s.check_role, mapping)


def _cloudformation(around: _Around) -> ServiceEdge:
    from sluiceway.edges.aws.cloudformation import cloudformation_edge
    from sluiceway.reactions.stacks.registry import accepted

    s = around.s
    return cloudformation_edge(s.store, s.stacks, accepted(), around.client.call, s.settings.stacks)


_MANAGEMENT: Final = "apigatewaymanagementapi"  # an edge on the connections, which are here already
#: botocore's name of each other service -> what makes its edge.
_SERVICES: Final[Mapping[str, Callable[[Any], ServiceEdge]]] = {
    "iam": _iam,
    "sts": _sts,
    "secretsmanager": _secretsmanager,
    "ssm": _ssm,
    "kms": _kms,
    "sns": _sns,
    "sqs": _sqs,
    "kinesis": _kinesis,
    "dynamodb": _dynamodb,
    "dynamodbstreams": _dynamodbstreams,
    "es": _es,
    "apigatewayv2": _apigatewayv2,
    "logs": _logs,
    "lambda": _lambda,
    "cloudformation": _cloudformation,
}
