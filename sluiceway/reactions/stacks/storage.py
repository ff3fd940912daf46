"""Resource types that hold data: buckets, tables, streams, search domains, parameters, secrets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from sluiceway.reactions.stacks.provider import (
    Context,
    Made,
    Properties,
    Provider,
    Replace,
    changed,
    pick,
)

_POLL_S = 0.05  # between looks at something that is being made; the provider's time is limited above


class Bucket(Provider):
    """AWS::S3::Bucket"""

    async def create(self, ctx: Context, props: Properties) -> Made:
        """The bucket, then its configurations."""
        name = props.get("BucketName") or ctx.name(63, lower=True)
        owned = ("BucketAlreadyOwnedByYou",) if ctx.again else ()
        await ctx.unless(owned, "s3", "CreateBucket", Bucket=name)
        await _configure(ctx, name, {}, props)
        return _bucket(ctx, name)

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Configurations change in place."""
        if changed(old, new, "BucketName"):
            raise Replace
        await _configure(ctx, physical_id, old, new)
        return _bucket(ctx, physical_id)

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """Only an empty bucket goes."""
        await ctx.unless(("NoSuchBucket",), "s3", "DeleteBucket", Bucket=physical_id)


def _bucket(ctx: Context, name: str) -> Made:
    host = f"{name}.s3.amazonaws.com"
    attributes = {"Arn": f"arn:aws:s3:::{name}", "DomainName": host}
    attributes |= {"RegionalDomainName": f"{name}.s3.{ctx.scope.region}.amazonaws.com"}
    return Made(name, attributes | {"WebsiteURL": f"{ctx.own_url}/{name}"})


async def _configure(ctx: Context, name: str, old: Properties, new: Properties) -> None:
    block = new.get("PublicAccessBlockConfiguration")
    if block and changed(old, new, "PublicAccessBlockConfiguration"):
        await ctx.call("s3", "PutPublicAccessBlock", Bucket=name, PublicAccessBlockConfiguration=block)
    if changed(old, new, "CorsConfiguration"):
        await _cors(ctx, name, new.get("CorsConfiguration"))
    if changed(old, new, "NotificationConfiguration"):
        rules = notification_rules(new.get("NotificationConfiguration") or {})
        await ctx.call("s3", "PutBucketNotificationConfiguration", Bucket=name, NotificationConfiguration=rules)
    if new.get("Tags") and changed(old, new, "Tags"):
        await ctx.call("s3", "PutBucketTagging", Bucket=name, Tagging={"TagSet": new["Tags"]})
    encryption = new.get("BucketEncryption")
    if encryption and changed(old, new, "BucketEncryption"):
        rule = {"Rules": [
            {"ApplyServerSideEncryptionByDefault": item.get("ServerSideEncryptionByDefault") or {}}
            for item in encryption["ServerSideEncryptionConfiguration"]
        ]}  # fmt: skip
        await ctx.call("s3", "PutBucketEncryption", Bucket=name, ServerSideEncryptionConfiguration=rule)


async def _cors(ctx: Context, name: str, cors: Any) -> None:
    if not cors:
        await ctx.call("s3", "DeleteBucketCors", Bucket=name)
        return
    rules = [
        pick(rule, "AllowedMethods", "AllowedOrigins", "AllowedHeaders", "ID", ExposeHeaders="ExposedHeaders",
             MaxAgeSeconds="MaxAge", ID="Id")
        for rule in cors["CorsRules"]
    ]  # fmt: skip
    await ctx.call("s3", "PutBucketCors", Bucket=name, CORSConfiguration={"CORSRules": rules})


def notification_rules(declared: Properties) -> Properties:
    """CloudFormation's notification configuration in the words of the API."""
    kinds = (
        ("TopicConfigurations", "TopicConfigurations", "Topic", "TopicArn"),
        ("QueueConfigurations", "QueueConfigurations", "Queue", "QueueArn"),
        ("LambdaConfigurations", "LambdaFunctionConfigurations", "Function", "LambdaFunctionArn"),
    )
    rules: Properties = {}
    for source, target, name, arn in kinds:
        for rule in declared.get(source) or []:
            made: Properties = {arn: rule[name], "Events": [rule["Event"]]}
            if rule.get("Filter"):
                filters = rule["Filter"]["S3Key"]["Rules"]
                made["Filter"] = {"Key": {"FilterRules": [pick(item, "Name", "Value") for item in filters]}}
            rules.setdefault(target, []).append(made)
    return rules


