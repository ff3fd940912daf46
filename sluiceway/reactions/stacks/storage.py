"""Resource types that hold data: buckets, tables, streams, search domains, parameters, secrets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from sluiceway.reactions.stacks import bucket_settings
from sluiceway.reactions.stacks.provider import (
    Context,
    Look,
    Made,
    Properties,
    Provider,
    Replace,
    ResourceFailed,
    changed,
    pick,
    tag_changes,
    tag_list,
    tag_map,
)

_RETENTION_HOURS = 24  # Kinesis Data Streams API Reference, CreateStream
_POLL_S = 0.05  # between looks at something that is being made; the provider's time is limited above


class Bucket(Provider):
    """AWS::S3::Bucket"""

    accepts = frozenset(
        {
            "AccessControl",
            "BucketEncryption",
            "BucketName",
            "CorsConfiguration",
            "LifecycleConfiguration",
            "NotificationConfiguration",
            "OwnershipControls",
            "PublicAccessBlockConfiguration",
            "Tags",
            "VersioningConfiguration",
        }
    )
    named_by = "BucketName"
    look = Look("s3", "HeadBucket", "Bucket")

    async def create(self, ctx: Context, props: Properties) -> Made:
        """The bucket, then its configurations."""
        name = props.get("BucketName") or ctx.name(63, lower=True)
        owned = ("BucketAlreadyOwnedByYou",) if ctx.again else ()
        await ctx.unless(owned, "s3", "CreateBucket", Bucket=name)
        await ctx.claim(name)
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
    if changed(old, new, "PublicAccessBlockConfiguration"):
        block = new.get("PublicAccessBlockConfiguration")
        if block:
            await ctx.call("s3", "PutPublicAccessBlock", Bucket=name, PublicAccessBlockConfiguration=block)
        else:
            await ctx.call("s3", "DeletePublicAccessBlock", Bucket=name)
    if changed(old, new, "VersioningConfiguration"):
        # Without one again, a bucket can only be suspended: what has versions keeps them.
        versioning = new.get("VersioningConfiguration") or {"Status": "Suspended"}
        await ctx.call("s3", "PutBucketVersioning", Bucket=name, VersioningConfiguration=versioning)
    if changed(old, new, "OwnershipControls"):
        if new.get("OwnershipControls"):
            rules = new["OwnershipControls"]
            await ctx.call("s3", "PutBucketOwnershipControls", Bucket=name, OwnershipControls=rules)
        else:
            await ctx.call("s3", "DeleteBucketOwnershipControls", Bucket=name)
    if changed(old, new, "AccessControl"):
        await ctx.call("s3", "PutBucketAcl", Bucket=name, ACL=_canned(new.get("AccessControl") or "Private"))
    await bucket_settings.configure(ctx, name, old, new)
    if changed(old, new, "CorsConfiguration"):
        await _cors(ctx, name, new.get("CorsConfiguration"))
    if changed(old, new, "NotificationConfiguration"):
        rules = notification_rules(new.get("NotificationConfiguration") or {})
        await ctx.call("s3", "PutBucketNotificationConfiguration", Bucket=name, NotificationConfiguration=rules)
    if changed(old, new, "Tags"):
        if new.get("Tags"):
            await ctx.call("s3", "PutBucketTagging", Bucket=name, Tagging={"TagSet": new["Tags"]})
        else:
            await ctx.call("s3", "DeleteBucketTagging", Bucket=name)


def _canned(name: str) -> str:
    """CloudFormation's name of a canned access control list ("PublicRead") as the API spells it ("public-read")."""
    return "".join(f"-{char.lower()}" if char.isupper() else char for char in name).removeprefix("-")


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

    accepts = frozenset({"Bucket", "PolicyDocument"})

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

    accepts = frozenset(
        {
            "AttributeDefinitions",
            "BillingMode",
            "DeletionProtectionEnabled",
            "GlobalSecondaryIndexes",
            "KeySchema",
            "LocalSecondaryIndexes",
            "ProvisionedThroughput",
            "StreamSpecification",
            "TableClass",
            "TableName",
            "Tags",
            "TimeToLiveSpecification",
        }
    )
    named_by = "TableName"
    look = Look("dynamodb", "DescribeTable", "TableName")

    async def create(self, ctx: Context, props: Properties) -> Made:
        """Returns when the table is active."""
        name = props.get("TableName") or ctx.name(255)
        params = pick(
            props, "AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes",
            "LocalSecondaryIndexes", "ProvisionedThroughput", "DeletionProtectionEnabled", "TableClass",
        )  # fmt: skip
        if props.get("StreamSpecification"):
            params["StreamSpecification"] = {"StreamEnabled": True, **props["StreamSpecification"]}
        if props.get("Tags"):
            params["Tags"] = props["Tags"]
        in_use = ("ResourceInUseException",) if ctx.again else ()
        await ctx.unless(in_use, "dynamodb", "CreateTable", TableName=name, **params)
        await ctx.claim(name)
        made = await self._active(ctx, name)
        if props.get("TimeToLiveSpecification"):
            await _time_to_live(ctx, name, props["TimeToLiveSpecification"])
        return made

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Stream, billing, protection, indexes, time to live and tags in place."""
        if changed(old, new, "TableName", "KeySchema", "LocalSecondaryIndexes"):
            raise Replace
        params = pick(new, "BillingMode", "ProvisionedThroughput", "DeletionProtectionEnabled", "TableClass")
        if old.get("DeletionProtectionEnabled") and "DeletionProtectionEnabled" not in new:
            params["DeletionProtectionEnabled"] = False
        if changed(old, new, "StreamSpecification"):
            stream = new.get("StreamSpecification")
            params["StreamSpecification"] = {"StreamEnabled": True, **stream} if stream else {"StreamEnabled": False}
        if params:
            await ctx.call("dynamodb", "UpdateTable", TableName=physical_id, **params)
        await self._indexes(ctx, physical_id, new)
        if changed(old, new, "TimeToLiveSpecification"):
            off = {**(old.get("TimeToLiveSpecification") or {}), "Enabled": False}
            await _time_to_live(ctx, physical_id, new.get("TimeToLiveSpecification") or off)
        made = await self._active(ctx, physical_id)
        put, gone = tag_changes(old, new)
        if put:
            await ctx.call("dynamodb", "TagResource", ResourceArn=made.attributes["Arn"], Tags=tag_list(put))
        if gone:
            await ctx.call("dynamodb", "UntagResource", ResourceArn=made.attributes["Arn"], TagKeys=gone)
        return made

    async def _indexes(self, ctx: Context, name: str, new: Properties) -> None:
        """One change at a time, as DynamoDB wants it; a changed index is made anew."""
        wanted = {index["IndexName"]: index for index in new.get("GlobalSecondaryIndexes") or []}
        await self._active(ctx, name)
        table = (await ctx.call("dynamodb", "DescribeTable", TableName=name))["Table"]
        there = {index["IndexName"]: index for index in table.get("GlobalSecondaryIndexes") or []}
        for index, now in there.items():
            same = index in wanted and not changed(now, wanted[index], "KeySchema", "Projection")
            if not same:
                await self._change_index(ctx, name, {"Delete": {"IndexName": index}}, {})
        for index, declared in wanted.items():
            if index not in there or changed(there[index], declared, "KeySchema", "Projection"):
                create = pick(declared, "IndexName", "KeySchema", "Projection", "ProvisionedThroughput")
                definitions = pick(new, "AttributeDefinitions")
                await self._change_index(ctx, name, {"Create": create}, definitions)

    async def _change_index(self, ctx: Context, name: str, change: Properties, more: Properties) -> None:
        await ctx.call("dynamodb", "UpdateTable", TableName=name, GlobalSecondaryIndexUpdates=[change], **more)
        while True:
            table = (await ctx.call("dynamodb", "DescribeTable", TableName=name))["Table"]
            states = {index.get("IndexStatus") for index in table.get("GlobalSecondaryIndexes") or []}
            if table["TableStatus"] == "ACTIVE" and states <= {"ACTIVE"}:
                return
            await asyncio.sleep(_POLL_S)

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

    accepts = frozenset({"Name", "RetentionPeriodHours", "ShardCount", "StreamModeDetails", "Tags"})
    named_by = "Name"
    look = Look("kinesis", "DescribeStreamSummary", "StreamName")

    async def create(self, ctx: Context, props: Properties) -> Made:
        """Returns when the stream is active."""
        name = props.get("Name") or ctx.name(128)
        in_use = ("ResourceInUseException",) if ctx.again else ()
        params: Properties = {"ShardCount": props.get("ShardCount", 1)}
        if str((props.get("StreamModeDetails") or {}).get("StreamMode", "")) == "ON_DEMAND":
            params = {"StreamModeDetails": props["StreamModeDetails"]}
        await ctx.unless(in_use, "kinesis", "CreateStream", StreamName=name, **params)
        await ctx.claim(name)
        made = await self._active(ctx, name)
        await self._settings(ctx, name, {}, props)
        return made

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Retention and tags in place; shards stay as they are, and so do their records."""
        if changed(old, new, "Name"):
            raise Replace
        if changed(old, new, "ShardCount", "StreamModeDetails"):
            raise ResourceFailed("The shards of a stream can't be changed here yet: name another stream.")
        await self._settings(ctx, physical_id, old, new)
        return await self._active(ctx, physical_id)

    @staticmethod
    async def _settings(ctx: Context, name: str, old: Properties, new: Properties) -> None:
        hours = int(new.get("RetentionPeriodHours") or _RETENTION_HOURS)
        summary = (await ctx.call("kinesis", "DescribeStreamSummary", StreamName=name))["StreamDescriptionSummary"]
        if hours != summary["RetentionPeriodHours"]:
            way = "Increase" if hours > summary["RetentionPeriodHours"] else "Decrease"
            await ctx.call("kinesis", f"{way}StreamRetentionPeriod", StreamName=name, RetentionPeriodHours=hours)
        put, gone = tag_changes(old, new)
        if put:
            await ctx.call("kinesis", "AddTagsToStream", StreamName=name, Tags=put)
        if gone:
            await ctx.call("kinesis", "RemoveTagsFromStream", StreamName=name, TagKeys=gone)

    @staticmethod
    async def _active(ctx: Context, name: str) -> Made:
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

    accepts = frozenset(
        {
            "AccessPolicies",
            "AdvancedOptions",
            "DomainEndpointOptions",
            "DomainName",
            "EBSOptions",
            "ElasticsearchClusterConfig",
            "ElasticsearchVersion",
            "EncryptionAtRestOptions",
            "NodeToNodeEncryptionOptions",
            "SnapshotOptions",
            "Tags",
        }
    )
    named_by = "DomainName"
    look = Look("es", "DescribeElasticsearchDomain", "DomainName")

    async def create(self, ctx: Context, props: Properties) -> Made:
        """A name for the embedded search endpoint."""
        name = props.get("DomainName") or ctx.name(28, lower=True)
        taken = ("ResourceAlreadyExistsException",) if ctx.again else ()
        params = pick(props, *(self.accepts - {"AccessPolicies", "DomainName", "Tags"}), TagList="Tags")
        if props.get("AccessPolicies"):
            params["AccessPolicies"] = json.dumps(props["AccessPolicies"])
        await ctx.unless(taken, "es", "CreateElasticsearchDomain", DomainName=name, **params)
        await ctx.claim(name)
        return await self._made(ctx, name)

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Its access policy and tags; there is no cluster to change."""
        if changed(old, new, "DomainName"):
            raise Replace
        if changed(old, new, "AccessPolicies"):
            policy = json.dumps(new["AccessPolicies"]) if new.get("AccessPolicies") else ""
            await ctx.call("es", "UpdateElasticsearchDomainConfig", DomainName=physical_id, AccessPolicies=policy)
        made = await self._made(ctx, physical_id)
        put, gone = tag_changes(old, new)
        if put:
            await ctx.call("es", "AddTags", ARN=made.attributes["Arn"], TagList=tag_list(put))
        if gone:
            await ctx.call("es", "RemoveTags", ARN=made.attributes["Arn"], TagKeys=gone)
        return made

    @staticmethod
    async def _made(ctx: Context, name: str) -> Made:
        domain = (await ctx.call("es", "DescribeElasticsearchDomain", DomainName=name))["DomainStatus"]
        attributes = {"Arn": domain["ARN"], "DomainArn": domain["ARN"], "DomainEndpoint": domain["Endpoint"]}
        return Made(name, attributes)

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """The domain's name goes."""
        await ctx.unless(("ResourceNotFoundException",), "es", "DeleteElasticsearchDomain", DomainName=physical_id)


