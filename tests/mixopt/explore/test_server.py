"""Who is let in to the page."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from mixopt.base.errors import ConfigError
from mixopt.explore.layout import page as page_of
from mixopt.explore.layout import pins_of
from mixopt.explore.server import LOOPBACK, Serving, serving
from mixopt.explore.what_if import WhatIfs
from tests.mixopt.explore.world import what_ifs

SECONDS = 30


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> WhatIfs:
    return what_ifs(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def page(asked: WhatIfs) -> Iterator[Serving]:
    with serving(asked, port=0) as served:
        Thread(target=served.server.serve_forever, daemon=True).start()
        yield served
        served.server.shutdown()


@pytest.fixture
def place(page: Serving) -> str:
    return page.url.partition("?")[0]


@pytest.fixture
def visitor(page: Serving) -> requests.Session:
    """Somebody who has opened the address with the token, and sends its cookie whatever the page is called."""
    session = requests.Session()
    assert session.get(page.url, timeout=SECONDS).status_code == 200
    session.headers["Cookie"] = "; ".join(f"{each.name}={each.value}" for each in session.cookies)
    return session


def test_it_listens_on_this_machine_alone(page: Serving) -> None:
    assert page.server.server_address[0] == LOOPBACK


@pytest.mark.parametrize(
    "path", ["", "_dash-layout", "_dash-dependencies", "assets/explore.css", "?token=", "?token=ä"]
)
def test_without_the_token_nothing_is_shown(place: str, path: str) -> None:
    answer = requests.get(place + path, timeout=SECONDS)
    assert answer.status_code == 403
    assert "open the address that mixopt explore printed" in answer.text
    assert "runs.csv" not in answer.text


def test_without_the_token_nothing_is_answered(place: str) -> None:
    for headers in ({}, {"Origin": place.rstrip("/")}):
        answer = requests.post(f"{place}_dash-update-component", json={}, headers=headers, timeout=SECONDS)
        assert answer.status_code == 403


def test_the_token_is_traded_for_a_cookie_that_scripts_cannot_read(page: Serving, place: str) -> None:
    [token] = parse_qs(urlsplit(page.url).query)["token"]
    answer = requests.get(page.url, allow_redirects=False, timeout=SECONDS)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert token not in cookie
    assert requests.get(place, cookies=answer.cookies, timeout=SECONDS).status_code == 200


def test_a_token_of_another_start_opens_nothing(page: Serving, place: str, asked: WhatIfs) -> None:
    with serving(asked, port=0) as other:
        query = other.url.partition("?")[2]
    assert requests.get(f"{place}?{query}", timeout=SECONDS).status_code == 403


def test_a_name_of_somebody_else_is_refused_also_with_the_cookie(visitor: requests.Session, place: str) -> None:
    port = urlsplit(place).port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example"):
        answer = visitor.get(place, headers={"Host": host}, timeout=SECONDS)
        assert answer.status_code == 403, host
        assert f"not served as {host}" in answer.text


def test_through_a_tunnel_it_has_another_port(visitor: requests.Session, place: str) -> None:
    for host in ("localhost:9000", "127.0.0.1:9000", "[::1]:9000"):
        assert visitor.get(place, headers={"Host": host}, timeout=SECONDS).status_code == 200, host


def test_a_name_with_capitals_is_this_machines(asked: WhatIfs) -> None:
    with serving(asked, host="LocalHost", port=0) as served:
        Thread(target=served.server.serve_forever, daemon=True).start()
        answer = requests.get(served.url, headers={"Host": f"LocalHost:{served.server.port}"}, timeout=SECONDS)
        served.server.shutdown()
    # The token is taken, and the cookie with it.
    assert answer.status_code == 200


def test_pins_are_of_one_study_whatever_else_was_served_at_its_address(asked: WhatIfs) -> None:
    subject = asked.subject
    assert pins_of(subject) == pins_of(replace(subject))
    assert pins_of(subject) != pins_of(replace(subject, name="autumn.csv"))
    assert pins_of(subject) in str(page_of(asked, asked.gain_reach))


@pytest.mark.parametrize("origin", [None, "http://evil.example", "http://127.0.0.1:1", "null"])
def test_another_page_can_ask_nothing_of_it(visitor: requests.Session, place: str, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    answer = visitor.post(f"{place}_dash-update-component", json={}, headers=headers, timeout=SECONDS)
    assert answer.status_code == 403
    assert "another page" in answer.text


def test_all_that_it_loads_is_its_own(visitor: requests.Session, place: str) -> None:
    answer = visitor.get(place, timeout=SECONDS)
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", answer.text)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy


def test_a_port_that_is_taken_is_a_line_and_the_usual_one_gives_way(asked: WhatIfs) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port}: Address already in use"), serving(asked, port=port):
            pass
    with serving(asked) as first, serving(asked) as second:
        assert first.server.port != second.server.port
