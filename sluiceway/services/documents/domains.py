"""Search domains: names for the one endpoint, with tags and access policies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sluiceway.config import SearchSettings
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Invalid, NotFound, Throttled

#: (name) -> Domain
DOMAINS = "search_domains"

_NAME = re.compile(r"[a-z][a-z0-9-]{2,27}\Z")
_VERSION = re.compile(r"(?:Elasticsearch_)?([1-9]\.\d{1,2})\Z")
_TAGS_MAX = 50


@dataclass(frozen=True, slots=True)
class Domain:
    """``options`` are what the maker said of a cluster that isn't one; they are shown as they were given."""

    name: str
    id: str
    version: str
    policy: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def policy_document(self) -> dict[str, Any] | None:
        """The access policy."""
        parsed: dict[str, Any] | None = json.loads(self.policy) if self.policy else None
        return parsed


class Domains:
    """``scope`` is the account and region of every domain."""

    def __init__(self, scope: Scope, limits: SearchSettings) -> None:
        self.scope = scope
        self._limits = limits

    def arn(self, name: str) -> str:
        """The domain's ARN."""
        return self.scope.arn("es", f"domain/{name}")

    def create(
        self, tx: Tx, name: str, version: str, policy: str, options: dict[str, Any], tags: dict[str, str]
    ) -> Domain:
        """Raises ``AlreadyExists("domain")``, ``Invalid("name" | "version" | "policy")``, ``Throttled("domains")``."""
        if not _NAME.match(name):
            raise Invalid("name", f"Domain name {name[:100]!r} must have 3 to 28 characters a-z, 0-9 and -, and start with "
                          "a letter.")  # fmt: skip
        if not _VERSION.match(version):
            raise Invalid("version", f"There is no Elasticsearch version {version[:50]!r}.")
        if tx.get(DOMAINS, (name,)) is not None:
            raise AlreadyExists("domain", f"Domain with name {name} already exists.")
        if sum(1 for _ in tx.scan(DOMAINS, limit=self._limits.domains_max)) >= self._limits.domains_max:
            raise Throttled("domains", f"There are {self._limits.domains_max} domains already.")
        _check_policy(policy)
        _check_tags(tags)
        domain = Domain(name, f"{self.scope.account}/{name}", version, policy, options, tags)
        tx.put(DOMAINS, (name,), asdict(domain))
        return domain

    def get(self, view: View, name: str) -> Domain:
        """Raises ``NotFound("domain")``."""
        row: Any = view.get(DOMAINS, (name,)) if name else None
        if row is None:
            raise NotFound("domain", f"Domain not found: {name[:100]}")
        return Domain(**row)

    def all(self, view: View) -> Iterator[Domain]:
        """Domains by name."""
        for _, row in view.scan(DOMAINS):
            yield Domain(**row)

    def set_policy(self, tx: Tx, name: str, policy: str) -> Domain:
        """Raises ``NotFound("domain")``, ``Invalid("policy")``."""
        _check_policy(policy)
        domain = replace(self.get(tx, name), policy=policy)
        tx.put(DOMAINS, (name,), asdict(domain))
        return domain

    def delete(self, tx: Tx, name: str) -> Domain:
        """Forget the name. Indices stay: they belong to the endpoint. Raises ``NotFound("domain")``."""
        domain = self.get(tx, name)
        tx.delete(DOMAINS, (name,))
        return domain

    def set_tags(self, tx: Tx, name: str, add: dict[str, str], remove: frozenset[str] = frozenset()) -> None:
        """Raises ``NotFound("domain")``, ``Invalid("tags")``."""
        domain = self.get(tx, name)
        tags = {key: value for key, value in domain.tags.items() if key not in remove} | add
        _check_tags(tags)
        tx.put(DOMAINS, (name,), asdict(replace(domain, tags=tags)))


def _check_policy(policy: str) -> None:
    if not policy:
        return
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not document.get("Statement") or len(policy) > 102_400:
        raise Invalid("policy", "The access policy is not a policy document.")


def _check_tags(tags: dict[str, str]) -> None:
    if len(tags) > _TAGS_MAX or any(not 1 <= len(key) <= 128 or len(value) > 256 for key, value in tags.items()):
        raise Invalid("tags", f"At most {_TAGS_MAX} tags, keys of 1 to 128 characters and values of up to 256.")
