"""The page as somebody uses it, in a browser: Debian's chromium, without a window."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from mixopt.api import Study
from mixopt.explore.layout import position, share_at
from mixopt.explore.subject import ANSWER, of_study
from mixopt.explore.views import percent
from mixopt.explore.what_if import WhatIfs
from mixopt.study.queue import queued
from tests.e2e.study import STUDY
from tests.mixopt.explore.visitor import BROWSER, DRIVER, NARROW, NO_BROWSER, WIDE, Visitor, browser, visiting
from tests.mixopt.explore.world import DOMAINS, IN_LEVELS, WITHIN_LEVELS, what_ifs
from tests.simulated import planned, run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None or DRIVER is None, reason=NO_BROWSER)]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> WhatIfs:
    return what_ifs(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    """One browser for all, as to start it takes longer than most visits."""
    with browser() as driver:
        yield driver


@pytest.fixture
def visitor(asked: WhatIfs, driver: Chrome) -> Iterator[Visitor]:
    with visiting(asked, driver) as visitor:
        yield visitor
        assert visitor.mistakes() == []


def close_to(shares: list[float], expected: Any) -> bool:
    return all(abs(one - 100 * other) < 0.02 for one, other in zip(shares, expected, strict=True))


def test_a_slider_moves_the_others_and_everything_that_is_expected(visitor: Visitor, asked: WhatIfs) -> None:
    answer = asked.subject.mixtures[ANSWER]
    assert close_to(visitor.shares(), answer.weights)
    before = visitor.text("now-objective")
    visitor.slide(1, 0.5)
    expected = asked.moved(answer, "code", 0.5)
    visitor.await_(lambda: close_to(visitor.shares(), expected.weights))
    found = asked.of(expected)
    assert visitor.text("now-objective") != before
    assert found.expected.gain is not None
    assert float(visitor.text("now-gain").replace("−", "-")) == pytest.approx(found.expected.gain.mean, abs=1e-3)
    assert visitor.text("now-evidence") == f"{found.nearest:.0%}"
    for number, name in enumerate(DOMAINS):
        assert float(visitor.find("epochs", number).text) == pytest.approx(found.domains[name].epochs, abs=0.02)
        place = int(visitor.find("share", number).get_attribute("value") or -1)
        assert abs(place - position(expected[name])) <= 1


def test_the_sums_of_levels_follow_and_have_an_effect(tmp_path: Path, driver: Chrome) -> None:
    asked = what_ifs(tmp_path, said=IN_LEVELS, domains=WITHIN_LEVELS)
    with visiting(asked, driver) as visitor:
        visitor.slide(3, 0.25)
        expected = asked.moved(asked.subject.mixtures[ANSWER], "prose.rare.chat", 0.25)
        visitor.await_(lambda: close_to(visitor.shares(), expected.weights))
        sums = [sum(expected.weights[2:]), sum(expected.weights[3:])]
        assert [visitor.find("level", number).text for number in range(2)] == [percent(share) for share in sums]
        names = [each.text.strip() for each in visitor.driver.find_elements(By.CSS_SELECTOR, "#shares .name")]
        assert names == ["web", "code", "prose", "books", "rare", "chat", "law"]
        assert visitor.mistakes() == []


def test_to_and_fro_leads_back(visitor: Visitor, asked: WhatIfs) -> None:
    answer = asked.subject.mixtures[ANSWER]
    for share in (0.6, 0.01, 0.4, answer["code"]):
        visitor.slide(1, share)
        visitor.await_(lambda share=share: abs(visitor.shares()[1] - 100 * share) < 0.2)  # type: ignore[misc]
    visitor.await_(
        lambda: all(abs(each - 100 * other) < 0.2 for each, other in zip(visitor.shares(), answer.weights, strict=True))
    )


def test_while_a_slider_is_dragged_what_is_expected_follows(visitor: Visitor) -> None:
    moved = visitor.driver.execute_async_script(
        """const [slider, done] = arguments;
        const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
        let seen = new Set(), place = 200;
        const drag = setInterval(() => {
            set.call(slider, place); slider.dispatchEvent(new Event('input', {bubbles: true}));
            seen.add(document.getElementById('now-objective').textContent);
            if ((place += 4) > 600) { clearInterval(drag); setTimeout(() => done(seen.size), 1500); }
        }, 16);""",
        visitor.find("share", 0),
    )
    assert moved >= 4, "the page waits for the hand to rest"
    # The last place, however fast the hand was.
    visitor.await_(lambda: abs(visitor.shares()[0] - 36) < 0.1)


def test_limits_hold_until_they_are_let_go(visitor: Visitor) -> None:
    visitor.type_share(1, "90")
    visitor.await_(lambda: abs(visitor.shares()[1] - 60) < 0.01)
    assert visitor.text("said") == "code is 60%, not 90%: the limits let it have no more"
    assert visitor.text("now-limits") == "kept"
    visitor.tick("within")
    visitor.type_share(1, "90")
    visitor.await_(lambda: abs(visitor.shares()[1] - 90) < 0.01)
    visitor.await_(lambda: "broken" in visitor.text("now-limits"))
    assert "domain code: 0.9 is above its maximum 0.6" in visitor.text("details")
    visitor.tick("within")
    visitor.await_(lambda: visitor.text("now-limits") == "kept")


def test_what_is_no_share_changes_nothing(visitor: Visitor) -> None:
    before = visitor.shares()
    for typed in ("much", "nan", "", "150", "-5"):
        visitor.type_share(1, typed)
        visitor.await_(lambda: visitor.shares() == before)
    visitor.type_share(1, "41,5 %")
    visitor.await_(lambda: visitor.shares()[1] == 41.5)
    moved = visitor.shares()
    visitor.type_share(1, "abc")
    visitor.await_(lambda: visitor.text("said") == "abc is no share: give a number from 0 to 100")
    assert visitor.shares() == moved, "what was typed before stays"


def test_what_is_held_stays(visitor: Visitor) -> None:
    web = visitor.shares()[0]
    visitor.tick("held", 0)
    visitor.slide(1, 0.45)
    visitor.await_(lambda: abs(visitor.shares()[1] - 45) < 0.2)
    assert visitor.shares()[0] == pytest.approx(web, abs=0.01)
    for number in (2, 3, 4):
        visitor.tick("held", number)
    visitor.type_share(1, "20")
    visitor.await_(lambda: visitor.text("said") == "code stays at 45.02%: all other domains are held")


def test_the_keyboard_suffices(visitor: Visitor) -> None:
    seen = []
    for _ in range(12):
        ActionChains(visitor.driver).send_keys(Keys.TAB).perform()
        seen.append(visitor.driver.switch_to.active_element.get_attribute("id"))
    assert {"begin", "pin", '{"share":0}', '{"percent":0}', '{"share":1}'} <= set(seen)
    for number in (1, 2, 1):
        before = visitor.shares()[number]
        # From the field at once to the slider: leaving the field is no move.
        visitor.find("percent", number).click()
        visitor.find("share", number).send_keys(Keys.ARROW_RIGHT)
        visitor.await_(lambda number=number, before=before: visitor.shares()[number] > before)  # type: ignore[misc]
    # A field that is left by Tab tells what was typed.
    visitor.find("percent", 1).send_keys(Keys.CONTROL, "a")
    visitor.find("percent", 1).send_keys("25", Keys.TAB)
    visitor.await_(lambda: visitor.shares()[1] == 25)
    visitor.await_(lambda: visitor.find("share", 1).get_attribute("value") == "500")


def test_mixtures_are_pinned_and_compared_and_taken_up_again(visitor: Visitor, asked: WhatIfs) -> None:
    visitor.press("pin")
    visitor.await_(lambda: visitor.text("said") == "pinned as answer")
    visitor.choose("begin", "uniform")
    visitor.await_(lambda: close_to(visitor.shares(), asked.subject.mixtures["uniform"].weights))
    visitor.press("pin")
    visitor.await_(lambda: "uniform" in visitor.text("comparison"))
    assert "now gains over it" in visitor.text("comparison")
    # The table is drawn anew whenever a share has come to rest.
    visitor.click(lambda: visitor.driver.find_element(By.XPATH, "//button[text()='take']"))
    visitor.await_(lambda: close_to(visitor.shares(), asked.subject.mixtures[ANSWER].weights))
    visitor.driver.refresh()
    visitor.await_(
        lambda: bool(visitor.driver.find_elements(By.ID, "comparison")) and "uniform" in visitor.text("comparison")
    )


def test_a_slider_is_answered_while_the_table_of_pins_is_drawn_anew(visitor: Visitor) -> None:
    for delay in range(0, 120, 15):  # milliseconds
        place = 300 + delay
        visitor.driver.execute_async_script(
            """const [slider, place, delay, done] = arguments;
            document.getElementById('pin').click();
            setTimeout(() => {
                slider.value = place; slider.dispatchEvent(new Event('input', {bubbles: true})); done();
            }, delay);""",
            visitor.find("share", 1),
            place,
            delay,
        )
        visitor.await_(lambda place=place: abs(visitor.shares()[1] - 100 * share_at(place)) < 0.01)  # type: ignore[misc]


def test_a_screen_reader_is_told_which_domain_a_slider_and_a_field_are_of(visitor: Visitor) -> None:
    for number, name in enumerate(DOMAINS):
        assert visitor.find("share", number).accessible_name == name
        assert visitor.find("percent", number).accessible_name == f"{name} in percent"
        assert visitor.find("held", number).find_element(By.TAG_NAME, "input").accessible_name == f"hold {name}"


def test_a_click_on_the_front_takes_that_mixture(visitor: Visitor) -> None:
    visitor.await_(lambda: bool(visitor.driver.find_elements(By.CSS_SELECTOR, "#trade .point")))
    before = visitor.shares()
    visitor.driver.execute_script(
        """const graph = document.querySelector('#trade .js-plotly-plot');
        const front = graph.data[1], last = front.x.length - 1;
        graph.emit('plotly_click', {points: [{curveNumber: 1, pointNumber: last, x: front.x[last], y: front.y[last],
            data: front, fullData: front}]});"""
    )
    visitor.await_(lambda: visitor.shares() != before)


def test_a_mixture_is_exported(visitor: Visitor) -> None:
    visitor.choose("format", "megatron")
    visitor.find("location").send_keys("/data/{domain}_text_document")
    visitor.press("show")
    visitor.await_(lambda: "/data/web_text_document" in visitor.text("exported"))
    visitor.choose("format", "hf")
    visitor.press("show")
    visitor.await_(lambda: "draws documents" in visitor.text("said"))
    assert visitor.text("exported") == ""


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_it_fits_the_window_and_loads_nothing_from_elsewhere(
    asked: WhatIfs, driver: Chrome, size: tuple[int, int]
) -> None:
    with visiting(asked, driver, size) as visitor:
        width, window = visitor.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert width <= window
        loaded = visitor.driver.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
        assert loaded
        assert all(each.startswith("http://127.0.0.1:") for each in loaded)
        assert visitor.mistakes() == []


def test_a_mixture_of_a_study_is_queued_and_the_study_trains_it(tmp_path: Path, driver: Chrome) -> None:
    text = STUDY.replace("trials: 3}", "trials: 9}").replace("candidates: 1, seeds: 2", "candidates: 0")
    plan = planned(tmp_path, text + "search: {strategy: regmix, surrogate: linear}\n")
    run(plan)
    asked = WhatIfs(of_study(plan.file))
    with visiting(asked, driver) as visitor:
        visitor.type_share(1, "33")
        visitor.await_(lambda: abs(visitor.shares()[1] - 33) < 0.01)
        visitor.find("note").send_keys("a third code")
        visitor.press("enqueue")
        visitor.await_(lambda: "a third code" in visitor.text("queued"))
        assert "study small trains it next" in visitor.text("said")
        visitor.press("enqueue")
        visitor.await_(lambda: visitor.text("said") == "this mixture is queued already")
        assert visitor.mistakes() == []
    [waiting] = queued(plan.file.work_directory)
    assert waiting.note == "a third code"
    assert waiting.mixture["code"] == pytest.approx(0.33, abs=1e-4)
    run(plan)
    [asked_for] = Study(plan.file.file).queue
    assert asked_for.state == "trained"


@pytest.mark.skipif("MIXOPT_PICTURES" not in os.environ, reason="MIXOPT_PICTURES names no folder for pictures")
def test_pictures_of_the_page(asked: WhatIfs, driver: Chrome) -> None:
    """For docs/, and for whoever has changed how the page looks."""
    folder = Path(os.environ["MIXOPT_PICTURES"])
    for name, size in (("explore", WIDE), ("explore-narrow", NARROW)):
        with visiting(asked, driver, size) as visitor:
            visitor.press("pin")
            visitor.slide(1, 0.4)
            visitor.await_(lambda visitor=visitor: abs(visitor.shares()[1] - 40) < 0.2)  # type: ignore[misc]
            time.sleep(2)  # the pictures
            visitor.driver.execute_script("document.getElementById('said').textContent = ''; scrollTo(0, 0)")
            visitor.driver.save_screenshot(str(folder / f"{name}.png"))
            height = visitor.driver.execute_script("return document.documentElement.scrollHeight")
            visitor.driver.set_window_size(size[0], height)
            time.sleep(1)
            visitor.driver.save_screenshot(str(folder / f"{name}-whole.png"))
