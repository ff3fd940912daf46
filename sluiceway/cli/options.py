"""Options that every command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option("--data", help="The server's data folder.", show_default=False)]
Port = Annotated[int | None, typer.Option("--port", help="The server's port.", show_default=False)]
