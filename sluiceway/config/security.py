"""Signatures, identities and secrets."""

from __future__ import annotations

from pydantic import Field

from sluiceway.config.section import Section


class SecuritySettings(Section):
    """Signatures, keys, users and roles. Limits without another reason are IAM's own quotas."""

    skew_s: int = Field(900, description="Seconds that a request's date may differ from ours; AWS's own limit.")
    presigned_s_max: int = Field(604_800, description="Seconds that a presigned URL may be valid; SigV4's own limit.")
    signing_keys_max: int = Field(1024, description="Derived signing keys kept; one per key, day and service.")
    sessions_cached_max: int = Field(4096, description="Opened session tokens kept; one per function worker.")
    session_s_min: int = Field(900, description="Seconds of the shortest session of a role.")
    session_s_max: int = Field(43_200, description="Seconds of the longest session of a role.")
    users_max: int = Field(5000, description="Users of the account.")
    roles_max: int = Field(1000, description="Roles of the account.")
    policies_max: int = Field(1500, description="Managed policies of the account's own.")
    attached_max: int = Field(20, description="Managed policies attached to one user or role.")
    user_keys_max: int = Field(2, description="Access keys of one user.")
    user_policy_bytes_max: int = Field(2048, description="Characters of a user's inline policies together.")
    role_policy_bytes_max: int = Field(10_240, description="Characters of a role's inline policies together.")
    policy_bytes_max: int = Field(6144, description="Characters of a managed policy, white space not counted.")
    trust_bytes_max: int = Field(4096, description="Characters of a role's trust policy.")
    tags_max: int = Field(50, description="Tags of a user or role.")
    page_max: int = Field(1000, description="Entries of one page of a listing.")


class SecretSettings(Section):
    """Secrets, parameters and encryption keys. Limits without another reason are the AWS services' own quotas."""

    secret_bytes_max: int = Field(65_536, description="Bytes of a secret's value.")
    secrets_max: int = Field(10_000, description="Secrets of the account; AWS allows 500,000.")
    versions_max: int = Field(100, description="Versions kept of a secret or parameter; the oldest goes first.")
    parameter_bytes_max: int = Field(4096, description="Bytes of a standard parameter's value.")
    advanced_bytes_max: int = Field(8192, description="Bytes of an advanced parameter's value.")
    parameters_max: int = Field(10_000, description="Parameters of the account.")
    keys_max: int = Field(1000, description="Encryption keys of the account; AWS allows 100,000.")
    plaintext_bytes_max: int = Field(4096, description="Bytes that a key encrypts directly.")
    policy_bytes_max: int = Field(20_480, description="Characters of a secret's resource policy.")
    key_policy_bytes_max: int = Field(32_768, description="Bytes of a key's policy.")
    tags_max: int = Field(50, description="Tags of a secret, parameter or key.")
