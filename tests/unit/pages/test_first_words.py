"""What a browser shows before the page's program runs, and to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.decide import decide
from controller.state import State
from controller.store import Store
from controller.views import publish
from dashboard.figures import Figure, _figure
from dashboard.first_words import with_first_words
from tests.builders import settings, sight, snapshot
from tests.unit.pages.opening import begun

PAGE = '<html><body><div id="root"></div></body></html>'


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    state = begun(tmp_path, monkeypatch)
    with Store(state.database, create=True) as store:
        seen = snapshot(sight(1), sight(2), sight(3, jobs=3))
        publish(store, seen, decide(seen, settings()), settings(), ["a <b>bold</b> problem"])
    return state


def seen_by(state: State, name: str, secret: str = "", kiosk: bool = False) -> str:
    return with_first_words(PAGE, state, {"X-Fleet-User": name, "X-Fleet-Secret": secret or state.secret()}, kiosk)


def test_an_administrator_reads_at_once_whether_people_can_print(state: State) -> None:
    page = seen_by(state, "admin")
    assert "All 3 servers ready. 2 jobs waiting" in page
    assert 'class="doubt"' in page
    assert "A &lt;b&gt;bold&lt;/b&gt; problem" in page
    assert page.endswith("</body></html>")
    assert 'class="doubt kiosk"' in seen_by(state, "admin", kiosk=True)


@pytest.mark.parametrize(("name", "secret"), [("demo", ""), ("nobody", ""), ("", ""), ("admin", "guess")])
def test_nobody_else_reads_anything(state: State, name: str, secret: str) -> None:
    assert seen_by(state, name, secret) == PAGE


def test_what_can_not_be_known_is_not_said(state: State) -> None:
    state.database.write_bytes(b"no database")
    assert seen_by(state, "admin") == PAGE


def test_old_words_say_how_old_they_are(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(State, "controller", lambda self: None)
    assert "No controller runs" in seen_by(state, "admin")
    assert "What you see is 0 s old" in seen_by(state, "admin")


def test_a_figure_draws_its_past_where_there_is_one() -> None:
    assert "polyline" in _figure(Figure("Queue", "3", "at most 4", (1.0, 4.0, 3.0)))
    assert _figure(Figure("Jobs", "<3>", "since midnight", (0.0, 2.0, 1.0), bars=True)).count("rect") == 2
    assert "&lt;3&gt;" in _figure(Figure("Jobs", "<3>", "since midnight"))
    assert "poly" not in _figure(Figure("Queue", "0", "at most 0", (0.0,)))
    assert "polyline" in _figure(Figure("Queue", "0", "at most 0", (0.0, 0.0)))
