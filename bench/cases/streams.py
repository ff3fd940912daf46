"""Records."""

from __future__ import annotations

import base64
import json
import os

from bench.case import Case, Made, repeat
from bench.load import Script
from bench.wire import Target

STREAM = "bench"


class PutRecords(Case):
    name = "PutRecords 100 x 100 B"
    warm = 5

    def prepare(self, target: Target) -> Made:
        client = target.client("kinesis")
        client.create_stream(StreamName=STREAM, ShardCount=16)
        client.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
        return {}

    def script(self, target: Target, made: Made, worker: int) -> Script:
        records = [
            {"Data": base64.b64encode(os.urandom(100)).decode(), "PartitionKey": f"{worker}/{n}"} for n in range(100)
        ]
        body = json.dumps({"StreamName": STREAM, "Records": records}).encode()
        return repeat([target.json("kinesis", "Kinesis_20131202.PutRecords", body, "1.1")])
