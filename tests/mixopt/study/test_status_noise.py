"""What `status` says of the noise of a study's runs."""

from pathlib import Path

from rich.console import Console

from mixopt.cli.tables.status import status_table
from mixopt.settings.reading import load
from mixopt.study.status import build_status
from search.fidelity import Fidelity
from search.history import Completed, History
from search.mixture import Mixture
from search.trial import Loss, Measurement, Trial
from tests.e2e.study import STUDY
from tracking.record import Record, Subject

MOE = Fidelity("moe", params=10**4, tokens=4000, flops=1e9)
ONE, OTHER = (Mixture.of({"prose": share, "code": 0.3, "sums": 0.7 - share}) for share in (0.2, 0.6))


def record(losses: dict[tuple[Mixture, int], float]) -> Record:
    completed = [
        Completed(
            Trial(mixture, MOE, seed, "baseline:uniform" if mixture is OTHER else "design"),
            Measurement({name: Loss(loss, loss) for name in ("prose", "code", "sums")}, (), {}, {}, 1e9, 1.0),
        )
        for (mixture, seed), loss in losses.items()
    ]
    return Record(Subject("small", {}, "corpus"), History(tuple(completed)), {}, {}, {})


def text_of(folder: Path, losses: dict[tuple[Mixture, int], float]) -> str:
    folder.joinpath("study.yaml").write_text(STUDY)
    found = build_status(record(losses), "sqlite://", load(folder / "study.yaml"))
    console = Console(width=200)
    with console.capture() as capture:
        console.print(status_table(found))
    return capture.get()


def test_repeated_runs_say_what_the_study_resolves(tmp_path: Path) -> None:
    losses = {(ONE, 0): 3.00, (ONE, 1001): 3.10, (OTHER, 0): 3.20, (OTHER, 1001): 3.26}
    text = text_of(tmp_path, losses)
    # What neither seed nor mixture explains is a hundredth in each of the four runs, of which one is free.
    assert "a run of one mixture is off by 0.0200 (2 mixtures with several seeds, a rough guess yet)" in text
    assert "2 seeds show differences from 0.0520 up, 8 would show half of that" in text


def test_without_repeats_nothing_is_said_of_noise(tmp_path: Path) -> None:
    assert "off by" not in text_of(tmp_path, {(ONE, 0): 3.00, (OTHER, 0): 3.20})


def test_the_best_so_far_comes_with_what_single_runs_can_show(tmp_path: Path) -> None:
    losses = {(ONE, 0): 3.00, (ONE, 1001): 3.10, (OTHER, 0): 3.20, (OTHER, 1001): 3.26}
    text = " ".join(text_of(tmp_path, losses).split())
    # 2.6 times what two runs are apart by chance, 0.02 * sqrt(2).
    assert "0.2000 below uniform, the best baseline (one run each; such show 0.0735 or more)" in text
    text = text_of(tmp_path, {(ONE, 0): 3.00, (OTHER, 0): 3.20})
    assert "0.2000 below uniform, the best baseline (one run each; their noise is not known yet)" in text
