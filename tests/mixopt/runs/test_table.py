"""Tables of finished runs: what is read, what is put right with a note, and the one line that each mistake gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixopt.base.errors import ConfigError
from mixopt.runs.directions import directions
from mixopt.runs.table import read
from search.fidelity import Fidelity
from search.runs import Runs

HEADER = "run,fidelity,cost,weight.web,weight.code,metric.prose_loss,metric.mmlu"
GOOD = (
    "a,small,1,0.5,0.5,3.0,0.30",
    "b,small,1,0.25,0.75,2.5,0.32",
    "c,large,10,0.5,0.5,2.0,0.40",
)


def written(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def test_rows_become_runs_and_the_dearest_fidelity_is_the_target(tmp_path: Path) -> None:
    runs, notes = read(written(tmp_path / "runs.csv", GOOD[2], *GOOD[:2]))
    assert runs.names == ("c", "a", "b")
    assert (runs.domains, runs.metrics) == (("web", "code"), ("prose_loss", "mmlu"))
    assert [fidelity.proxy for fidelity in runs.fidelities] == ["small", "large"]
    assert runs.fidelity_N.tolist() == [1, 0, 0]
    assert runs.weights_ND.tolist() == [[0.5, 0.5], [0.5, 0.5], [0.25, 0.75]]
    assert runs.values_NM.tolist() == [[2.0, 0.4], [3.0, 0.3], [2.5, 0.32]]
    assert notes == ()


def test_only_weights_and_metrics_are_required(tmp_path: Path) -> None:
    runs, _ = read(written(tmp_path / "runs.csv", "0.5,0.5,1", "1,0,2", header="weight.a,weight.b,metric.loss"))
    assert runs.names == ("row 2 of runs.csv", "row 3 of runs.csv")
    assert [fidelity.proxy for fidelity in runs.fidelities] == ["runs"]


def test_without_a_cost_parameters_and_tokens_order_the_fidelities(tmp_path: Path) -> None:
    header = "fidelity,params,tokens,weight.a,weight.b,metric.loss"
    runs, _ = read(written(tmp_path / "r.csv", "big,2e6,1e9,1,0,2", "tiny,1e6,1e9,1,0,3", header=header))
    assert runs.fidelities == (Fidelity("tiny", 10**6, 10**9, 6e15), Fidelity("big", 2 * 10**6, 10**9, 12e15))


@pytest.mark.parametrize("name", ["runs.parquet", "runs.tsv", "excel.csv"])
def test_other_kinds_of_table_read_alike(tmp_path: Path, name: str) -> None:
    rows = [line.split(",") for line in (HEADER, *GOOD)]
    if name.endswith(".parquet"):
        frame = pd.DataFrame(rows[1:], columns=rows[0])
        frame.astype(dict.fromkeys(rows[0][2:], float)).to_parquet(tmp_path / name)
    elif name.endswith(".tsv"):
        (tmp_path / name).write_text("\n".join("\t".join(row) for row in rows))
    else:
        (tmp_path / name).write_text("\ufeff" + "\r\n".join(";".join(row) for row in rows) + "\r\n;;;;;;\r\n")
    same, _ = read(tmp_path / name)
    runs, _ = read(written(tmp_path / "runs.csv", *GOOD))
    assert (same.names, same.fidelities, same.values_NM.tolist()) == (
        runs.names,
        runs.fidelities,
        runs.values_NM.tolist(),
    )


LOSS = "weight.a,weight.b,metric.loss"

MISTAKES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "no weight": ("web,code,metric.loss", ("1,0,2",), "no column weight.<name> among web, code, metric.loss"),
    "no metric": ("weight.a,weight.b,speed", ("1,0,2",), "no column metric.<name>"),
    "one domain": ("weight.a,metric.loss", ("1,2",), "one domain, a, leaves nothing to choose"),
    "a metric without a name": ("weight.a,weight.b,metric.", ("1,0,2",), "column metric. lacks the name"),
    "a column twice": ("weight.a,weight.a,metric.loss", ("1,0,2",), "column weight.a stands there twice"),
    "no run": (LOSS, (), "a table without a run"),
    "text for a number": (LOSS, ("1,0,2", "1,0,high"), "row 3, column metric.loss: 'high' is not a number"),
    "a decimal comma": (LOSS, ("0,5,0,5,2",), "row 2 has 5 cells, the header 3"),
    "a negative weight": (LOSS, ("1.5,-0.5,2",), "row 2, column weight.b: -0.5 is not a share"),
    "an empty weight": (LOSS, ("0.7,,2",), "row 2, column weight.b: no weight"),
    "an infinite weight": (LOSS, ("inf,0,2",), "row 2, column weight.a: inf is not a share"),
    "a sum far from one": (LOSS, ("1,0,2", "0.5,0.4,2"), "row 3: the weights sum to 0.9, not 1"),
    "shares and percentages of a mixture": (LOSS, ("60,40,2", ".6,.4,2"), "to 1 in row 3 and to 100 in row 2"),
    "weights of no unit": (LOSS, ("1.387,1,2", "2,0.387,2"), "row 2: the weights sum to 2.387, not 1"),
    "a metric without a value": (LOSS, ("1,0,", "0,1,nan"), "column metric.loss has no value"),
    "all runs diverged": (LOSS, ("1,0,inf",), "every run has an infinite metric"),
    "one name for two runs": ("run," + LOSS, ("a,1,0,2", "a,0,1,3"), "row 3, column run: a is another run in row 2"),
    "no order of fidelities": (
        "fidelity," + LOSS,
        ("small,1,0,2", "large,1,0,2"),
        "fidelity small has no cost, so the fidelities have no order",
    ),
    "two costs of a fidelity": (
        "fidelity,cost," + LOSS,
        ("small,1,1,0,2", "small,2,1,0,2"),
        "row 3, column cost: 2, where row 2 of the same fidelity small has 1",
    ),
    "decimals or thousands": ("weight.a;weight.b;metric.loss", ("1;0;3,250",), "--decimal comma or --decimal point"),
    "decimals of both kinds": ("weight.a;weight.b;metric.loss", ("1;0;3,2", "0;1;3.1"), "3,2 and 3.1 may be meant"),
    "a weight that is no number": (LOSS, ("much,0,2",), "write one such as 0.25"),
    "shares and percentages": (
        "weight.a,weight.b,metric.mmlu",
        ("1,0,.25", "0,1,.26", ".5,.5,.24", ".2,.8,25"),
        "row 5, column metric.mmlu: 25, where row 2 has 0.25: two units in one metric",
    ),
    "a loss that is none": (LOSS, ("1,0,1e300",), "row 2, column metric.loss: 1e+300 is no measurement"),
    "parameters beyond numbers": ("params,tokens," + LOSS, ("1e300,1,1,0,2",), "column params: 1e+300 is out of range"),
    "an escape in a name": (LOSS + "\x1b[31m", ("1,0,2",), r"'metric.loss\x1b[31m'"),
    "a name of 4,096 letters": (LOSS + "x" * 4096, ("1,0,2",), "the name of column 3"),
    "a number of 5,000 digits": (LOSS, (f"{'9' * 5000},0,2",), "row 2, column weight.a: inf is not a share"),
    "no cost above 0": ("cost," + LOSS, ("0,1,0,2",), "row 2, column cost: 0 is not above 0"),
}


@pytest.mark.parametrize(("header", "rows", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes(tmp_path: Path, header: str, rows: tuple[str, ...], says: str) -> None:
    path = written(tmp_path / "runs.csv", *rows, header=header)
    with pytest.raises(ConfigError) as error:
        read(path)
    line = f"{error.value.message}; {error.value.hint}"
    assert says in line
    assert str(path) in line
    assert "\n" not in line
    assert error.value.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("runs.xlsx", b"PK"),
        ("runs.csv", b""),
        ("runs.csv", b"weight.a,weight.b,metric.caf\xe9\n1,0,2\n"),
        ("runs.csv", b'weight.a,weight.b,metric.loss\n1,0,"2\n'),
        ("runs.parquet", b"PAR1 is how it begins"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read(tmp_path / name)
    assert str(tmp_path / name) in error.value.message
    assert error.value.hint


def test_tables_of_spreadsheets(tmp_path: Path) -> None:
    text = "sep=;\nweight.a;weight.b;params;tokens;metric.acc\n50%;50%;20M;1B;31%\n25%;75%;20M;1B;0.4\n"
    (tmp_path / "r.csv").write_text(text)
    runs, _ = read(tmp_path / "r.csv")
    assert runs.weights_ND.tolist() == [[0.5, 0.5], [0.25, 0.75]]
    assert runs.fidelities[0].params == 20_000_000
    assert runs.values_NM.tolist() == [[0.31], [0.4]]
    (tmp_path / "wrong.csv").write_text(text.replace("25%", "some"))
    with pytest.raises(ConfigError, match=r"row 3, column weight\.a"):
        read(tmp_path / "wrong.csv")


def test_weights_of_six_digits_are_worth_no_note(tmp_path: Path) -> None:
    header = "weight.a,weight.b,weight.c,metric.loss"
    _, notes = read(written(tmp_path / "r.csv", "0.333333,0.333333,0.333333,2", "1,0,0,3", header=header))
    assert notes == ()


def test_metrics_that_say_the_same_count_once_and_standard_errors_not_at_all(tmp_path: Path) -> None:
    header = LOSS + ",metric.loss__MIN,metric.acc,metric.acc_stderr"
    path = written(tmp_path / "r.csv", "1,0,2,2,.5,.01", "0,1,3,3,.4,.02", header=header)
    runs, notes = read(path)
    assert runs.metrics == ("loss", "acc")
    assert notes == (
        "r.csv: standard errors are no metrics, and left out: acc_stderr",
        "r.csv: metrics that equal loss in every run count once: loss__MIN",
    )
    assert read(path, ["loss__MIN", "acc_stderr"])[0].metrics == ("loss__MIN", "acc_stderr")


def test_where_a_score_may_be_meant_the_direction_is_asked_for(tmp_path: Path) -> None:
    header = "weight.a,weight.b,metric.arc_easy,metric.gpqa_diamond"
    runs, _ = read(written(tmp_path / "r.csv", "1,0,.5,.3", "0,1,.4,.2", header=header))
    with pytest.raises(ConfigError, match="gpqa_diamond may be better or worse") as error:
        directions(runs, (), ())
    assert "--maximize gpqa_diamond" in error.value.hint
    assert directions(runs, ["gpqa_diamond"], ())[0] == {"arc_easy", "gpqa_diamond"}
    assert directions(runs, (), ["gpqa_diamond"])[0] == {"arc_easy"}


def only_note(path: Path, says: str) -> Runs:
    runs, notes = read(path)
    assert len(notes) == 1, notes
    assert says in notes[0]
    return runs


def test_sums_near_one_are_divided_out_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "r.csv", "0.5,0.48,2", "1,0,3", "0.51,0.5,3", header=LOSS)
    runs = only_note(path, "the weights of 2 rows summed to 0.98 to 1.01")
    assert np.allclose(runs.weights_ND.sum(axis=1), 1, atol=1e-15)


def test_a_missing_metric_costs_a_run_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path / "r.csv", "1,0,2,N/A", "0,1,3,4", header=LOSS + ",metric.ppl")
    runs = only_note(path, "metric ppl is missing in 1 of 2 runs")
    assert np.array_equal(runs.values_NM, np.array([[2, np.nan], [3, 4]]), equal_nan=True)


def test_a_run_with_an_infinite_metric_is_left_out_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "r.csv", "good,1,0,2", "wild,0,1,inf", header="run," + LOSS)
    assert only_note(path, "left out: wild").names == ("good",)


def test_metrics_that_are_not_chosen_leave_no_run_out_and_no_note_but_of_what_diverged(tmp_path: Path) -> None:
    header = "run," + LOSS + ",metric.ppl,metric.empty"
    path = written(tmp_path / "r.csv", "good,1,0,2,,", "wild,0,1,3,inf,", "bare,0.5,0.5,,4,", header=header)
    runs, notes = read(path, ["loss"])
    assert (runs.names, runs.metrics) == (("good", "wild"), ("loss",))
    assert notes == (
        "r.csv: runs with an infinite metric that is not used count all the same: wild",
        "r.csv: 1 runs measured none of these metrics and are left out",
    )


def test_a_value_far_from_all_others_is_kept_and_pointed_out(tmp_path: Path) -> None:
    rows = [f"r{place},{1 - place / 10},{place / 10},{2 + place / 10}" for place in range(9)]
    path = written(tmp_path / "r.csv", *rows, "wild,0,1,1e9", header="run," + LOSS)
    assert only_note(path, "metric loss is far from all others in wild (1e+09)").names[-1] == "wild"


def test_copies_count_once_and_replicates_all(tmp_path: Path) -> None:
    copied = written(tmp_path / "r.csv", "a,1,0,2", "a,1.0,0,2", header="run," + LOSS)
    assert len(only_note(copied, "counted once: 3")) == 1
    repeated = written(tmp_path / "r.csv", "a,1,0,2", "b,1,0,2.1", header="run," + LOSS)
    assert len(only_note(repeated, "1 mixtures were run more than once at a fidelity, 2 runs in all")) == 2


def test_one_mixture_may_have_one_name_at_every_fidelity(tmp_path: Path) -> None:
    runs, notes = read(written(tmp_path / "r.csv", GOOD[0], GOOD[2].replace("c,", "a,")))
    assert (runs.names, notes) == (("a", "a"), ())


def test_columns_that_mean_nothing_are_named(tmp_path: Path) -> None:
    only_note(written(tmp_path / "r.csv", "1,0,2,9", header=LOSS + ",learning_rate"), "not used: learning_rate")


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), st.floats(-1e6, 1e6)), min_size=1, max_size=8
    )
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[list[float], float]]
) -> None:
    weights = np.array([row for row, _ in rows])
    weights /= weights.sum(axis=1, keepdims=True)
    frame = pd.DataFrame(weights, columns=["weight.a", "weight.b", "weight.c"])
    frame["metric.loss"] = [value for _, value in rows]
    frame.insert(0, "run", [f"run {place}" for place in range(len(rows))])
    path = tmp_path_factory.mktemp("table") / "runs.csv"
    frame.to_csv(path, index=False)
    runs, _ = read(path)
    assert np.allclose(runs.weights_ND, weights, atol=1e-15)
    assert runs.values_NM[:, 0].tolist() == frame["metric.loss"].tolist()


def of(*metrics: str, values: tuple[tuple[float, ...], ...] = ()) -> Runs:
    """Runs of two fidelities, two each, with the metrics' values one row per run."""
    return Runs(
        names=("a", "b", "c", "d"),
        domains=("web", "code"),
        metrics=metrics,
        fidelities=(Fidelity("small", 1, 1, 1.0), Fidelity("large", 1, 1, 2.0)),
        weights_ND=np.full((4, 2), 0.5),
        fidelity_N=np.array([0, 0, 1, 1]),
        values_NM=np.array(values or [[1.0] * len(metrics)] * 4),
    )


