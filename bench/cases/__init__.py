"""All cases, in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.case import Case
from bench.cases.baselines import EchoKib, EchoMib, GiveMib
from bench.cases.functions import Invoke
from bench.cases.objects import GetKib, GetMib, PutKib, PutMib
from bench.cases.queues import Deep, Publish, Queue, Send, Shallow
from bench.cases.streams import PutRecords
from bench.cases.tables import GetItem, PutItem

BASELINES: Final[Sequence[Case]] = (EchoKib(), EchoMib(), GiveMib())
CASES: Final[Sequence[Case]] = (
    PutKib(), PutMib(), GetKib(), GetMib(), Publish(), Queue(), Send(), Shallow(), Deep(), PutItem(), GetItem(), PutRecords(), Invoke(),
)  # fmt: skip
