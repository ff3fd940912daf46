"""Amazon Elasticsearch Service's protocol, as far as domains are named, described and tagged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sluiceway.config import SearchSettings
from sluiceway.core.store import Store
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge
from sluiceway.errors import AlreadyExists, Invalid, NotFound, NotImplementedYet, Throttled, TooLarge
from sluiceway.services.access import authorize
from sluiceway.services.documents.domains import Domain, Domains

ERRORS: Final[ErrorTable] = {
    (NotFound, "*"): "ResourceNotFoundException",
    (AlreadyExists, "*"): "ResourceAlreadyExistsException",
    (Throttled, "*"): "LimitExceededException",
    (NotImplementedYet, "*"): "ValidationException",
    (Invalid, "*"): "ValidationException",
    (TooLarge, "*"): "ValidationException",
}

_DEFAULT_VERSION: Final = "7.10"
_DESCRIBED_MAX: Final = 5
#: What a domain's maker may say of its cluster, which is this server in any case.
_OPTIONS: Final = (
    "AdvancedOptions",
    "DomainEndpointOptions",
    "EBSOptions",
    "ElasticsearchClusterConfig",
    "EncryptionAtRestOptions",
    "NodeToNodeEncryptionOptions",
    "SnapshotOptions",
)
_CLUSTER: Final = {"InstanceType": "t3.small.elasticsearch", "InstanceCount": 1, "DedicatedMasterEnabled": False,
                   "ZoneAwarenessEnabled": False}  # fmt: skip


def es_edge(store: Store, domains: Domains, limits: SearchSettings) -> ServiceEdge:
    """The operations on ``domains``."""
    edge = _Es(store, domains, limits)
    table = {
        "CreateElasticsearchDomain": Operation(edge.create, edge.resource),
        "DeleteElasticsearchDomain": Operation(edge.delete, edge.resource, policy=edge.policy),
        "DescribeElasticsearchDomain": Operation(edge.describe, edge.resource, policy=edge.policy),
        "DescribeElasticsearchDomainConfig": Operation(edge.describe_config, edge.resource, policy=edge.policy),
        "DescribeElasticsearchDomains": Operation(edge.describe_all, edge.first, policy=edge.policy),
        "UpdateElasticsearchDomainConfig": Operation(edge.update, edge.resource, policy=edge.policy),
        "ListDomainNames": Operation(edge.names, lambda call: "*"),
        "AddTags": Operation(edge.add_tags, lambda call: str(call.params["ARN"])),
        "ListTags": Operation(edge.list_tags, lambda call: str(call.params["ARN"])),
        "RemoveTags": Operation(edge.remove_tags, lambda call: str(call.params["ARN"])),
    }
    return ServiceEdge("es", "es", table, ERRORS)


class _Es:
    def __init__(self, store: Store, domains: Domains, limits: SearchSettings) -> None:
        self._store = store
        self._domains = domains
        self._limits = limits

    def resource(self, call: Call) -> str:
        """The domain's ARN."""
        return self._domains.arn(call.params["DomainName"])

    async def policy(self, call: Call) -> dict[str, Any] | None:
        """The domain's access policy; of several domains the first's."""
        name = _first(call)
        found = await self._store.view(lambda view: [each for each in self._domains.all(view) if each.name == name])
        return found[0].policy_document if found else None

    def first(self, call: Call) -> str:
        """Of several domains the first's ARN; the handler asks about every one."""
        return self._domains.arn(_first(call))

    async def create(self, call: Call) -> Output:
        """CreateElasticsearchDomain"""
        params = call.params
        if params.get("VPCOptions") or (params.get("CognitoOptions") or {}).get("Enabled"):
            raise NotImplementedYet("options", "VPCOptions and CognitoOptions are not offered here.")
        if (params.get("AdvancedSecurityOptions") or {}).get("Enabled"):
            raise NotImplementedYet("options", "AdvancedSecurityOptions are not offered here: policies decide.")
        options = {name: params[name] for name in _OPTIONS if params.get(name)}
        tags = {tag["Key"]: tag.get("Value", "") for tag in params.get("TagList") or ()}
        version = params.get("ElasticsearchVersion") or _DEFAULT_VERSION
        policy = params.get("AccessPolicies") or ""
        domain = await self._store.commit(self._domains.create, params["DomainName"], version, policy, options, tags)
        return {"DomainStatus": self._status(call, domain)}

    async def delete(self, call: Call) -> Output:
        """DeleteElasticsearchDomain"""
        domain = await self._store.commit(self._domains.delete, call.params["DomainName"])
        return {"DomainStatus": self._status(call, domain) | {"Deleted": True}}

    async def describe(self, call: Call) -> Output:
        """DescribeElasticsearchDomain"""
        domain = await self._store.view(self._domains.get, call.params["DomainName"])
        return {"DomainStatus": self._status(call, domain)}

    async def describe_all(self, call: Call) -> Output:
        """DescribeElasticsearchDomains: those that are there."""
        wanted = call.params["DomainNames"]
        if len(wanted) > _DESCRIBED_MAX:
            raise Invalid("names", f"Please provide a maximum of {_DESCRIBED_MAX} domain names to describe.")
        domains = await self._store.view(lambda view: {domain.name: domain for domain in self._domains.all(view)})
        for name in wanted:
            policy = domains[name].policy_document if name in domains else None
            authorize(call.principal, f"es:{call.operation}", self._domains.arn(name), call.conditions, policy)
        return {"DomainStatusList": [self._status(call, domains[name]) for name in wanted if name in domains]}

    async def describe_config(self, call: Call) -> Output:
        """DescribeElasticsearchDomainConfig"""
        domain = await self._store.view(self._domains.get, call.params["DomainName"])
        return {"DomainConfig": self._config(call, domain)}

    async def update(self, call: Call) -> Output:
        """UpdateElasticsearchDomainConfig: the access policy; there is no cluster to change."""
        policy = call.params.get("AccessPolicies")
        name = call.params["DomainName"]
        if policy is None:
            domain = await self._store.view(self._domains.get, name)
        else:
            domain = await self._store.commit(self._domains.set_policy, name, policy)
        return {"DomainConfig": self._config(call, domain)}

    async def names(self, call: Call) -> Output:
        """ListDomainNames"""
        if call.params.get("EngineType") == "OpenSearch":
            return {"DomainNames": []}
        domains = await self._store.view(lambda view: list(self._domains.all(view)))
        return {"DomainNames": [{"DomainName": domain.name, "EngineType": "Elasticsearch"} for domain in domains]}

    async def add_tags(self, call: Call) -> Output:
        """AddTags"""
        tags = {tag["Key"]: tag.get("Value", "") for tag in call.params["TagList"]}
        await self._store.commit(self._domains.set_tags, self._name(call), tags)
        return None

    async def remove_tags(self, call: Call) -> Output:
        """RemoveTags"""
        await self._store.commit(self._domains.set_tags, self._name(call), {}, frozenset(call.params["TagKeys"]))
        return None

    async def list_tags(self, call: Call) -> Output:
        """ListTags"""
        domain = await self._store.view(self._domains.get, self._name(call))
        return {"TagList": [{"Key": key, "Value": value} for key, value in domain.tags.items()]}

    def _name(self, call: Call) -> str:
        start = self._domains.arn("")
        arn = str(call.params["ARN"])
        if not arn.startswith(start):
            raise Invalid("arn", f"Provided ARN is not a domain's: {arn[:200]}")
        return arn.removeprefix(start)

    def _status(self, call: Call, domain: Domain) -> dict[str, Any]:
        status: dict[str, Any] = {
            "ElasticsearchClusterConfig": _CLUSTER,
            "EBSOptions": {"EBSEnabled": False},
            **domain.options,
            "DomainId": domain.id,
            "DomainName": domain.name,
            "ARN": self._domains.arn(domain.name),
            "Created": True,
            "Deleted": False,
            "Processing": False,
            "UpgradeProcessing": False,
            "Endpoint": endpoint(call.base_url),
            "ElasticsearchVersion": domain.version,
        }
        if domain.policy:
            status["AccessPolicies"] = domain.policy
        return status

    def _config(self, call: Call, domain: Domain) -> dict[str, Any]:
        now = datetime.fromtimestamp(call.now_ms / 1000, UTC)
        status = {"State": "Active", "CreationDate": now, "UpdateDate": now}
        shown: dict[str, Any] = {"ElasticsearchVersion": domain.version, "AccessPolicies": domain.policy}
        shown |= {"ElasticsearchClusterConfig": _CLUSTER, **domain.options}
        return {name: {"Options": value, "Status": status} for name, value in shown.items()}


def _first(call: Call) -> str:
    names = call.params.get("DomainNames") or [call.params.get("DomainName", "")]
    return str(names[0])


def endpoint(base_url: str) -> str:
    """Where the domain is. Clients take it for HTTPS unless it says otherwise."""
    return f"{base_url.removeprefix('https://').rstrip('/')}/_es"
