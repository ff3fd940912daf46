"""``make demo``: the photos application on a fresh server, played by official clients, with a kill in the middle.

Everything runs on embedded defaults in a temporary folder. It ends with exit status 0 only when every upload
arrived everywhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import typer
from botocore.config import Config

from apps.photos.client import Listener, Person, Refused
from apps.photos.outside import MailServer, Webhook, free_port, uploads_in
from apps.photos.watching import HOPS, Board, Watcher
from sluiceway.cli.deploying import deploy_to
from sluiceway.cli.running import Running, find
from sluiceway.engines.keyfile import read_root_key

HERE = Path(__file__).parent
LARGE_BYTES = 300 * 1000 * 1000
KILL_AT = 0.5  # of the large file
START_S = 30.0
ARRIVE_S = 60.0
MISSED_S = 5.0  # after which a message that did not come over the WebSocket fell into the time without one
#: Delivery policies: one that tries every two seconds for as long as the demo lasts, and one that soon gives up.
PATIENT = {"minDelayTarget": 2, "maxDelayTarget": 2, "numRetries": 60}
IMPATIENT = {"minDelayTarget": 1, "maxDelayTarget": 1, "numRetries": 1}
MAIL, PHONE = "reader@example.com", "+15550100"


class DemoFailed(Exception):
    """The demo could not show what it should; the text says why."""


def main() -> int:
    """Play it; the exit status."""
    folder = Path(tempfile.mkdtemp(prefix="sluiceway-demo-"))
    began = time.monotonic()
    story = Story(folder)
    try:
        story.play()
    except (DemoFailed, Refused, typer.Exit) as error:
        print(f"\nThe demo failed: {error}\nThe server's log: {folder / 'server.log'}", file=sys.stderr)
        return 1
    finally:
        story.close()
    shutil.rmtree(folder, ignore_errors=True)
    print(f"\nEverything arrived everywhere, in {time.monotonic() - began:.0f} s.")
    return 0


class Story:
    """The server, the people, and what happens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._began = time.monotonic()
        self._board = Board(self._print)
        self._hook = Webhook(lambda upload: self._board.saw(upload, "webhook"))
        self._partner = Webhook(lambda upload: self._board.saw(upload, "partner"))
        self._mail = MailServer(lambda upload: self._board.saw(upload, "mail"))
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._outputs: dict[str, str] = {}
        self._listener: Listener | None = None
        self._watcher: Watcher | None = None
        self._mailbox = 0

    def play(self) -> None:
        """From an empty folder to the last hop."""
        self.say("A server starts on an empty folder.")
        self._start()
        self.say("The photos application is deployed: an ordinary SAM template.")
        self._deploy()
        self._confirm()
        ada = Person(self._outputs["ApiUrl"], f"{self._url}/_sluiceway/issuer", "ada")
        ada.sign_in()
        self.say("Ada signs in (OpenID Connect, code with PKCE) and opens the page: one WebSocket.")
        self._listen(ada)
        self._leave()
        pictures = sorted((HERE / "pictures").glob("*.jpg"))
        for picture in pictures[:2]:
            self._upload(ada, picture, picture=True)
        self._interrupted(ada, _large_file(self._folder))
        self._come_back()
        for picture in pictures[2:]:
            self._upload(ada, picture, picture=True)
        self._redrive()
        self._await()
        self._check_totals(ada, len(pictures) + 1)
        self._summary()

    # -- acts

    def _start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "sluiceway",
            "up",
            "--data",
            str(self._folder / "data"),
            "--port",
            str(self._port),
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SLUICEWAY_"))}
        # The webhook of the demo is on this machine, where subscriptions must not lead by default.
        environment["SLUICEWAY_DELIVERY__ALLOW_PRIVATE_TARGETS"] = "true"
        smtp = {"HOST": "127.0.0.1", "PORT": str(self._mail.port), "TLS": "none"}
        environment |= {f"SLUICEWAY_DELIVERY__SMTP_{name}": value for name, value in smtp.items()}
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        ends = time.monotonic() + START_S
        while time.monotonic() < ends:
            try:
                urllib.request.urlopen(f"{self._url}/_sluiceway/health", timeout=5).read()
                return
            except OSError:
                if self._process.poll() is not None:
                    raise DemoFailed("the server did not start") from None
                time.sleep(0.02)
        raise DemoFailed("the server did not answer in time")

    def _deploy(self) -> None:
        server = find(self._folder / "data", None)
        parameters = {"WebhookUrl": self._hook.url, "MailAddress": MAIL, "PhoneNumber": PHONE}
        self._outputs = deploy_to(
            server, HERE / "template.yaml", "photos", parameters, say=lambda text: self.say(str(text))
        )

    def _confirm(self) -> None:
        """The owners of the webhooks and the reader of the mail say yes."""
        sns, topic = self._client(self._running, "sns"), self._outputs["TopicArn"]
        policy = {"healthyRetryPolicy": IMPATIENT}
        sns.subscribe(
            TopicArn=topic, Protocol="http", Endpoint=self._partner.url,
            Attributes={"DeliveryPolicy": json.dumps(policy)},
        )  # fmt: skip
        ends = time.monotonic() + START_S
        while not (self._mail.tokens and self._hook.confirm_urls and self._partner.confirm_urls):
            if time.monotonic() > ends:
                raise DemoFailed("nobody was asked to confirm the subscriptions of the webhooks and the mail")
            time.sleep(0.05)
        for hook in (self._hook, self._partner):
            urllib.request.urlopen(hook.confirm_urls[0], timeout=30).read()
        form = urllib.parse.urlencode({"token": self._mail.tokens[0]}).encode()
        urllib.request.urlopen(f"{self._url}/_sluiceway/sns/confirm", form, timeout=30).read()
        for row in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
            if row["Endpoint"] == self._hook.url:
                patient = json.dumps({"healthyRetryPolicy": PATIENT})
                sns.set_subscription_attributes(
                    SubscriptionArn=row["SubscriptionArn"], AttributeName="DeliveryPolicy", AttributeValue=patient
                )
        self.say("Two webhooks, one patient and one not, and a mail address have confirmed their subscriptions.")

    def _leave(self) -> None:
        for one in (self._hook, self._partner, self._mail):
            one.down()
        self.say("Both webhooks and the mail server are down.")

    def _come_back(self) -> None:
        """What waits for the patient ones is parked, and tried again when its time comes; the rest was given up."""
        ends = time.monotonic() + START_S
        while not self._dead() and time.monotonic() < ends:
            time.sleep(0.1)
        waits = {row["target"]: row for row in self._running.fetch("status")["reactions"]}
        parked = sum(row["parked"] for row in waits.values())
        if not parked or not self._dead():
            raise DemoFailed("nothing waits for those who are down")
        self.say(f"They return. Until now {parked} deliveries wait for their next try; the kill did not lose one.")
        for one in (self._hook, self._partner, self._mail):
            one.up()

    def _dead(self) -> list[dict[str, Any]]:
        return [row for row in self._running.fetch("status")["reactions"] if row["dead"]]

    def _redrive(self) -> None:
        """An operator looks at what was given up, and has it tried again."""
        self.say("The impatient webhook has missed something. An operator looks, and has it tried again:")
        for row in self._dead():
            self._command("show", row["id"])
            self._command("redrive", row["id"])

    def _command(self, *arguments: str) -> None:
        self._print(f"    $ sluiceway reactions {' '.join(arguments)}")
        command = [sys.executable, "-m", "sluiceway", "reactions", *arguments, "--data", str(self._folder / "data")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise DemoFailed(f"the command failed: {done.stderr}")
        for line in done.stdout.splitlines():
            self._print(f"      {line}")

    def _listen(self, person: Person) -> None:
        self._listener = Listener(person, self._outputs["SocketUrl"], self._heard)
        self._listener.start()
        if not self._listener.open.wait(START_S):
            raise DemoFailed("the WebSocket did not open")
        self._watcher = Watcher(self._board, self._looks(person))
        self._watcher.start()

    def _heard(self, news: dict[str, Any]) -> None:
        self._board.saw(news["id"], "told" if news["type"] == "uploaded" else "ready")

    def _upload(self, person: Person, file: Path, picture: bool) -> None:
        size = file.stat().st_size
        began = time.monotonic()
        upload = person.upload(file)
        self._stored(upload, file.name, size, time.monotonic() - began, picture)

    def _stored(self, upload: str, name: str, size: int, seconds: float, picture: bool) -> None:
        hops = frozenset(HOPS) if picture else frozenset(HOPS) - {"thumbnail"}
        self.say(
            f"{name} ({size / 1e6:.1f} MB) is stored: acknowledged after {seconds * 1000:.0f} ms, straight to the bucket."
        )
        self._board.stored(upload, name, hops)

    def _interrupted(self, person: Person, file: Path) -> None:
        """The server is killed in the middle of the large file; the client sends it again."""
        half = threading.Event()

        def progress(sent: int) -> None:
            if sent > KILL_AT * LARGE_BYTES and not half.is_set():
                half.set()
                self._kill()

        self.say(f"{file.name} ({LARGE_BYTES / 1e6:.0f} MB) is on its way...")
        try:
            person.upload(file, progress)
        except (OSError, Refused):
            self.say("SIGKILL: the server is gone in the middle of it, and so are its functions.")
        else:
            raise DemoFailed("the upload survived the server's end, which can't be")
        began = time.monotonic()
        self._start()
        self.say(
            f"It is started again on the same folder, and answers after {(time.monotonic() - began) * 1000:.0f} ms."
        )
        began = time.monotonic()
        upload = person.upload(file)
        self._stored(upload, file.name, LARGE_BYTES, time.monotonic() - began, picture=False)
        if self._listener is not None and not self._listener.open.wait(START_S):
            raise DemoFailed("the WebSocket did not open again")

    def _kill(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _await(self) -> None:
        ends = time.monotonic() + ARRIVE_S
        while self._board.missing():
            if time.monotonic() > ends:
                lines = [f"  {name}: {HOPS[hop]}" for _, name, hop in self._board.missing()]
                raise DemoFailed("this did not arrive:\n" + "\n".join(lines))
            time.sleep(0.05)

    def _check_totals(self, person: Person, uploads: int) -> None:
        counts = person.call("GET", "counts")
        if counts["uploads"] != uploads:
            raise DemoFailed(f"the counter says {counts['uploads']} uploads instead of {uploads}")
        status = self._running.fetch("status")
        waiting = [row for row in status["reactions"] if row["lag"] or row["parked"] or row["dead"]]
        if waiting:
            raise DemoFailed(f"reactions are not done: {waiting}")

    def _summary(self) -> None:
        self.say("Median times from the bucket's acknowledgement (the kill included; looked at every 0.1 s):")
        for hop, ms in sorted(self._board.medians().items(), key=lambda pair: pair[1]):
            self._print(f"    {ms:8.0f} ms  {HOPS[hop]}")

    # -- looking

    def _looks(self, person: Person) -> list[Any]:
        server = self._running
        sqs, dynamodb, s3 = (self._client(server, name) for name in ("sqs", "dynamodb", "s3"))
        out = self._outputs

        def queue() -> None:
            got = sqs.receive_message(QueueUrl=out["QueueUrl"], MaxNumberOfMessages=10)
            for message in got.get("Messages", []):
                for upload in uploads_in(message["Body"]):
                    self._board.saw(upload, "queue")
                sqs.delete_message(QueueUrl=out["QueueUrl"], ReceiptHandle=message["ReceiptHandle"])

        def outbox() -> None:
            found = server.fetch("events", log="mailbox", limit="500", **{"from": str(self._mailbox)})
            for entry in found["entries"]:
                for upload in re.findall(r"uploads/[\w-]+/([0-9a-f]{32})/", entry["value"]["body"]):
                    self._board.saw(upload, "sms")
            self._mailbox = found["next"]

        def rows() -> None:
            for upload, _, _ in self._board.missing("row"):
                if "Item" in dynamodb.get_item(TableName=out["RowsTable"], Key={"id": {"S": upload}}):
                    self._board.saw(upload, "row")

        def thumbnails() -> None:
            bucket = out["Bucket"].replace("originals", "thumbnails")
            for upload, _, _ in self._board.missing("thumbnail"):
                if s3.list_objects_v2(Bucket=bucket, Prefix=upload).get("KeyCount"):
                    self._board.saw(upload, "thumbnail")

        def search() -> None:
            for upload, name, _ in self._board.missing("search"):
                words = urllib.parse.quote(re.sub(r"\W+", " ", name.rsplit(".", 1)[0]))
                if any(photo["id"] == upload for photo in person.call("GET", f"photos?q={words}")["photos"]):
                    self._board.saw(upload, "search")

        def counted() -> None:
            for upload, _, _ in self._board.missing("counted"):
                if "Item" in dynamodb.get_item(TableName=out["CountsTable"], Key={"id": {"S": f"upload:{upload}"}}):
                    self._board.saw(upload, "counted")

        def listed() -> None:
            """What happened while the WebSocket was cut off, the page sees in its list when it is back."""
            if self._listener is None or not self._listener.open.is_set():
                return
            missed = {upload for hop in ("told", "ready") for upload, _, _ in self._board.missing(hop)}
            if missed and not self._board.missing("row"):
                for photo in person.call("GET", "photos")["photos"]:
                    if photo["id"] in missed and self._board.since_stored(photo["id"]) > MISSED_S:
                        self._board.saw(photo["id"], "told")
                        self._board.saw(photo["id"], "ready")

        return [queue, outbox, rows, thumbnails, search, counted, listed]

    @staticmethod
    def _client(server: Running, name: str) -> Any:
        key = server.key
        return boto3.client(
            name, endpoint_url=server.url, region_name=server.region, aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
            config=Config(signature_version="s3v4" if name == "s3" else "v4", retries={"max_attempts": 1}),
        )  # fmt: skip

    @property
    def _running(self) -> Running:
        data = self._folder / "data"
        pid = self._process.pid if self._process else 0
        return Running(self._url, data, pid, "us-east-1", read_root_key(data))

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # -- telling

    def say(self, text: str) -> None:
        """One line of the story."""
        self._print(f"{time.monotonic() - self._began:6.1f} s  {text}")

    @staticmethod
    def _print(text: str) -> None:
        sys.stdout.write(f"{text}\n")  # in one piece, as several threads tell of what they see
        sys.stdout.flush()

    def close(self) -> None:
        """Stop everything."""
        if self._watcher is not None:
            self._watcher.stop()
        if self._listener is not None:
            self._listener.stop()
        for one in (self._hook, self._partner, self._mail):
            one.down()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._kill()


def _large_file(folder: Path) -> Path:
    """300 MB that no compression or pattern makes easier."""
    path = folder / "holiday film.mov"
    block = os.urandom(4 * 1000 * 1000)
    with path.open("wb") as file:
        for number in range(LARGE_BYTES // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path


if __name__ == "__main__":
    raise SystemExit(main())
