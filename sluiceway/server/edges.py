"""The edges over the services: which protocol is answered by what."""

from __future__ import annotations

from collections.abc import Callable

from sluiceway.core.invoker import Invoker
from sluiceway.core.search.index import SearchIndexes
from sluiceway.edges.apis.http import ApiEdge
from sluiceway.edges.apis.sockets import WebSocketEdge
from sluiceway.edges.aws.apigatewaymanagementapi import management_edge, path_of
from sluiceway.edges.aws.apigatewayv2 import apigatewayv2_edge
from sluiceway.edges.aws.cloudformation import cloudformation_edge
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.dynamodb import dynamodb_edge
from sluiceway.edges.aws.dynamodbstreams import streams_edge
from sluiceway.edges.aws.es import es_edge
from sluiceway.edges.aws.iam import iam_edge
from sluiceway.edges.aws.inprocess import InProcessClient
from sluiceway.edges.aws.kinesis import kinesis_edge
from sluiceway.edges.aws.kms import kms_edge
from sluiceway.edges.aws.lambda_ import lambda_edge
from sluiceway.edges.aws.lambda_code import Archives
from sluiceway.edges.aws.lambda_mappings import mapping_operations
from sluiceway.edges.aws.logs import logs_edge
from sluiceway.edges.aws.operations import ServiceEdge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.aws.secretsmanager import secretsmanager_edge
from sluiceway.edges.aws.sns import sns_edge
from sluiceway.edges.aws.sqs import sqs_edge
from sluiceway.edges.aws.ssm import ssm_edge
from sluiceway.edges.aws.sts import sts_edge
from sluiceway.edges.elasticsearch.edge import SearchEdge
from sluiceway.edges.http import Handler
from sluiceway.edges.issuer.issuer import Issuer
from sluiceway.edges.s3.edge import S3Edge
from sluiceway.edges.sns_pages import SnsPages
from sluiceway.reactions.stacks.registry import accepted
from sluiceway.server.services import Services
from sluiceway.services.mappings import RoleRights


class Edges:
    """``handlers`` by the names of ``edges.routing``; ``pages`` below ``/_sluiceway/``."""

    def __init__(self, services: Services, invoker: Invoker, search: SearchIndexes, certificate_pem: bytes) -> None:
        self._s = s = services
        self._codecs = Codecs()
        self.handlers: dict[str, Handler] = {}
        for edge in (*self._plain(), *self._computing(invoker)):
            self._add(edge)
        self.issuer = Issuer(s.store, s.people, s.sealer, s.place.url, s.settings.apis, s.clock)
        self.apis = ApiEdge(
            s.store, s.apis, invoker, s.may_invoke, s.scope, s.settings.apis, s.clock, self.issuer.jwks_of
        )
        self.handlers["api"] = self.apis.handle
        self.sockets = WebSocketEdge(
            s.store, s.apis, s.connections, invoker, s.may_invoke, s.scope, s.settings.apis, s.place.url, s.clock
        )
        self._add(management_edge(self.sockets, s.settings.apis), path_of)
        self.s3 = S3Edge(
            s.store, s.blobs, s.objects, self._codecs, s.verifier, s.authorize, s.settings.objects, s.clock
        )
        self.handlers["s3"] = self.s3.handle
        self.search = SearchEdge(
            s.store, s.documents, search, s.verifier, s.authorize, s.scope, s.settings.search,
            domains=s.domains, keys=s.ring, wakeups=s.wakeups, clock=s.clock,
        )  # fmt: skip
        self.handlers["elasticsearch"] = self.search.handle
        self.pages: dict[str, Handler] = {
            "sns": SnsPages(s.store, s.topics, certificate_pem).handle,
            "issuer": self.issuer.handle,
        }

    def _add(self, edge: ServiceEdge, path_of: Callable[[bytes], bytes] = lambda raw: raw) -> None:
        s = self._s
        pipeline = AwsPipeline(
            edge, self._codecs, s.verifier, s.authorize, s.scope, s.clock, s.settings.http, s.place.url, path_of
        )
        self.handlers[edge.name] = pipeline.handle

    def _plain(self) -> list[ServiceEdge]:
        s = self._s
        return [
            iam_edge(s.store, s.accounts, s.ring),
            sts_edge(s.store, s.accounts),
            secretsmanager_edge(s.store, s.secrets),
            ssm_edge(s.store, s.parameters),
            kms_edge(s.store, s.keys),
            sns_edge(s.store, s.topics),
            sqs_edge(s.store, s.queues, s.wakeups, s.settings.queues),
            kinesis_edge(s.store, s.streams, s.wakeups, s.settings.streams),
            dynamodb_edge(s.store, s.tables, s.settings.tables),
            streams_edge(s.store, s.tables, s.settings.tables),
            es_edge(s.store, s.domains, s.settings.search),
            apigatewayv2_edge(s.store, s.apis, s.settings.apis),
            logs_edge(s.store, s.functions, s.logs),
        ]

    def _computing(self, invoker: Invoker) -> list[ServiceEdge]:
        s = self._s
        archives = Archives(s.store, s.blobs, s.objects, s.authorize, s.settings.functions)
        client = InProcessClient(self.handlers, s.place.url)
        rights = RoleRights(s.caller_of, s.queues.policy)
        mapping = mapping_operations(s.store, s.mappings, s.sources, s.functions, rights.may_read, rights.may_send)
        return [
            lambda_edge(s.store, s.blobs, s.functions, invoker, archives, s.check_role, mapping),
            cloudformation_edge(s.store, s.stacks, accepted(), client.call, s.settings.stacks),
        ]
