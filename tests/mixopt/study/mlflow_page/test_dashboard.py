"""The study's pages, as a browser shows them."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mixopt.study.mlflow_page.dashboard import links
from mixopt.study.mlflow_page.tally import Tally
from mixopt.study.mlflow_page.text import describe_study
from mixopt.study.mlflow_page.views import FAILED_TRIALS, TRIALS, links_for, study_page, views
from mixopt.study.plan import Plan
from mixopt.study.record import open_store
from search.history import History
from search.trial import Failure, FailureKind
from tests.e2e.study import STUDY
from tests.processes import free_port
from tests.simulated import measured, planned
from tracking import keys
from tracking.local_server import local_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HEADLESS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=60000"),
    *("--window-size=1600,1000", "--dump-dom"),
]


@dataclass(frozen=True)
class Shown:
    """A study under way, and where it can be looked at."""

    plan: Plan
    address: str
    experiment_id: str
    run_id: str


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(tmp_path_factory.mktemp("dashboard"), STUDY)


@pytest.fixture(scope="module")
def shown(plan: Plan) -> Iterator[Shown]:
    store = open_store(plan.file)
    record = store.find_or_create(plan.file.study)
    history = History()
    for number, trial in enumerate(plan.strategy.ask(history, 12)):
        record.open(trial)
        outcome = Failure(FailureKind.DIVERGED, "at step 7") if number == 5 else measured(trial)
        history = history.opened(trial).closed(trial, outcome)
        record.close(trial, outcome, plan.problem.objective_of(trial, history))
    text = describe_study(plan, Tally(plan, history), 60.0, None, "too few", links_for(plan.file, store.experiment_id))
    record.set_tags({keys.NOTE: text})
    store.tag_experiment(views(plan))
    with local_server(store.uri, free_port()) as server:
        yield Shown(plan, server.address, store.experiment_id, record.run_id)


def page(address: str, profile: Path) -> str:
    """The page's text and tags, once it has come to rest."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *HEADLESS, f"--user-data-dir={profile}", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return html.unescape(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_study_page_opens_with_where_the_study_stands_and_its_links_show_trials(
    shown: Shown, tmp_path: Path
) -> None:
    study = page(f"{shown.address}/{study_page(shown.experiment_id, shown.run_id)}", tmp_path / "study")
    assert "<strong>Searching: 12 of at most 15 trials have ended</strong>, 0 are running." in study
    assert "no forecast yet: too few." in study
    assert "<td>moe</td>" not in study, "proxies are columns"
    linked = dict(re.findall(r'<a target="_blank" href="(#/[^"]*)">([^<]*)</a>', study))
    wanted = links_for(shown.plan.file, shown.experiment_id)
    assert {name: link for link, name in linked.items()} == wanted

    trials = page(f"{shown.address}/{wanted[TRIALS]}", tmp_path / "trials")
    assert len(set(re.findall(rf'href="#/experiments/{shown.experiment_id}/runs/([0-9a-f]{{32}})"', trials))) == 12
    assert "weight.prose" in trials
    failed = page(f"{shown.address}/{wanted[FAILED_TRIALS]}", tmp_path / "failed")
    assert "diverged: at step 7" in failed
    charts = page(f"{shown.address}/{wanted['charts of dense']}", tmp_path / "charts")
    assert "Parallel Coordinates" in charts
    assert "weight.code vs. objective/value" in charts


@pytest.mark.slow
def test_the_command_prints_whole_addresses(shown: Shown) -> None:
    lines = links(shown.plan.file, shown.address)
    assert [line.split("   ")[0].strip() for line in lines] == [
        *("study", "trials", "charts of dense", "charts of moe", "failed trials")
    ]
    assert all(f"{shown.address}/#/experiments/" in line for line in lines)


def test_views_name_what_the_study_records(plan: Plan) -> None:
    for tag, view in views(plan).items():
        assert tag.startswith(keys.SHARED_VIEW)
        assert len(view) < 5_000, "what MLflow's databases keep of an experiment's tag"
        assert f"tags.`{keys.STUDY_NAME}` = 'small'" in json.loads(view)["searchFilter"]


def test_charts_show_the_search_alone(plan: Plan) -> None:
    """The confirmation's losses are of other documents."""
    for tag, view in views(plan).items():
        leaves_out = f"params.`{keys.PARAM_SEED}` != '1'" in json.loads(view)["searchFilter"]
        assert leaves_out == ("proxy" in tag)
