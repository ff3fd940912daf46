"""Stacks."""

from __future__ import annotations

from pydantic import Field

from sluiceway.config.section import Section


class StackSettings(Section):
    """Stacks made from templates."""

    stacks_max: int = Field(200, description="Stacks at the same time; AWS allows 2,000.")
    template_bytes_max: int = Field(1_000_000, description="Bytes of a template; CloudFormation's own limit.")
    body_bytes_max: int = Field(51_200, description="Bytes of a template within a request; CloudFormation's own limit.")
    resources_max: int = Field(500, description="Resources of a template; CloudFormation's own limit.")
    concurrency: int = Field(4, description="Stacks being changed at the same time; each works on one resource.")
    resource_s: float = Field(120.0, description="Seconds for one resource to be made, changed or deleted.")
    events_max: int = Field(1000, description="Events of a stack in one answer, the newest first.")
    events_kept: int = Field(20_000, description="Events of a stack that are kept; 500 resources make 1,000 a change.")
    deleted_kept_s: int = Field(90 * 24 * 3600, description="Seconds that a deleted stack can be described.")
