"""A real browser uploads to a bucket: by a form that redirects, and from a script of another site."""

from __future__ import annotations

import html
import http.server
import json
import os
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import forms
from helpers.server import ServerProcess
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.browser
BUCKET = "from.browsers"


class Site:
    """Another site: ``pages`` by path."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        pages = self.pages

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = pages.get(self.path.partition("?")[0])
                self.send_response(200 if page is not None else 404)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write((page or "").encode())

            def log_message(self, *_: Any) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()


@pytest.fixture(scope="module")
def s3(server: ServerProcess) -> Any:
    made = server.client("s3")
    made.create_bucket(Bucket=BUCKET)
    return made


@pytest.mark.parametrize("name, size", [("größe “1”.txt", 20), ("large.bin", 3_000_000), ("empty", 0)])
def test_a_form_uploads_and_goes_on(
    server: ServerProcess, s3: Any, site: Site, browser: Browser, tmp_path: Path, name: str, size: int
) -> None:
    file = tmp_path / name
    file.write_bytes(os.urandom(size))
    done = f"{site.url}/done?from=form"
    base = {"key": "user/ann/${filename}", "success_action_redirect": done, "x-amz-meta-note": "Zoë was here"}
    conditions = [
        {"bucket": BUCKET}, ["starts-with", "$key", "user/ann/"], {"success_action_redirect": done},
        ["starts-with", "$x-amz-meta-note", ""], ["content-length-range", 0, 4_000_000],
    ]  # fmt: skip
    fields = forms.signed(server.key, BUCKET, base, conditions)
    hidden = "".join(
        f'<input type="hidden" name="{field}" value="{html.escape(value)}">' for field, value in fields.items()
    )
    action = f"http://{BUCKET}.s3.localhost:{server.port}/"
    site.pages["/form"] = (
        f'<!doctype html><meta charset="utf-8"><form action="{action}" method="post" enctype="multipart/form-data">'
        f'{hidden}<input type="file" name="file"><input type="submit" name="submit" value="Upload"></form>'
    )
    site.pages["/done"] = "<!doctype html><h1>Thank you</h1>"
    page = browser.new_context().new_page()
    page.goto(f"{site.url}/form")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading")).to_have_text("Thank you")
    told = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(page.url).query))
    key = f"user/ann/{name}"
    assert told == {"from": "form", "bucket": BUCKET, "key": key, "etag": f'"{forms.md5(file.read_bytes())}"'}
    stored = s3.get_object(Bucket=BUCKET, Key=key)
    assert stored["Body"].read() == file.read_bytes()
    assert stored["Metadata"]["note"] == "=?UTF-8?B?Wm/DqyB3YXMgaGVyZQ==?="


SCRIPT = """async ({ url, fields, get, put }) => {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", new File(["from a script"], "script.txt"));
  const posted = await fetch(url, { method: "POST", body: form });
  const upload = await fetch(put, { method: "PUT", body: "put", headers: { "x-amz-meta-a": "1" } });
  const read = await fetch(get);
  return {
    posted: posted.status, etag: posted.headers.get("etag"), hidden: posted.headers.get("x-amz-id-2"),
    upload: upload.status, read: read.status, text: await read.text(),
  };
}"""


def test_a_script_of_another_site_uploads_where_the_bucket_lets_it(
    server: ServerProcess, s3: Any, site: Site, browser: Browser
) -> None:
    site.pages["/app"] = "<!doctype html><title>app</title>"
    fields = forms.signed(server.key, BUCKET, {"key": "script/${filename}"}, [
        {"bucket": BUCKET}, ["starts-with", "$key", "script/"],
    ])  # fmt: skip
    about = {"Bucket": BUCKET, "Key": "script/put"}
    given = {
        "url": f"http://{BUCKET}.s3.localhost:{server.port}/",
        "fields": fields,
        "get": s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "script/script.txt"}),
        "put": s3.generate_presigned_url("put_object", {**about, "Metadata": {"a": "1"}}),
    }
    page = browser.new_context().new_page()
    page.goto(f"{site.url}/app")
    failed = f"async given => {{ try {{ return await ({SCRIPT})(given) }} catch (error) {{ return `${{error}}` }} }}"
    assert "Failed to fetch" in page.evaluate(failed, given), "no rule lets this site"
    rule = {
        "AllowedMethods": ["GET", "PUT", "POST"], "AllowedOrigins": [site.url], "AllowedHeaders": ["x-amz-*"],
        "ExposeHeaders": ["ETag"],
    }  # fmt: skip
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
    try:
        found = page.evaluate(SCRIPT, given)
    finally:
        s3.delete_bucket_cors(Bucket=BUCKET)
    assert found == {
        "posted": 204, "etag": f'"{forms.md5(b"from a script")}"', "hidden": None, "upload": 200, "read": 200,
        "text": "from a script",
    }, json.dumps(found)  # fmt: skip
    assert s3.head_object(**about)["Metadata"] == {"a": "1"}
