"""A command that is called wrongly: one plain line with the place and the remedy, and exit status 2."""

from __future__ import annotations

import pytest

from tests.program import mixopt


@pytest.mark.parametrize(
    ("called", "said"),
    [
        ("nope", "mixopt: no command nope; see mixopt --help"),
        ("stat", "mixopt: no command stat; did you mean status? see mixopt --help"),
        ("valdate study.yaml", "mixopt: no command valdate; did you mean validate? see mixopt --help"),
        ("--verson", "mixopt: no option --verson; did you mean --version? see mixopt --help"),
        (
            "run --retry-faild",
            "mixopt run: no option --retry-faild; did you mean --retry-failed? see mixopt run --help",
        ),
        ("run --seed 1", "mixopt run: no option --seed; seed is a setting of the study file; see mixopt run --help"),
        ("run -x", "mixopt run: no option -x; see mixopt run --help"),
        ("fit", "no table of runs; name a file, or --from-mlflow URI --experiment NAME"),
        ("compare a", "mixopt compare: B is missing; see mixopt compare --help"),
        ("backtest", "no table of runs; name a file, or --from-mlflow URI --experiment NAME"),
        ("fit x.csv --seed -1", "mixopt fit: --seed -1: must be at least 0; see mixopt fit --help"),
        ("fit x.csv --seed=-1", "mixopt fit: --seed -1: must be at least 0; see mixopt fit --help"),
        ("fit x.csv --seed one", "mixopt fit: --seed one: must be a whole number; see mixopt fit --help"),
        ("fit x.csv --seed", "mixopt fit: --seed: needs a value; see mixopt fit --help"),
        (
            "dashboard --port 99999",
            "mixopt dashboard: --port 99999: must be at most 65535; see mixopt dashboard --help",
        ),
        ("export --max-epochs x", "mixopt export: --max-epochs x: must be a number; see mixopt export --help"),
        ("run --json=3", "mixopt run: --json: does not take a value; see mixopt run --help"),
        ("doctor a b c", "mixopt doctor: too many arguments: b c; see mixopt doctor --help"),
        (
            "runs --unit nats",
            "mixopt runs: --unit nats: must be one of 'nats_per_token', 'bits_per_byte'; see mixopt runs --help",
        ),
        ("domains x -o ", "mixopt domains: --output '': names nothing; see mixopt domains --help"),
        ("quality --output=", "mixopt quality: --output '': names nothing; see mixopt quality --help"),
        ("run --\x1b[31m", r"mixopt run: no option --\x1b[31m; see mixopt run --help"),
    ],
)
def test_a_wrong_call_is_one_line(called: str, said: str) -> None:
    done = mixopt(*called.split(" "))
    assert (done.stderr, done.stdout, done.status) == (f"error: {said}\n", "", 2)


def test_help_is_what_it_was() -> None:
    for arguments in ((), ("--help",), ("fit", "--help")):
        done = mixopt(*arguments)
        assert "Usage: mixopt" in done.stdout + done.stderr
        assert "error:" not in done.stderr
