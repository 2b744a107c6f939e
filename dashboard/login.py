"""The page that asks for the token, and the one that goes on from a link with a token."""

from __future__ import annotations

import html

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 1rem;
  display: grid; place-items: center; min-height: 90vh; }
main { width: min(24rem, 100%); }
h1 { font-size: 1.4rem; }
label { display: block; margin-bottom: .3rem; }
input, button { font: inherit; box-sizing: border-box; width: 100%;
  padding: .5rem .7rem; border-radius: .4rem; }
button { margin-top: .8rem; cursor: pointer; }
[role=alert] { border-left: .25rem solid #d55e00; padding-left: .6rem; }
"""


def form(told: str = "") -> str:
    """Return a form that sends the token to the address it stands at; `told` is what went wrong before."""
    alert = f'<p role="alert">{html.escape(told)}</p>' if told else ""
    return _page(
        "",
        "<h1>edge-bench</h1>"
        f"{alert}"
        '<form method="post"><label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password"'
        " required autofocus>"
        '<button type="submit">Open the dashboard</button></form>'
        "<p>It stands in the file that <code>edge-bench dashboard --token-file</code> names.</p>",
    )


def onward(address: str) -> str:
    """Return a page that goes on to `address` at once, and leaves none of its own in the history."""
    safe = html.escape(address)
    return _page(
        f'<meta http-equiv="refresh" content="0;url={safe}">',
        f'<p><a href="{safe}">Open the dashboard</a></p>',
    )


def _page(head: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>edge-bench</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{head}<style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )
