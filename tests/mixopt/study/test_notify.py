"""Notifications, as a server and a command get them, of studies whose trials are measured by a formula."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mixopt.base.errors import ConfigError
from mixopt.settings.reading import load, parse
from mixopt.study.checking import check_before_run
from mixopt.study.loop import Loop
from mixopt.study.notify import Notifier, notify_settings
from mixopt.study.plan import Plan
from mixopt.study.progress import Several, Watcher
from mixopt.study.record import open_store
from mixopt.study.recording import begin
from mixopt.workers.messages import TrialEnd
from search.history import History
from search.trial import Failure, FailureKind
from tests.e2e.study import STUDY, write_study
from tests.program import mixopt
from tests.simulated import Simulated, measured, planned
from tests.waiting import until

VARIABLE = "MIXOPT_NOTIFY_WEBHOOK"
TOLD = STUDY + "search: {strategy: climb, surrogate: linear}\nnotify: {webhook: {}}\n"


class Server:
    """A webhook that keeps what it gets."""

    def __init__(self, status: int = 200, slow: float = 0.0) -> None:
        got: list[dict[str, Any]] = []

        class Hook(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                time.sleep(slow)
                if not status:  # it hangs up
                    self.close_connection = True
                    return
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:9/hunter2")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.got = got
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        self.url = f"http://127.0.0.1:{self._server.server_port}/services/T0/B0/hunter2"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def events(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.got if each["event"] == event]


@contextmanager
def webhook(monkeypatch: pytest.MonkeyPatch, status: int = 200, slow: float = 0.0) -> Iterator[Server]:
    server = Server(status, slow)
    monkeypatch.setenv(VARIABLE, server.url)
    yield server
    server.close()


class Nobody(Simulated):
    """Takes trials and never ends one."""

    def events(self) -> Iterator[TrialEnd]:
        time.sleep(0.05)
        yield from ()


def run(plan: Plan, executor: Simulated | None = None) -> None:
    """As `mixopt run` does it."""
    with begin(plan, open_store(plan.file)) as recorder:
        notifier = Notifier(plan.file, plan.problem, recorder.begun.history)
        with notifier:
            study = Loop(plan, recorder, executor or Simulated(), Several(Watcher(), notifier))
            notifier.answered(study.run())
            study.finish()


def test_a_study_tells_of_better_mixtures_and_its_end_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, TOLD)
    with webhook(monkeypatch) as server:
        run(plan)
        best, [ended] = server.events("best"), server.events("ended")
        assert ended["text"].startswith("study small has ended: ") and "\n" not in ended["text"]
        assert ended["study"] == "small" and sum(ended["mixture"].values()) == pytest.approx(1)
        assert best and all("a new best, objective" in each["text"] for each in best)
        objectives = [each["objective"] for each in best]
        assert objectives == sorted(objectives, reverse=True), "each is better than the one before"
        before = len(server.got)
        run(plan)  # it has ended: nothing is news
        assert len(server.got) == before
    assert "hunter2" not in "".join(path.read_text(errors="ignore") for path in tmp_path.rglob("*") if path.is_file())


def test_a_study_that_dies_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, TOLD)

    class Failing(Simulated):
        def events(self) -> Iterator[TrialEnd]:
            while self._launched:
                yield TrialEnd(self._launched.pop(0).trial, Failure(FailureKind.ERROR, "no disk", 1.0))

    with webhook(monkeypatch) as server:
        with pytest.raises(ConfigError, match="in a row failed"):
            run(plan, Failing())
        [failed] = server.got
    assert failed["event"] == "failed" and "has ended without an answer: 4 trials in a row failed" in failed["text"]


def test_a_stall_is_told_once_and_not_again_after_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, TOLD)
    trial = plan.problem.baseline_trials[0]
    with webhook(monkeypatch) as server:
        for _ in range(2):
            with Notifier(plan.file, plan.problem, History(), shortest_stall=0.1, first_trial=0.1) as notifier:
                notifier.launched(trial)
                notifier.waits("the cluster has no room")
                until(lambda: server.got, within=20)
                time.sleep(2.5)
        [stalled] = server.got
        assert stalled["event"] == "stalled" and "the cluster has no room" in stalled["text"]
        # After a trial has ended, another silence is another stall.
        with Notifier(plan.file, plan.problem, History(), shortest_stall=0.1, first_trial=0.1) as notifier:
            notifier.launched(trial)
            notifier.closed(trial, measured(trial), None)
            time.sleep(2.5)
            assert len(server.got) == 1, "nothing runs, so nothing stalls"
            notifier.launched(plan.problem.baseline_trials[1])
            until(lambda: len(server.got) == 2, within=20)
    assert "where one takes" in server.got[1]["text"]


def test_a_trial_of_a_large_proxy_is_no_stall_where_small_ones_took_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, TOLD)
    large = plan.problem.baseline_trials[0]
    small = replace(large, fidelity=plan.problem.rungs[0].fidelity)
    assert small.fidelity.proxy != large.fidelity.proxy
    with webhook(monkeypatch) as server:
        with Notifier(plan.file, plan.problem, History(), shortest_stall=0.1, first_trial=60) as notifier:
            notifier.launched(small)
            notifier.closed(small, measured(small), None)
            notifier.launched(large)
            time.sleep(2.5)
            assert server.got == [], "of large ones nothing is known yet"
            notifier.closed(large, Failure(FailureKind.ERROR, "no disk", 0.1), None)
            notifier.launched(large)
            time.sleep(2.5)
        assert server.got == [], "one that failed at once does not say how long they take"


def test_a_server_that_hangs_up_is_not_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan = planned(tmp_path, TOLD.replace("webhook: {}", "webhook: {}, when: [ended]"))
    with webhook(monkeypatch, status=0) as server, caplog.at_level(logging.WARNING, logger="mixopt.study.notify"):
        run(plan)
        assert len(server.got) == 1
    assert "ended was not told" in caplog.text


@pytest.mark.parametrize("trouble", ["refuses", "away", "elsewhere"])
def test_a_webhook_that_does_not_take_it_is_in_the_log_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    plan = planned(tmp_path, TOLD.replace("webhook: {}", "webhook: {}, when: [ended]"))
    with webhook(monkeypatch, status={"refuses": 403, "elsewhere": 302}.get(trouble, 200)) as server:
        if trouble == "away":
            server.close()
        with caplog.at_level(logging.WARNING, logger="mixopt.study.notify"):
            run(plan)
    [line] = [record.getMessage() for record in caplog.records if record.name == "mixopt.study.notify"]
    said = {
        "refuses": "127.0.0.1 answered 403",
        "away": "Connection refused",
        "elsewhere": "the webhook redirects elsewhere",
    }
    assert line.startswith("notify.webhook: ended was not told: ") and said[trouble] in line
    assert "hunter2" not in line and "services" not in line


def test_a_command_gets_the_line_and_the_json_and_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    command = (
        'cat > told.json; echo \\"$MIXOPT_EVENT $MIXOPT_STUDY $MIXOPT_MESSAGE\\" > told.txt; echo oh no >&2; exit 3'
    )
    plan = planned(tmp_path, TOLD.replace("webhook: {}", f'command: "{command}", when: [ended]'))
    with caplog.at_level(logging.WARNING, logger="mixopt.study.notify"):
        run(plan)
    assert (tmp_path / "told.txt").read_text().startswith("ended small study small has ended: ")
    assert json.loads((tmp_path / "told.json").read_text())["event"] == "ended"
    assert "notify.command: ended was not told: the command ended with status 3: oh no" in caplog.text


def test_an_address_in_the_file_is_refused_and_not_shown(tmp_path: Path) -> None:
    text = TOLD.replace("webhook: {}", "webhook: https://hooks.example.com/services/hunter2")
    with pytest.raises(ConfigError) as caught:
        parse(text, tmp_path / "study.yaml")
    assert "a webhook's address is a secret" in caught.value.message and f"${VARIABLE}" in caught.value.message
    assert "hunter2" not in caught.value.message and "hooks.example" not in caught.value.message


@pytest.mark.parametrize(("value", "said"), [("", "is not set"), ("hunter2", "holds no http(s) address")])
def test_a_variable_that_holds_no_address_is_said_before_the_study_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError) as caught:
        check_before_run(load(write_study(tmp_path, TOLD)))
    assert f"notify.webhook: ${VARIABLE} {said}" in caught.value.message and "hunter2" not in caught.value.message


def test_who_is_told_decides_no_numbers_and_a_machine_may_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    plain, told = parse(STUDY, tmp_path / "study.yaml"), parse(TOLD, tmp_path / "study.yaml")
    assert plain.deciding() == told.deciding()
    assert notify_settings(plain) is None
    monkeypatch.setenv(VARIABLE, "http://127.0.0.1:9")
    found = notify_settings(plain)
    assert found is not None and found.webhook is not None and found.webhook.env == VARIABLE


def test_the_program_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_study(
        tmp_path,
        STUDY.replace("trials: 8", "trials: 2").replace("candidates: 1", "candidates: 0")
        + "search: {strategy: random}\n",
    )
    with webhook(monkeypatch) as server:
        done = mixopt("run", path)
        assert done.status == 0, done.stderr
        assert len(server.events("ended")) == 1