class Parameter(Provider):
    """AWS::SSM::Parameter"""

    accepts = frozenset({"Description", "Name", "Tags", "Tier", "Type", "Value"})
    named_by = "Name"
    look = Look("ssm", "GetParameter", "Name")

    async def create(self, ctx: Context, props: Properties) -> Made:
        """A new name, or the template's."""
        name = props.get("Name") or ctx.name(200)
        params = pick(props, "Type", "Value", "Description", "Tier")
        if props.get("Tags") and not ctx.again:
            params["Tags"] = tag_list(tag_map(props))
        await ctx.call("ssm", "PutParameter", Name=name, Overwrite=ctx.again, **params)
        return Made(name, {"Type": props["Type"], "Value": props["Value"]})

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Another version of the value."""
        if changed(old, new, "Name"):
            raise Replace
        params = pick(new, "Type", "Value", "Description", "Tier")
        await ctx.call("ssm", "PutParameter", Name=physical_id, Overwrite=True, **params)
        put, gone = tag_changes(old, new)
        what = {"ResourceType": "Parameter", "ResourceId": physical_id}
        if put:
            await ctx.call("ssm", "AddTagsToResource", **what, Tags=tag_list(put))
        if gone:
            await ctx.call("ssm", "RemoveTagsFromResource", **what, TagKeys=gone)
        return Made(physical_id, {"Type": new["Type"], "Value": new["Value"]})

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """With its versions."""
        await ctx.unless(("ParameterNotFound",), "ssm", "DeleteParameter", Name=physical_id)


class Secret(Provider):
    """AWS::SecretsManager::Secret"""

    accepts = frozenset({"Description", "GenerateSecretString", "Name", "SecretString", "Tags"})
    named_by = "Name"
    look = Look("secretsmanager", "DescribeSecret", "SecretId")

    async def create(self, ctx: Context, props: Properties) -> Made:
        """With the template's text, or a generated password."""
        name = props.get("Name") or ctx.name(200)
        params = pick(props, "Description", "SecretString") | {"Tags": props.get("Tags")}
        if "SecretString" not in params:
            params["SecretString"] = await _generated(ctx, props.get("GenerateSecretString") or {})
        exists = ("ResourceExistsException",) if ctx.again else ()
        await ctx.unless(exists, "secretsmanager", "CreateSecret", Name=name, **params)
        await ctx.claim(name)
        arn = (await ctx.call("secretsmanager", "DescribeSecret", SecretId=name))["ARN"]
        return Made(arn, {"Id": arn})

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """A generated password stays as it is."""
        if changed(old, new, "Name", "GenerateSecretString"):
            raise Replace
        params = pick(new, "Description", "SecretString")
        await ctx.call("secretsmanager", "UpdateSecret", SecretId=physical_id, **params)
        put, gone = tag_changes(old, new)
        if put:
            await ctx.call("secretsmanager", "TagResource", SecretId=physical_id, Tags=tag_list(put))
        if gone:
            await ctx.call("secretsmanager", "UntagResource", SecretId=physical_id, TagKeys=gone)
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