class BucketPolicy(Provider):
    """AWS::S3::BucketPolicy"""

    async def create(self, ctx: Context, props: Properties) -> Made:
        """One policy a bucket."""
        await ctx.call("s3", "PutBucketPolicy", Bucket=props["Bucket"], Policy=json.dumps(props["PolicyDocument"]))
        return Made(props["Bucket"])

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Another bucket means another policy."""
        if changed(old, new, "Bucket"):
            raise Replace
        return await self.create(ctx, new)

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """The bucket stays."""
        await ctx.unless(("NoSuchBucket", "NoSuchBucketPolicy"), "s3", "DeleteBucketPolicy", Bucket=physical_id)


class Table(Provider):
    """AWS::DynamoDB::Table"""

    async def create(self, ctx: Context, props: Properties) -> Made:
        """Returns when the table is active."""
        name = props.get("TableName") or ctx.name(255)
        params = pick(
            props, "AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes",
            "LocalSecondaryIndexes", "ProvisionedThroughput", "DeletionProtectionEnabled",
        )  # fmt: skip
        if props.get("StreamSpecification"):
            params["StreamSpecification"] = {"StreamEnabled": True, **props["StreamSpecification"]}
        if props.get("Tags"):
            params["Tags"] = props["Tags"]
        in_use = ("ResourceInUseException",) if ctx.again else ()
        await ctx.unless(in_use, "dynamodb", "CreateTable", TableName=name, **params)
        made = await self._active(ctx, name)
        if props.get("TimeToLiveSpecification"):
            await _time_to_live(ctx, name, props["TimeToLiveSpecification"])
        return made

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Stream, billing, protection and time to live in place."""
        if changed(old, new, "TableName", "KeySchema", "LocalSecondaryIndexes", "GlobalSecondaryIndexes"):
            raise Replace
        params = pick(new, "BillingMode", "ProvisionedThroughput", "DeletionProtectionEnabled")
        if changed(old, new, "StreamSpecification"):
            stream = new.get("StreamSpecification")
            params["StreamSpecification"] = {"StreamEnabled": True, **stream} if stream else {"StreamEnabled": False}
        if params:
            await ctx.call("dynamodb", "UpdateTable", TableName=physical_id, **params)
        if changed(old, new, "TimeToLiveSpecification"):
            off = {**(old.get("TimeToLiveSpecification") or {}), "Enabled": False}
            await _time_to_live(ctx, physical_id, new.get("TimeToLiveSpecification") or off)
        return await self._active(ctx, physical_id)

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """With its rows."""
        await ctx.unless(("ResourceNotFoundException",), "dynamodb", "DeleteTable", TableName=physical_id)

    async def _active(self, ctx: Context, name: str) -> Made:
        while True:
            table = (await ctx.call("dynamodb", "DescribeTable", TableName=name))["Table"]
            if table["TableStatus"] == "ACTIVE":
                attributes = {"Arn": table["TableArn"], "TableName": name}
                if table.get("LatestStreamArn"):
                    attributes["StreamArn"] = table["LatestStreamArn"]
                return Made(name, attributes)
            await asyncio.sleep(_POLL_S)


async def _time_to_live(ctx: Context, name: str, wanted: Properties) -> None:
    now = (await ctx.call("dynamodb", "DescribeTimeToLive", TableName=name))["TimeToLiveDescription"]
    enabled = now.get("TimeToLiveStatus") == "ENABLED"
    if enabled != (str(wanted.get("Enabled")).lower() == "true"):
        await ctx.call("dynamodb", "UpdateTimeToLive", TableName=name, TimeToLiveSpecification=wanted)


class Stream(Provider):
    """AWS::Kinesis::Stream"""

    async def create(self, ctx: Context, props: Properties) -> Made:
        """Returns when the stream is active."""
        name = props.get("Name") or ctx.name(128)
        in_use = ("ResourceInUseException",) if ctx.again else ()
        params = {"ShardCount": props.get("ShardCount", 1)}
        if props.get("StreamModeDetails"):
            params = {"StreamModeDetails": props["StreamModeDetails"]}
        await ctx.unless(in_use, "kinesis", "CreateStream", StreamName=name, **params)
        while True:
            summary = await ctx.call("kinesis", "DescribeStreamSummary", StreamName=name)
            stream = summary["StreamDescriptionSummary"]
            if stream["StreamStatus"] == "ACTIVE":
                return Made(name, {"Arn": stream["StreamARN"]})
            await asyncio.sleep(_POLL_S)

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """With its records."""
        await ctx.unless(
            ("ResourceNotFoundException",),
            "kinesis",
            "DeleteStream",
            StreamName=physical_id,
            EnforceConsumerDeletion=True,
        )


