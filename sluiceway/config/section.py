"""What every section of the settings is made from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB


class Section(BaseModel):
    """Checked as a part of ``Settings``: made ready by itself only where it is used alone, as that takes time."""

    model_config = ConfigDict(defer_build=True)
