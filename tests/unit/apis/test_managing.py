"""APIs are made, imported, changed and listed."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from botocore.exceptions import ClientError
from helpers.apis import Server, fetch, function_arn, make_api
from helpers.inprocess import call

from sluiceway.services.stacks.sam import translate

SAM = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Web:
    Type: AWS::Serverless::HttpApi
    Properties:
      CorsConfiguration: {AllowOrigins: ["https://a.example"], AllowMethods: ["GET"], MaxAge: 600}
      Auth:
        DefaultAuthorizer: People
        Authorizers:
          People:
            IdentitySource: $request.header.Authorization
            AuthorizationScopes: [read]
            JwtConfiguration: {issuer: "https://issuer.example", audience: [shop]}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Runtime: python3.12
      CodeUri: s3://a/b
      Events:
        A: {Type: HttpApi, Properties: {ApiId: {Ref: Web}, Path: "/x/{proxy+}", Method: any}}
        B: {Type: HttpApi, Properties: {ApiId: {Ref: Web}, Path: /open, Method: get, Auth: {Authorizer: NONE}}}
        C: {Type: HttpApi, Properties: {ApiId: {Ref: Web}, Path: /old, Method: get, PayloadFormatVersion: "1.0"}}
        D: {Type: HttpApi, Properties: {ApiId: {Ref: Web}}}
"""


def sam_body() -> str:
    """What the translator makes of it, with references filled in."""
    resources = translate(yaml.safe_load(SAM), {}, "us-east-1")["Resources"]
    text = json.dumps(resources["Web"]["Properties"]["Body"])
    text = text.replace('{"Ref": "AWS::StackName"}', '"stack"')
    return re.sub(r'\{"Fn::Sub": "[^"]*functions/[^"]*"\}', json.dumps(function_arn("f")), text)


async def test_what_sam_makes_is_imported(server: Server) -> None:
    server.pool.functions["f"] = lambda event: event["version"]
    client = server.client()
    api = await call(client.import_api, Body=sam_body())
    api_id = api["ApiId"]
    assert api["Name"] == "stack" and api["CorsConfiguration"]["MaxAge"] == 600
    assert api["Tags"] == {"httpapi:createdBy": "SAM"}
    await call(client.create_stage, ApiId=api_id, StageName="$default", AutoDeploy=True)
    routes = {item["RouteKey"]: item for item in (await call(client.get_routes, ApiId=api_id))["Items"]}
    assert sorted(routes) == ["$default", "ANY /x/{proxy+}", "GET /old", "GET /open"]
    assert routes["GET /old"]["AuthorizationScopes"] == ["read"] and routes["GET /open"]["AuthorizationType"] == "NONE"
    base = api["ApiEndpoint"]
    assert (await fetch("GET", f"{base}/open"))[:2] == (200, b"2.0")
    assert (await fetch("GET", f"{base}/old"))[0] == 401 and (await fetch("GET", f"{base}/else"))[0] == 401
    body = json.loads(sam_body())
    del body["paths"]["/open"]
    again = await call(client.reimport_api, ApiId=api_id, Body=json.dumps(body))
    assert again["ApiId"] == api_id
    assert (await fetch("GET", f"{base}/open"))[0] == 401  # the default route now
    assert len((await call(client.get_authorizers, ApiId=api_id))["Items"]) == 1
    body["paths"]["$default"]["x-amazon-apigateway-any-method"]["security"] = [{"Unknown": []}]
    with pytest.raises(ClientError, match="Unknown"):
        await call(client.reimport_api, ApiId=api_id, Body=json.dumps(body))
    assert len((await call(client.get_routes, ApiId=api_id))["Items"]) == 3  # nothing of it was kept


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "swagger: '2.0'", "openapi: 3.0.1", "openapi: 3.0.1\ninfo: {title: 1}"]
)
async def test_bad_documents_are_refused(server: Server, body: str) -> None:
    with pytest.raises(ClientError) as refused:
        await call(server.client().import_api, Body=body or " ")
    assert refused.value.response["Error"]["Code"] == "BadRequestException"


