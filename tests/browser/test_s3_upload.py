"""A page of another origin that puts files into a private bucket with presigned URLs, in a real browser."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers.server import ServerProcess
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

MIB = 1024 * 1024
BUCKET = "of-the-page"
PAGE = """<!doctype html><title>Upload</title><input type=file id=file>
<script>
  window.put = (url, headers) => new Promise((resolve) => {
    const request = new XMLHttpRequest(), progress = []
    request.open('PUT', url)
    for (const name in headers) request.setRequestHeader(name, headers[name])
    request.upload.onprogress = (event) => progress.push([event.loaded, event.total])
    request.onloadend = () => resolve({status: request.status, etag: request.getResponseHeader('ETag'),
      id: request.getResponseHeader('x-amz-request-id'), text: request.responseText, progress})
    request.send(document.getElementById('file').files[0])
  })
  window.get = async (url, headers) => {
    const answer = await fetch(url, {headers: headers || {}})
    const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', await answer.arrayBuffer()))
    return {status: answer.status, type: answer.headers.get('content-type'), range: answer.headers.get('content-range'),
      sha256: Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}
  }
  window.fails = (method, url, headers) => fetch(url, {method, headers: headers || {}}).then((answer) => answer.status, (error) => String(error))
</script>"""


@pytest.fixture(scope="module")
def s3(server: ServerProcess) -> Any:
    made = server.client("s3")
    made.create_bucket(Bucket=BUCKET)
    return made


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is: another port, so another origin. A secure context, as localhost is, for its digest."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text(PAGE)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            return

    running = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://localhost:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="module")
def page(s3: Any, origin: str, browser: Browser) -> Page:
    rule = {"AllowedOrigins": [origin], "AllowedMethods": ["PUT", "GET"], "AllowedHeaders": ["content-type", "x-amz-*", "range"],
            "ExposeHeaders": ["ETag", "x-amz-request-id", "Content-Range"], "MaxAgeSeconds": 60}  # fmt: skip
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
    found = browser.new_context().new_page()
    found.goto(origin)
    return found


def url_of(s3: Any, operation: str, key: str, **more: Any) -> str:
    return str(s3.generate_presigned_url(operation, {"Bucket": BUCKET, "Key": key, **more}, 60))


def test_a_file_goes_up_with_progress_and_comes_back(page: Page, s3: Any, tmp_path: Path) -> None:
    file = tmp_path / "clouds über dem Meer.bin"
    file.write_bytes(os.urandom(24 * MIB))
    page.locator("#file").set_input_files(file)
    # Over a slow line, or it is there before the first event.
    line = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 40 * MIB}
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", line)
    about = {"ContentType": "image/x-cloud", "Metadata": {"from": "page"}}
    put = page.evaluate(
        "([url, headers]) => put(url, headers)",
        [url_of(s3, "put_object", "up/größe ☃", **about), {"Content-Type": "image/x-cloud", "x-amz-meta-from": "page"}],
    )
    assert put["status"] == 200 and put["etag"] == f'"{hashlib.md5(file.read_bytes()).hexdigest()}"' and put["id"], put
    assert put["progress"] and put["progress"][-1] == [24 * MIB, 24 * MIB]
    assert put["progress"] == sorted(put["progress"]) and len(put["progress"]) > 1
    head = s3.head_object(Bucket=BUCKET, Key="up/größe ☃")
    assert head["ContentType"] == "image/x-cloud" and head["Metadata"] == {"from": "page"}
    url = url_of(s3, "get_object", "up/größe ☃")
    got = page.evaluate("([url]) => get(url)", [url])
    assert got == {
        "status": 200,
        "type": "image/x-cloud",
        "range": None,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    got = page.evaluate("([url]) => get(url, {range: 'bytes=5-14'})", [url])
    assert got["status"] == 206 and got["range"] == f"bytes 5-14/{24 * MIB}"
    assert got["sha256"] == hashlib.sha256(file.read_bytes()[5:15]).hexdigest()


def test_an_empty_file_and_a_small_one(page: Page, s3: Any, tmp_path: Path) -> None:
    for name, body in (("empty", b""), ("small", b"a few bytes")):
        (tmp_path / name).write_bytes(body)
        page.locator("#file").set_input_files(tmp_path / name)
        put = page.evaluate("([url]) => put(url, {})", [url_of(s3, "put_object", name)])
        assert put["status"] == 200 and s3.get_object(Bucket=BUCKET, Key=name)["Body"].read() == body


def test_the_page_can_read_what_went_wrong(page: Page, s3: Any, tmp_path: Path) -> None:
    """Errors bear the CORS headers, too: else a page sees nothing but "failed"."""
    (tmp_path / "x").write_bytes(b"x")
    page.locator("#file").set_input_files(tmp_path / "x")
    url = url_of(s3, "put_object", "never")
    put = page.evaluate("([url]) => put(url, {'x-amz-meta-smuggled': '1'})", [url])
    assert put["status"] == 403 and "<Code>AccessDenied</Code>" in put["text"], put
    put = page.evaluate("([url]) => put(url, {})", [url[:-1] + ("0" if url[-1] != "0" else "1")])
    assert put["status"] == 403 and "<Code>SignatureDoesNotMatch</Code>" in put["text"]
    assert page.evaluate("([url]) => fails('GET', url)", [url_of(s3, "get_object", "never")]) == 404
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="never")


def test_what_no_rule_allows_is_kept_from_the_page(page: Page, s3: Any, server: ServerProcess) -> None:
    s3.put_object(Bucket=BUCKET, Key="there", Body=b"x")
    denied = "TypeError: Failed to fetch"
    assert page.evaluate("([url]) => fails('DELETE', url)", [url_of(s3, "delete_object", "there")]) == denied
    url = url_of(s3, "get_object", "there")
    assert page.evaluate("([url]) => fails('GET', url, {'x-other': '1'})", [url]) == denied
    s3.create_bucket(Bucket="without-rules")
    s3.put_object(Bucket="without-rules", Key="there", Body=b"x")
    other = s3.generate_presigned_url("get_object", {"Bucket": "without-rules", "Key": "there"}, 60)
    assert page.evaluate("([url]) => fails('GET', url)", [other]) == denied
    assert s3.head_object(Bucket=BUCKET, Key="there")["ContentLength"] == 1
    assert page.evaluate("([url]) => fails('GET', url)", [f"{server.url}/{BUCKET}/there"]) == 403, "it is private"
