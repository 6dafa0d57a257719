"""The dashboard's server: Streamlit's own, and before it the first words of the page.

Streamlit's page is empty until some megabytes of program have been loaded and have asked for content, which takes a
browser seconds. Whether people can print is known at once, so it is written into that page, for those who may know.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from streamlit.file_util import get_static_dir
from streamlit.starlette import App

from controller.state import State
from dashboard.first_words import with_first_words

import_module("pandas")  # Streamlit would load it with the first chart, for which somebody would have to wait
STATE = State(Path(os.environ["CUPSFLEET_STATE_DIR"]))
EMPTY = (Path(get_static_dir()) / "index.html").read_text().replace("<title>Streamlit<", "<title>cupsfleet<")
"""The page as Streamlit has it."""


def first_page(request: Request) -> Response:
    page = with_first_words(EMPTY, STATE, request.headers, kiosk="kiosk" in request.query_params)
    return HTMLResponse(page, headers={"Cache-Control": "no-store"})


def to_first_page(request: Request) -> Response:
    """Streamlit knows the first page by no other path, and would say that there is none of this name."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"/fleet/{query}", status_code=307)


def not_here(request: Request) -> Response:
    return Response(status_code=404)


app = App(
    Path(__file__).with_name("app.py"),
    routes=[
        Route("/fleet/", first_page),
        Route("/fleet/fleet", to_first_page),
        Route("/fleet/_stcore/metrics", not_here),  # how many people look, told to everybody who may print
    ],
)