class SearchDomain(Provider):
    """AWS::Elasticsearch::Domain"""

    async def create(self, ctx: Context, props: Properties) -> Made:
        """A name for the embedded search endpoint."""
        name = props.get("DomainName") or ctx.name(28, lower=True)
        taken = ("ResourceAlreadyExistsException",) if ctx.again else ()
        params = pick(props, "ElasticsearchVersion", "ElasticsearchClusterConfig", "EBSOptions")
        await ctx.unless(taken, "es", "CreateElasticsearchDomain", DomainName=name, **params)
        domain = (await ctx.call("es", "DescribeElasticsearchDomain", DomainName=name))["DomainStatus"]
        attributes = {"Arn": domain["ARN"], "DomainArn": domain["ARN"], "DomainEndpoint": domain["Endpoint"]}
        return Made(name, attributes)

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """The domain's name goes."""
        await ctx.unless(("ResourceNotFoundException",), "es", "DeleteElasticsearchDomain", DomainName=physical_id)


class Parameter(Provider):
    """AWS::SSM::Parameter"""

    async def create(self, ctx: Context, props: Properties) -> Made:
        """A new name, or the template's."""
        name = props.get("Name") or ctx.name(200)
        params = pick(props, "Type", "Value", "Description", "AllowedPattern", "Tier")
        await ctx.call("ssm", "PutParameter", Name=name, Overwrite=ctx.again, **params)
        return Made(name, {"Type": props["Type"], "Value": props["Value"]})

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Another version of the value."""
        if changed(old, new, "Name"):
            raise Replace
        params = pick(new, "Type", "Value", "Description", "AllowedPattern", "Tier")
        await ctx.call("ssm", "PutParameter", Name=physical_id, Overwrite=True, **params)
        return Made(physical_id, {"Type": new["Type"], "Value": new["Value"]})

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """With its versions."""
        await ctx.unless(("ParameterNotFound",), "ssm", "DeleteParameter", Name=physical_id)


class Secret(Provider):
    """AWS::SecretsManager::Secret"""

    async def create(self, ctx: Context, props: Properties) -> Made:
        """With the template's text, or a generated password."""
        name = props.get("Name") or ctx.name(200)
        params = pick(props, "Description", "SecretString") | {"Tags": props.get("Tags")}
        if "SecretString" not in params:
            params["SecretString"] = await _generated(ctx, props.get("GenerateSecretString") or {})
        exists = ("ResourceExistsException",) if ctx.again else ()
        await ctx.unless(exists, "secretsmanager", "CreateSecret", Name=name, **params)
        arn = (await ctx.call("secretsmanager", "DescribeSecret", SecretId=name))["ARN"]
        return Made(arn, {"Id": arn})

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """A generated password stays as it is."""
        if changed(old, new, "Name", "GenerateSecretString"):
            raise Replace
        params = pick(new, "Description", "SecretString")
        await ctx.call("secretsmanager", "UpdateSecret", SecretId=physical_id, **params)
        return Made(physical_id, {"Id": physical_id})

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """At once: the stack's owner asked for it."""
        await ctx.unless(
            ("ResourceNotFoundException",), "secretsmanager", "DeleteSecret", SecretId=physical_id,
            ForceDeleteWithoutRecovery=True,
        )  # fmt: skip


async def _generated(ctx: Context, how: Properties) -> str:
    params = pick(
        how, "ExcludeCharacters", "ExcludeLowercase", "ExcludeNumbers", "ExcludePunctuation", "ExcludeUppercase",
        "IncludeSpace", "PasswordLength", "RequireEachIncludedType",
    )  # fmt: skip
    password = (await ctx.call("secretsmanager", "GetRandomPassword", **params))["RandomPassword"]
    if not how.get("GenerateStringKey"):
        return str(password)
    template: dict[str, Any] = json.loads(how.get("SecretStringTemplate") or "{}")
    return json.dumps({**template, how["GenerateStringKey"]: password})
