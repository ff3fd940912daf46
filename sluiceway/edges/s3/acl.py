"""Access control lists on the wire, and the ownership controls that turn them on.

(S3 API reference, GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl, PutBucketOwnershipControls.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sluiceway.edges.http import Headers, Response
from sluiceway.edges.s3.admission import GRANT_HEADERS, has_list
from sluiceway.edges.s3.body import document
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.versions import version_of
from sluiceway.errors import Invalid
from sluiceway.services.objects.acls import Acl, check_owner
from sluiceway.services.objects.grants import Asked, Grant, Level, canned, granted
from sluiceway.services.objects.owning import OWNERSHIPS

_MALFORMED: Final = "The XML you provided was not well-formed or did not validate against our published schema"
_EMAIL: Final = "Grants by email address are not supported. Name the grantee by its canonical user id."


def list_of(headers: Headers, level: Level = "object") -> Asked | None:
    """The list that a request's headers ask for; None where they ask for none.

    Raises ``Invalid("argument" | "request" | "acl_form" | "acl_email")``.
    """
    if not has_list(headers):
        return None
    given = [name for name in GRANT_HEADERS if name in headers]
    name = headers.get("x-amz-acl")
    if name and given:
        raise Invalid("request", "Specifying both Canned ACLs and Header Grants is not allowed")
    if "x-amz-acl" in headers and not given:
        return canned(name, level)
    return granted([grant for header in given for grant in _header_grants(header, headers)])


def _header_grants(header: str, headers: Headers) -> Iterator[Grant]:
    """The grantees of one header: ``id="...", uri="..."``, in any number."""
    for piece in ",".join(headers.all(header)).split(","):
        kind, equals, value = piece.strip().partition("=")
        value = value.strip().strip('"')
        if not equals or not value:
            raise Invalid("argument", "Argument format not recognized", ArgumentName=header, ArgumentValue=piece[:200])
        kind = kind.strip().lower()
        if kind == "emailaddress":
            raise Invalid("acl_email", _EMAIL)
        if kind not in ("id", "uri") or (kind == "uri") != (":" in value):
            raise Invalid("argument", "Argument format not recognized", ArgumentName=header, ArgumentValue=piece[:200])
        yield value, GRANT_HEADERS[header]


async def _asked(call: Call, level: Level) -> tuple[Asked, dict[str, Any] | None]:
    """The list of PutBucketAcl and PutObjectAcl, from headers or the body, and the owner that a body names."""
    of_headers = list_of(call.request.headers, level)
    body = await document(call)
    if of_headers is not None:
        if body.strip():
            raise Invalid("acl_twice", "This request does not support content")
        return of_headers, None
    if not body.strip():
        raise Invalid("acl_missing", "Your request was missing a required header", MissingHeaderName="x-amz-acl")
    try:
        policy = call.params(body).get("AccessControlPolicy")
    except Invalid as error:
        raise Invalid("acl_form", _MALFORMED) from error
    if not policy:
        raise Invalid("acl_form", _MALFORMED)
    return granted([_grant(one) for one in policy.get("Grants") or ()]), policy.get("Owner") or {}


def _grant(member: dict[str, Any]) -> Grant:
    grantee = member.get("Grantee") or {}
    kind, permission = grantee.get("Type"), member.get("Permission") or ""
    if kind == "AmazonCustomerByEmail" or "EmailAddress" in grantee:
        raise Invalid("acl_email", _EMAIL)
    value = grantee.get("ID" if kind == "CanonicalUser" else "URI") or ""
    if kind not in ("CanonicalUser", "Group") or not value or (kind == "Group") != (":" in value):
        raise Invalid("acl_form", _MALFORMED)
    return value, permission


def _members(acl: Acl) -> dict[str, Any]:
    return {
        "Owner": {"ID": acl.owner},
        "Grants": [{"Grantee": _grantee(grantee), "Permission": permission} for grantee, permission in acl.grants],
    }


def _grantee(grantee: str) -> dict[str, str]:
    if ":" in grantee:
        return {"Type": "Group", "URI": grantee}
    return {"Type": "CanonicalUser", "ID": grantee}


async def get_bucket_acl(call: Call) -> Response:
    """GetBucketAcl."""
    tools = call.tools
    return call.reply(_members(await tools.store.view(tools.objects.acls.of_bucket, call.bucket)))


async def put_bucket_acl(call: Call) -> Response:
    """PutBucketAcl."""
    asked, owner = await _asked(call, "bucket")
    tools = call.tools
    if owner is not None:
        check_owner(await tools.store.view(tools.objects.acls.of_bucket, call.bucket), owner)
    await tools.store.commit(tools.objects.acls.put_on_bucket, call.bucket, asked)
    return Response(200)


async def get_object_acl(call: Call) -> Response:
    """GetObjectAcl."""
    tools = call.tools
    return call.reply(
        _members(await tools.store.view(tools.objects.acls.of_object, call.bucket, call.key, version_of(call)))
    )


async def put_object_acl(call: Call) -> Response:
    """PutObjectAcl."""
    asked, owner = await _asked(call, "object")
    tools = call.tools
    version = version_of(call)
    if owner is not None:
        check_owner(await tools.store.view(tools.objects.acls.of_object, call.bucket, call.key, version), owner)
    await tools.store.commit(tools.objects.acls.put_on_object, call.bucket, call.key, asked, call.actor, version)
    return Response(200)


def ownership_of(headers: Headers) -> str:
    """The object ownership that CreateBucket asks for, "" for none. Raises ``Invalid("argument")``."""
    asked = headers.get("x-amz-object-ownership")
    if asked and asked not in OWNERSHIPS:
        raise Invalid(
            "argument",
            "Invalid x-amz-object-ownership header",
            ArgumentName="x-amz-object-ownership",
            ArgumentValue=asked[:100],
        )
    return asked


async def get_ownership(call: Call) -> Response:
    """GetBucketOwnershipControls."""
    tools = call.tools
    found = await tools.store.view(tools.objects.acls.ownership, call.bucket)
    return call.reply({"OwnershipControls": {"Rules": [{"ObjectOwnership": found}]}})


async def put_ownership(call: Call) -> Response:
    """PutBucketOwnershipControls: exactly one rule."""
    rules = (call.params(await document(call)).get("OwnershipControls") or {}).get("Rules") or []
    ownership = rules[0].get("ObjectOwnership") if len(rules) == 1 else None
    if not ownership:
        raise Invalid("malformed", "The XML you provided was not well-formed or did not validate")
    tools = call.tools
    await tools.store.commit(tools.objects.acls.put_ownership, call.bucket, ownership)
    return Response(200)


async def delete_ownership(call: Call) -> Response:
    """DeleteBucketOwnershipControls."""
    tools = call.tools
    await tools.store.commit(tools.objects.acls.put_ownership, call.bucket, "")
    return Response(204)
