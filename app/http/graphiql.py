"""GraphiQL, served by the gateway itself: the page at `/graphql` for browsers, and its assets below `/graphql/assets/`.

The page is made at install time (`app.http.graphiql_build`). Every script, style, font and worker comes from this
origin (trap 18), and the Content-Security-Policy lets it load nothing else. Neither the page nor an asset tells
anything about the fleet, so both are served without a token; the page asks for one. What every answer has (no framing,
no sniffing, no referrer) is added by `app.http.headers.safe`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.http import graphiql_build
from app.http.encoding import Encoding, preferred

ASSETS_PATH = "/graphql/assets/{name}"
"""Where the page's scripts, styles, fonts and workers are; the page names them relative to its own address."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "connect-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Monaco writes <style> elements as it runs
        "font-src 'self' data:",  # GraphiQL's style sheet carries its fonts
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
}


_REMEDY = f"Run {graphiql_build.COMMAND} where the gateway is installed: it says what it needs."


@dataclass(frozen=True, slots=True)
class _Asset:
    media_type: str
    compressed: bool
    """Whether a gzip of it lies beside it."""


@dataclass(frozen=True, slots=True)
class _Built:
    """A page as `build.mjs` left it."""

    stamp: int
    html: str
    assets: dict[str, _Asset]


class Page:
    """The page in one directory, read again when a build replaces it."""

    def __init__(self, directory: Path = graphiql_build.OUTPUT) -> None:
        self.directory = directory
        self._built: _Built | None = None

    def read(self) -> _Built | None:
        """What is built, or None where nothing is."""
        manifest = self.directory / "manifest.json"
        try:
            stamp = manifest.stat().st_mtime_ns
            if self._built is None or self._built.stamp != stamp:
                files = json.loads(manifest.read_bytes())["files"]
                assets = {name: _Asset(about["type"], about["compressed"]) for name, about in files.items()}
                html = (self.directory / "index.html").read_text(encoding="utf-8")
                self._built = _Built(stamp, html, assets)
        except (OSError, ValueError, KeyError):
            self._built = None
        return self._built

    def status(self) -> str | None:
        """None where the page is there and up to date, else what is wrong with it and how to mend it."""
        if self.read() is None:
            failure = graphiql_build.last_failure(self.directory)
            if failure is None:
                return f"The GraphiQL page has not been built. {_REMEDY}"
            return f"The GraphiQL page could not be built: {failure}\n{_REMEDY}"
        wanted = graphiql_build.fingerprint()
        if wanted is not None and wanted != graphiql_build.built_fingerprint(self.directory):
            return f"The GraphiQL page was built from older sources than those that are here. {_REMEDY}"
        return None

    async def page(self, request: Request) -> Response:
        """The page, or in its place one in plain words (503) that says what is missing and how to mend it.

        Why a build failed is for `doctor` alone: what npm printed may name paths of the gateway's machine.
        """
        built = self.read()
        if built is None:
            failed = graphiql_build.last_failure(self.directory) is not None
            html = _MISSING.format(happened="could not be built" if failed else "has not been built", remedy=_REMEDY)
            return HTMLResponse(html, 503, headers={**_HEADERS, "Cache-Control": "no-store"})
        # The same address answers in JSON too: a copy of the page is not to be taken for that.
        headers = {**_HEADERS, "Cache-Control": "no-cache", "Vary": "Accept, Authorization"}
        # Relative, so that it holds below whatever path a proxy puts before the gateway's, with or without a last "/".
        segment = request.url.path.rpartition("/")[2]
        html = built.html.replace("{{base}}", f"{segment}/assets" if segment else "assets")
        return HTMLResponse(html, headers=headers)

    async def asset(self, request: Request) -> Response:
        """One file of the page. Only names that the build listed exist, so that no path leads out of it."""
        name: str = request.path_params["name"]
        built = self.read()
        about = built.assets.get(name) if built is not None else None
        if about is None:
            return PlainTextResponse("There is no such file.\n", 404, headers={**_HEADERS, "Cache-Control": "no-store"})
        headers = {
            **_HEADERS,
            "Cache-Control": "public, max-age=31536000, immutable",  # the name holds the content's hash
            "Vary": "Accept-Encoding",
        }
        path = self.directory / "assets" / name
        if about.compressed and preferred(request.headers.get("accept-encoding"), (Encoding.GZIP,)):
            path = path.with_name(f"{name}.gz")
            headers["Content-Encoding"] = "gzip"
        if not path.is_file():  # a build took its place a moment ago
            return PlainTextResponse("There is no such file.\n", 404, headers={**_HEADERS, "Cache-Control": "no-store"})
        return FileResponse(path, headers=headers, media_type=about.media_type)


_PAGE = Page()

page = _PAGE.page
asset = _PAGE.asset
status = _PAGE.status


def routes() -> list[Route]:
    """The assets' route. The page itself shares `/graphql` with the API, which hands it to who asks for HTML."""
    return [Route(ASSETS_PATH, asset, methods=["GET"])]


_MISSING = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fleetgraph</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
main {{ margin: 12vh auto; max-width: 42rem; padding: 0 1rem; }}
code {{ background: color-mix(in srgb, currentColor 10%, transparent); border-radius: 4px; padding: .1em .3em; }}
</style>
</head>
<body>
<main>
<h1>Fleetgraph</h1>
<p>The gateway runs and answers GraphQL at this address. What is missing is GraphiQL, the page for browsers.</p>
<p>It {happened}. {remedy} <code>fleetgraph doctor</code> tells the reason too.</p>
<p>This page is the right one as soon as the build is there; the gateway need not be started again.</p>
</main>
</body>
</html>
"""