async def test_parts_are_made_read_changed_and_deleted(server: Server) -> None:
    client = server.client()
    api_id = (await make_api(server, {"GET /x": "f"}, Tags={"a": "1"}, Description="d"))["ApiId"]
    api = await call(client.get_api, ApiId=api_id)
    assert api["Description"] == "d" and api["ProtocolType"] == "HTTP" and api["DisableExecuteApiEndpoint"] is False
    assert api["CreatedDate"].year >= 2024
    await call(client.update_api, ApiId=api_id, Name="renamed", DisableExecuteApiEndpoint=True)
    assert (await call(client.get_apis))["Items"][0]["Name"] == "renamed"
    assert (await fetch("GET", f"{server.url}/_api/{api_id}/x"))[0] == 404
    route = (await call(client.get_routes, ApiId=api_id))["Items"][0]
    assert (await call(client.get_route, ApiId=api_id, RouteId=route["RouteId"]))["RouteKey"] == "GET /x"
    integration_id = route["Target"].split("/")[1]
    for refused in (
        call(client.delete_integration, ApiId=api_id, IntegrationId=integration_id),
        call(client.create_route, ApiId=api_id, RouteKey="GET /x"),
        call(client.create_stage, ApiId=api_id, StageName="$default"),
    ):
        with pytest.raises(ClientError) as conflict:
            await refused
        assert conflict.value.response["Error"]["Code"] == "ConflictException"
    await call(client.delete_route, ApiId=api_id, RouteId=route["RouteId"])
    await call(client.delete_integration, ApiId=api_id, IntegrationId=integration_id)
    with pytest.raises(ClientError) as missing:
        await call(client.get_integration, ApiId=api_id, IntegrationId=integration_id)
    assert missing.value.response["Error"]["Code"] == "NotFoundException"
    arn = f"arn:aws:apigateway:us-east-1::/apis/{api_id}"
    await call(client.tag_resource, ResourceArn=arn, Tags={"b": "2"})
    await call(client.untag_resource, ResourceArn=arn, TagKeys=["a"])
    assert (await call(client.get_tags, ResourceArn=arn))["Tags"] == {"b": "2"}
    await call(client.delete_api, ApiId=api_id)
    assert (await call(client.get_apis))["Items"] == []


async def test_what_is_not_there_is_refused_when_it_is_made(server: Server) -> None:
    client = server.client()
    api_id = (await make_api(server, {}))["ApiId"]
    common = {"ApiId": api_id, "PayloadFormatVersion": "2.0"}
    for params, words in (
        ({"IntegrationType": "HTTP_PROXY", "IntegrationUri": "https://a.example"}, "HTTP_PROXY"),
        ({"IntegrationType": "AWS_PROXY", "IntegrationSubtype": "SQS-SendMessage"}, "SQS-SendMessage"),
        ({"IntegrationType": "AWS_PROXY", "IntegrationUri": "arn:aws:sqs:us-east-1:000000000000:q"}, "Lambda"),
        ({"IntegrationType": "AWS_PROXY", "IntegrationUri": function_arn("f"), "TimeoutInMillis": 31000}, "Timeout"),
    ):
        with pytest.raises(ClientError, match=words) as refused:
            await call(client.create_integration, **common, **params)
        assert refused.value.response["Error"]["Code"] == "BadRequestException"
    for key in ("GET x", "FETCH /x", "GET /{a+}/b", "GET /{a}/{a}", "/x", "GET /a{b}"):
        with pytest.raises(ClientError, match="BadRequest"):
            await call(client.create_route, ApiId=api_id, RouteKey=key)
    with pytest.raises(ClientError, match="AWS_IAM"):
        await call(client.create_route, ApiId=api_id, RouteKey="GET /x", AuthorizationType="AWS_IAM")
    with pytest.raises(ClientError, match="NotFound"):
        await call(client.create_route, ApiId=api_id, RouteKey="GET /x", Target="integrations/none")


async def test_lists_have_pages_and_readers_only_read(server: Server) -> None:
    names = {f"GET /{number}": "f" for number in range(3)}
    api_id = (await make_api(server, names))["ApiId"]
    reader = server.client(key="AKIAREADER")
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await call(reader.get_routes, ApiId=api_id, MaxResults="2", **token)
        found += [item["RouteKey"] for item in page["Items"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert sorted(found) == sorted(names)
    with pytest.raises(ClientError) as denied:
        await call(reader.delete_api, ApiId=api_id)
    assert denied.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")


async def test_quick_create(server: Server) -> None:
    server.pool.functions["f"] = lambda event: event["routeKey"]
    api = await call(server.client().create_api, Name="quick", ProtocolType="HTTP", Target=function_arn("f"))
    assert (await fetch("GET", f"{api['ApiEndpoint']}/any"))[1] == b"$default"
