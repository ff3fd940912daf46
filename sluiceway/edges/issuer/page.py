"""The issuer's pages: plain HTML without scripts, styled by one inline sheet that the policy names by its hash."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from typing import Final

from sluiceway.edges.http import Response

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5b6675; --paper: #fff; --ground: #eef1f5;
  --line: #c9d0da; --accent: #0b5cad; --on-accent: #fff; --wrong: #a3161c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --soft: #a3adba; --paper: #1c232c; --ground: #12171d;
  --line: #3b4653; --accent: #6cb2ff; --on-accent: #08213d; --wrong: #ff9a94; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; background: var(--ground);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 24rem; padding: 2rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: .75rem; }
h1 { margin: 0 0 .25rem; font-size: 1.4rem; line-height: 1.25; }
p { margin: 0 0 1.25rem; color: var(--soft); overflow-wrap: anywhere; }
p.wrong { color: var(--wrong); font-weight: 600; }
label { display: block; margin: 0 0 .25rem; font-weight: 600; }
input { width: 100%; margin: 0 0 1rem; padding: .6rem .7rem; font: inherit; color: inherit; background: var(--paper);
  border: 1px solid var(--line); border-radius: .4rem; }
button { width: 100%; padding: .7rem; font: inherit; font-weight: 600; color: var(--on-accent);
  background: var(--accent); border: 0; border-radius: .4rem; cursor: pointer; }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.other { margin: 1.25rem 0 0; text-align: center; }
a { color: var(--accent); }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")


@dataclass(frozen=True, slots=True)
class Form:
    """One form: where it goes, what it says, and what was entered before."""

    action: str
    csrf: str
    destination: str
    other_url: str | None
    creating: bool
    minimum: int
    email: str = ""
    name: str = ""
    problem: str = ""


def sign_in_page(form: Form, status: int, redirect_origin: str) -> Response:
    """Sign in, or create an account."""
    title, button = ("Create an account", "Create account") if form.creating else ("Sign in", "Sign in")
    parts = [
        f"<h1>{title}</h1><p>to continue to {escape(form.destination)}</p>",
        f'<p class="wrong" role="alert">{escape(form.problem)}</p>' if form.problem else "",
        f'<form method="post" action="{escape(form.action)}">',
        f'<input type="hidden" name="csrf" value="{escape(form.csrf)}">',
    ]
    if form.creating:
        parts.append(_input("name", "Name", "text", "name", form.name, "maxlength=100"))
    parts.append(_input("email", "E-mail address", "email", "username", form.email, "required maxlength=254"))
    shape = f"required maxlength=256 minlength={form.minimum}" if form.creating else "required maxlength=256"
    use = "new-password" if form.creating else "current-password"
    parts.append(_input("password", "Password", "password", use, "", shape))
    parts.append(f'<button type="submit">{button}</button></form>')
    if form.other_url:
        words = ("Have an account?", "Sign in") if form.creating else ("New here?", "Create an account")
        parts.append(f'<p class="other">{words[0]} <a href="{escape(form.other_url)}">{words[1]}</a></p>')
    return page(title, "".join(parts), status, redirect_origin)


def sign_out_page(action: str, csrf: str, redirect_origin: str) -> Response:
    """Asks first: a link from somewhere else must not sign a person out."""
    body = (
        "<h1>Sign out?</h1><p>You will have to enter your password again.</p>"
        f'<form method="post" action="{escape(action)}"><input type="hidden" name="csrf" value="{escape(csrf)}">'
        '<button type="submit">Sign out</button></form>'
    )
    return page("Sign out", body, 200, redirect_origin)


def message_page(title: str, words: str, status: int) -> Response:
    """A page that only says something."""
    return page(title, f"<h1>{escape(title)}</h1><p>{escape(words)}</p>", status, "")


def page(title: str, body: str, status: int, redirect_origin: str) -> Response:
    """``redirect_origin`` is where a form's answer may lead, which browsers hold against ``form-action``."""
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>' + escape(title) + "</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><style>' + _STYLE + "</style></head>"
        f"<body><main>{body}</main></body></html>"
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self' {redirect_origin}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", policy),
        ("cache-control", "no-store"),
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ]
    return Response(status, headers, html.encode())


def _input(name: str, label: str, kind: str, use: str, value: str, more: str) -> str:
    return (
        f'<label for="{name}">{label}</label><input id="{name}" name="{name}" type="{kind}" autocomplete="{use}" '
        f'value="{escape(value)}" {more}>'
    )
