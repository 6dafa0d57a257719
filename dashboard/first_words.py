"""The first words of the page, as HTML: whether people can print, and what is wrong.

They go when the page itself is up. For anybody but an administrator there are none, and neither are there any when they
can't be known: then the page itself says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from controller.state import State
from controller.store import Store, StoreError
from controller.views import Views
from controller.views.fleet_words import SIGNS, age_of, counts, mood, sentence
from controller.views.phrases import capital, lasting
from dashboard import viewer as access
from dashboard.components import PROBLEMS_SHOWN

_END = "</body>"
_LATE = "The page behind these words has not come up, so they do not follow what happens. Load it again."


def with_first_words(page: str, state: State, headers: Mapping[str, str], kiosk: bool) -> str:
    """The page with what its reader may know. page: HTML that ends with a body. headers: of the request for it."""
    try:
        if not access.of_request(headers, state).admin:
            return page
        with Store(state.database) as store:
            status = Views(state, store).status()
    except (access.Refused, StoreError):
        return page
    return page.replace(
        _END, f"<style>{_file('css')}</style>{_words(status, kiosk)}<script>{_file('js')}</script>{_END}"
    )


def _file(kind: str) -> str:
    return Path(__file__).with_name(f"first_words.{kind}").read_text()


def _words(status: Mapping[str, Any], kiosk: bool) -> str:
    how = mood(status)
    old = age_of(status)
    said = [*status["problems"][:PROBLEMS_SHOWN], *([] if old is None else [f"What you see is {lasting(old)} old."])]
    ready = " · ".join(f"{count} {word}" for word, count in counts(status["nodes"]).items() if count)
    return (
        f'<main id="first-words" class="{how}{" kiosk" if kiosk else ""}">'
        f'<h1><span aria-hidden="true">{SIGNS[how]}</span> {escape(sentence(status))}</h1>'
        f"<p>{escape(ready)}</p>{''.join(f'<p class=problem>{escape(capital(one))}</p>' for one in said)}"
        f'<p class="late">{_LATE}</p></main>'
    )
