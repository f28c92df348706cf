"""What a person reads of an answer: the verdict, what is traded, the notes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mixopt.cli.tables.study import answer_table
from mixopt.results.answer import Answer
from search.trial import Loss, Measurement, Trial
from tests.e2e.study import STUDY
from tests.simulated import measured, planned, run


def answer_where(folder: Path, best: dict[str, float] | None, steep: float = 1.0) -> Answer:
    """Of a study in which every loss rises with the distance from this mixture; None: falls with the share of prose.

    Args:
        steep: how much it falls with that; chance moves a loss by up to .01.
    """

    def measuring(trial: Trial) -> Measurement:
        shares = trial.mixture.as_dict()
        chance = int(trial.id, 16) % 1000 / 1e5
        if best is None:
            loss = 3 - steep * shares["prose"]
        else:
            loss = 3 + sum((shares[name] - share) ** 2 for name, share in best.items())
        found = measured(trial)
        return replace(found, losses=dict.fromkeys(found.losses, Loss(loss + chance + trial.seed / 1000, 1.0)))

    return run(planned(folder, STUDY), measuring)[0]


@pytest.fixture(scope="module")
def even(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    return answer_where(tmp_path_factory.mktemp("even"), dict.fromkeys(("prose", "code", "sums"), 1 / 3))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    return answer_where(tmp_path_factory.mktemp("other"), None)


def shown(answer: Answer) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(answer_table(answer), soft_wrap=True)
    return capture.get()


def test_where_a_baseline_is_the_answer_short_sentences_say_so(even: Answer) -> None:
    assert even.confirmation is not None
    assert even.confirmation.winner.label == "baseline:uniform"
    keep, *others = even.verdict.split(". ")
    assert keep == "keep uniform: nothing that was tried is expected to be better"
    assert len(others) == 2 and all(each.startswith("It ") for each in others)
    assert f"It {even.confirmation.winner.sentence}" == others[0]


def test_where_another_mixture_is_the_answer_two_sentences_say_by_how_much(other: Answer) -> None:
    assert other.confirmation is not None
    assert not other.confirmation.winner.label.startswith("baseline:")
    first, *others = other.verdict.split(". ")
    assert re.match(r"the (proposed|best observed) mixture beats proportional by 0\.\d+ ± 0\.\d+ nats per token", first)
    assert len(others) <= 1


def test_where_no_reason_to_leave_proportional_is_shown_the_verdict_says_so(tmp_path: Path) -> None:
    slight = answer_where(tmp_path, None, steep=0.02)
    assert slight.confirmation is not None and slight.confirmation.winner.verdict == "no difference shown"
    assert not slight.confirmation.winner.label.startswith("baseline:")
    assert "mixture is not shown to beat proportional: " in slight.verdict
    assert slight.verdict.endswith(
        "No reason to leave proportional is shown: it is named because most is expected of it"
    )


def test_what_is_traded_is_named_after_what_is_answered(even: Answer, other: Answer) -> None:
    [head] = columns_of(shown(even))
    assert head.split()[:2] == ["answer:", "uniform"], "the answer comes first, and under its name"
    assert len(head.split()) > 2, "what was proposed stands beside it"
    [head] = columns_of(shown(other))
    assert head.split()[0] == "answer:" and "uniform" not in head


def test_where_the_answer_is_what_all_is_compared_with_others_are_not_taken_for_it(even: Answer) -> None:
    assert even.confirmation is not None
    proportional = next(each for each in even.confirmation.baselines if each.label == "baseline:proportional")
    confirmation = even.confirmation.model_copy(update={"winner": proportional})
    text = shown(even.model_copy(update={"confirmation": confirmation}))
    assert "What others would trade: loss less the baseline's" in text
    assert "answer:" not in "".join(columns_of(text))


def columns_of(text: str) -> list[str]:
    """The head of the table of what is traded."""
    lines = text.splitlines()
    return [lines[number + 1] for number, line in enumerate(lines) if "trade" in line and "loss less" in line]


def test_notes_are_wrapped_and_indented(even: Answer) -> None:
    long = "word " * 40
    lines = shown(even.model_copy(update={"notes": (long.strip(), "short")})).splitlines()
    assert max(map(len, lines)) <= 80
    first = next(number for number, line in enumerate(lines) if line.startswith("note: word"))
    assert lines[first + 1].startswith("      word") and lines[first + 2].startswith("      word")
    assert lines[-1] == "note: short"