@pytest.mark.parametrize(
    "name", ["mmlu", "arc_easy/acc_norm", "squad.f1", "pass@1", "exact_match", "BLEU4", "win_rate", "average_score"]
)
def test_scores_are_maximised_for_their_names(name: str) -> None:
    maximised, notes = directions(of(name), [], [])
    assert maximised == {name}
    assert any(name in note and "--minimize" in note for note in notes)


@pytest.mark.parametrize("name", ["pile_cc", "mmlu_bpb", "eval_loss", "arc/perplexity", "word_error", "searching"])
def test_all_else_is_minimised(name: str) -> None:
    maximised, notes = directions(of(name), [], [])
    assert not maximised
    assert any(name in note and "--maximize" in note for note in notes)


def test_what_is_asked_for_goes_before_names() -> None:
    maximised, notes = directions(of("mmlu", "quality"), ["quality"], ["mmlu"])
    assert maximised == {"quality"}
    assert notes == ()


def test_a_metric_that_grows_with_the_model_is_doubted() -> None:
    values = ((1.0, 0.2), (1.1, 0.21), (0.5, 0.5), (0.6, 0.51))
    _, notes = directions(of("pile", "solved", values=values), [], [])
    assert [note for note in notes if "dearer runs have higher values" in note and "metric solved" in note]
    assert not [note for note in notes if "metric pile" in note]


@pytest.mark.parametrize(("maximize", "minimize"), [(["speed"], []), (["mmlu"], ["mmlu"])])
def test_directions_that_cannot_be(maximize: list[str], minimize: list[str]) -> None:
    with pytest.raises(ConfigError):
        directions(of("mmlu"), maximize, minimize)
