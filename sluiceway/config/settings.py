"""All sections together."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sluiceway.config.apis import ApiSettings
from sluiceway.config.data import SearchSettings, StreamSettings, TableSettings
from sluiceway.config.functions import FunctionSettings, MappingSettings
from sluiceway.config.http import HttpSettings
from sluiceway.config.messaging import DeliverySettings, QueueSettings, ReactionSettings, TopicSettings
from sluiceway.config.objects import ObjectSettings
from sluiceway.config.security import SecretSettings, SecuritySettings
from sluiceway.config.stacks import StackSettings
from sluiceway.config.store import StoreSettings


class Settings(BaseModel):
    """Everything an operator can set."""

    model_config = ConfigDict(extra="forbid")

    data: Path = Field(Path("sluiceway-data"), description="The data folder; one server at a time holds it.")
    account: str = Field("000000000000", pattern=r"^\d{12}$", description="Account id in every ARN.")
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{1,32}$", description="Region in every ARN and signature.")
    log_format: Literal["text", "json"] = Field("text", description="One readable line per event, or one JSON object.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe level logged.")
    log_repeats_max: int = Field(
        20,
        description="Lines of one kind in a second; more are counted, so that a fault can't fill the disk with them.",
    )
    http: HttpSettings = Field(default_factory=HttpSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    security: SecuritySettings = Field(default_factory=SecuritySettings)
    secrets: SecretSettings = Field(default_factory=SecretSettings)
    objects: ObjectSettings = Field(default_factory=ObjectSettings)
    reactions: ReactionSettings = Field(default_factory=ReactionSettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    delivery: DeliverySettings = Field(default_factory=DeliverySettings)
    queues: QueueSettings = Field(default_factory=QueueSettings)
    stacks: StackSettings = Field(default_factory=StackSettings)
    streams: StreamSettings = Field(default_factory=StreamSettings)
    mappings: MappingSettings = Field(default_factory=MappingSettings)
    tables: TableSettings = Field(default_factory=TableSettings)
    apis: ApiSettings = Field(default_factory=ApiSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    functions: FunctionSettings = Field(default_factory=FunctionSettings)
