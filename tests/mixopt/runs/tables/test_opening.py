"""What columns are taken for, which rows count, and what is asked rather than guessed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mixopt.base.errors import ConfigError
from mixopt.runs.table import read, read_all
from mixopt.runs.tables.mapping_file import read_mapping
from mixopt.runs.tables.opening import open_table
from mixopt.runs.tables.proposal import mapping_text
from mixopt.runs.tables.reading import Described, Reading
from mixopt.runs.tables.sheet import Frame
from search.runs import Runs
from tests.mixopt.runs.tables.teams import TEAMS, some_runs

COUNT = 16
RNG = np.random.default_rng(1)
DOMAINS = ("web", "code", "books")
SHARES = RNG.dirichlet(np.ones(3) * 2, COUNT)
LOSS = 3 + SHARES[:, 0] ** 2
SCORE = RNG.random(COUNT)


def mixture(pattern: str = "{}", shares: Any = SHARES) -> dict[str, Any]:
    return {pattern.format(name): shares[:, place] for place, name in enumerate(DOMAINS)}


def frame(**columns: Any) -> Frame:
    return Frame(pd.DataFrame({"run": [f"r{place}" for place in range(COUNT)], **columns}), "runs")


def opened(table: Frame | Path, **said: Any) -> tuple[Runs, str]:
    runs, notes = read_all(Described(table, Reading(**said)))
    return runs, "\n".join(notes)


def asked(table: Frame | Path, **said: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read_all(Described(table, Reading(**said)))
    assert caught.value.hint
    return f"{caught.value.message}; {caught.value.hint}"


@pytest.mark.parametrize(
    "pattern",
    ["mix/{}", "{}_weight", "config.data.mix.{}", "data.{}.weight", "w_{}", "p({})", "mixture: {}", "{} share", "{}"],
)
def test_a_mixture_is_known_by_what_its_columns_share(pattern: str) -> None:
    runs, _ = opened(frame(**mixture(pattern), val_loss=LOSS))
    assert np.allclose(runs.weights_ND, SHARES)
    assert runs.domains == DOMAINS


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        # Requested and realised shares.
        (mixture("mix/{}") | mixture("real_mix/{}", SHARES[::-1]), "may be mix/* or real_mix/*; say which: --weights"),
        # Two numbers that sum to one may be anything.
        ({"precision": SCORE, "miss": 1 - SCORE}, "may be precision, miss; say which"),
        ({"keep_ratio": SCORE, "mask_ratio": 1 - SCORE}, "may be *_ratio; say which: --weights '*_ratio'"),
        # Loads of experts sum to one as well.
        (mixture("{}") | mixture("load_{}", SHARES[::-1]), "may be load_* or web, code, books; say which"),
        (mixture("{}") | mixture("moe/load_frac_{}", SHARES[::-1]), "moe/load_frac_* or web, code, books; say which"),
        ({"train_frac": SCORE, "test_frac": 1 - SCORE}, "none that look like shares"),
        ({"acc": SCORE, "error": 1 - SCORE}, "none that look like shares"),
    ],
)
def test_what_may_not_be_the_mixture_is_asked(columns: dict[str, Any], says: str) -> None:
    assert says in asked(frame(**columns, val_loss=LOSS))


def test_a_table_with_its_own_words_for_shares_goes_before_look_alikes() -> None:
    pairs = {"train_frac": SCORE, "test_frac": 1 - SCORE, "acc": SCORE, "error": 1 - SCORE}
    weights = {"loss_weights.ce": 0.9, "loss_weights.z": 0.1, "data.mix_temperature": 0.7}
    weights |= mixture("router.weights.{}", SHARES[::-1]) | mixture("time_frac/{}", SHARES[::-1])
    runs, _ = opened(frame(**pairs, **weights, **mixture("data.mix.{}"), val_loss=LOSS))
    assert runs.domains == DOMAINS
    assert runs.metrics == ("acc", "error", "val_loss")


@pytest.mark.parametrize(
    ("columns", "metrics"),
    [
        ({"val_loss": LOSS, "train_loss": LOSS, "lr": LOSS, "grad_norm": LOSS}, ["val_loss"]),
        ({"eval/loss": LOSS, "eval/runtime": LOSS, "loss": LOSS, "eval_batch_size": LOSS}, ["loss"]),
        ({"bench/mmlu": SCORE, "bench/gpqa_diamond": SCORE}, ["mmlu", "gpqa_diamond"]),
        ({"val_loss/web": LOSS, "val_loss/code": LOSS + 1}, ["val_loss/web", "val_loss/code"]),
        ({"loss": LOSS, "throughput": LOSS, "perf": "good"}, ["loss"]),
        ({"metrics.acc_norm": SCORE, "metrics.acc_norm_stderr": SCORE, "params.test_loss_scale": LOSS}, ["acc_norm"]),
        ({"eval/loss": LOSS, "eval/loss.min": LOSS - 1, "eval/best_loss": LOSS - 1}, ["loss"]),
        ({"test_ratio": SCORE, "mmlu": SCORE}, ["mmlu"]),
        ({"eval/de": LOSS, "eval/tr": LOSS + 1, "eval/id": LOSS + 2, "eval/step": LOSS}, ["de", "tr", "id"]),
        ({"val_loss_ff": LOSS, "val_loss_tr": LOSS + 1}, ["val_loss_ff", "val_loss_tr"]),
    ],
)
def test_what_was_measured_is_told_from_what_was_set(columns: dict[str, Any], metrics: list[str]) -> None:
    runs, _ = opened(frame(**mixture("mix/{}"), **columns))
    assert list(runs.metrics) == metrics


def test_what_may_be_a_metric_and_is_not_used_is_told() -> None:
    _, notes = opened(frame(**mixture("mix/{}"), **{"loss/de": LOSS, "loss/tr": LOSS, "loss/id": LOSS, "loss/n": LOSS}))
    assert "numbers that may be metrics, and are not used: loss/tr (--metrics takes them)" in notes
    _, notes = opened(frame(**mixture("mix/{}"), **{"acc/xnli": SCORE, "bench/foo": SCORE, "bench/index": SCORE}))
    assert "and are not used: bench/index" in notes


def test_one_metric_at_several_steps_counts_once_and_is_told() -> None:
    steps = {f"eval_loss_{name}@{step}": LOSS + step for name in ("web", "code") for step in (500, 1000, 2000)}
    runs, notes = opened(frame(**mixture("mix/{}"), **steps))
    assert runs.metrics == ("eval_loss_web@2000", "eval_loss_code@2000")
    assert "one metric at several steps counts once, at the last of them: eval_loss_web@2000" in notes
    runs, _ = opened(frame(**mixture("mix/{}"), **{"eval/pass@1": SCORE, "eval/pass@10": SCORE}))
    assert runs.metrics == ("pass@1", "pass@10"), "of so many attempts: metrics of their own"


def test_a_mean_beside_its_parts_does_not_count_twice_and_is_told() -> None:
    parts = {"eval/loss_web": LOSS, "eval/loss_code": LOSS + 1}
    runs, notes = opened(frame(**mixture("mix/{}"), **parts, **{"eval/loss_avg": LOSS + 0.5}))
    assert runs.metrics == ("loss_web", "loss_code")
    assert "eval/loss_avg is the mean of the other metrics, and is left out (--metrics takes it)" in notes
    runs, notes = opened(frame(**mixture("mix/{}"), **parts, **{"eval/loss_avg": LOSS + 3}))
    assert len(runs.metrics) == 3
    assert "eval/loss_avg may be a mean of other metrics, and counts beside them" in notes


def test_parameters_are_known_by_a_clear_name_wherever_a_tracker_put_it() -> None:
    table = frame(**mixture("mix/{}"), val_loss=LOSS, **{"model.n_params": [1e6, 1e7] * 8})
    assert {fidelity.params for fidelity in opened(table)[0].fidelities} == {1_000_000, 10_000_000}


def test_a_pattern_leaves_no_blank_before_a_name_and_the_word_that_it_is_a_loss() -> None:
    table = frame(**mixture("mix/{}"), **{"Verlust Web (nats)": LOSS, "Verlust Code (nats)": LOSS + 1})
    assert opened(table, metrics=("Verlust*",))[0].metrics == ("Verlust Web (nats)", "Verlust Code (nats)")
    table = frame(**mixture("mix/{}"), **{"Messung Web": LOSS, "Messung Code": LOSS + 1})
    assert opened(table, metrics=("Messung*",))[0].metrics == ("Web", "Code")


def test_a_misspelt_key_of_a_mapping_file_is_answered_with_those_of_mapping_files(tmp_path: Path) -> None:
    (tmp_path / "runs.mapping.yaml").write_text("weigths: mix/*\n")
    with pytest.raises(ConfigError, match="weigths: unknown key; did you mean weights") as error:
        read_mapping(tmp_path / "runs.mapping.yaml")
    (tmp_path / "runs.mapping.yaml").write_text("zzz: mix/*\n")
    with pytest.raises(ConfigError) as error:
        read_mapping(tmp_path / "runs.mapping.yaml")
    assert "metrics" in str(error.value) and "domains" not in str(error.value)


def test_a_pattern_of_metrics_takes_no_weights_but_by_their_names() -> None:
    table = frame(**mixture("mix/{}"), val_loss=LOSS, foo=SCORE, seed=range(COUNT))
    assert opened(table, metrics=("*",))[0].metrics == ("val_loss", "foo")
    assert opened(table, metrics=("mix/web",))[0].metrics == ("mix/web",)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (
            {"wikitext": LOSS, "c4": LOSS},
            "several columns may be what was measured: wikitext, c4; say which: --metrics",
        ),
        ({"train/loss": LOSS}, "only train/loss may be what was measured"),
        ({"lr": LOSS, "note": "x"}, "no column metric.<name>"),
    ],
)
def test_where_nothing_says_that_it_was_measured_it_is_asked(columns: dict[str, Any], says: str) -> None:
    assert says in asked(frame(**mixture("mix/{}"), **columns))


def test_a_loss_that_may_be_that_of_training_is_asked_where_a_tracker_wrote_the_table() -> None:
    table = mixture("mix/{}") | {"loss": LOSS, "mmlu": SCORE}
    assert opened(frame(**table))[0].metrics == ("loss", "mmlu")
    assert opened(frame(**table, **{"train/loss": LOSS}, state="finished"))[0].metrics == ("loss", "mmlu")
    said = asked(frame(**table, state="finished"))
    assert "loss may be a loss of training or of evaluation; say what counts: --metrics mmlu --metrics loss" in said
    runs, notes = opened(frame(**table, **{"eval/loss": LOSS}, state="finished"))
    assert runs.metrics == ("eval/loss", "mmlu") or runs.metrics == ("mmlu", "eval/loss")
    assert "may be metrics, and are not used: loss" in notes


def test_patterns_choose_columns_and_leave_out_what_they_have_in_common() -> None:
    table = frame(
        **mixture("a/{}/w", SHARES), **mixture("b/{}"), **{"b/temperature": 1.0, "x/one": LOSS, "x/two": LOSS}
    )
    runs, _ = opened(table, weights=("b/*", "!b/temp*"), metrics=("x/*",))
    assert (runs.domains, runs.metrics) == (DOMAINS, ("one", "two"))
    runs, _ = opened(table, weights=("a/*/w",), metrics=("x/one",))
    assert (runs.domains, runs.metrics) == (DOMAINS, ("x/one",))
    assert "--weights c/* fits no column; choose from run, a/web/w" in asked(table, weights=("c/*",))
    assert "--weights !b/temp* leaves columns out, and says none that counts" in asked(table, weights=("!b/temp*",))


def test_what_two_patterns_would_call_alike_goes_by_its_whole_name() -> None:
    table = frame(**mixture(), **{"a/val": LOSS, "b/val": LOSS + 1, "b/mmlu": SCORE})
    for patterns in (("a/*", "b/*"), ("b/*", "a/*")):
        assert set(opened(table, metrics=patterns)[0].metrics) == {"a/val", "b/val", "mmlu"}


def test_roles_may_be_said_and_taken_away() -> None:
    table = frame(**mixture("mix/{}"), val_loss=LOSS, who=[f"w{place}" for place in range(COUNT)], state="crashed")
    runs, _ = opened(table, columns={"run": "who", "state": ""})
    assert runs.names[0] == "w0"
    assert "no run is left: 16 crashed (state); --keep-unfinished" in asked(table)
    assert "no column whom" in asked(table, columns={"run": "whom"})


def test_runs_that_ended_early_are_left_out_by_their_scale() -> None:
    steps = [100] * 8 + [200] * 8
    steps[3], steps[12] = 40, 150
    table = frame(**mixture("mix/{}"), val_loss=LOSS, _step=steps, model=["a-60m"] * 8 + ["a-1b"] * 8, tokens="1B")
    runs, notes = opened(table)
    assert len(runs) == 14
    assert "1 ended before the 100 steps of the others (_step), 1 ended before the 200 steps" in notes
    assert len(opened(table, keep_unfinished=True)[0]) == 16
    # Without a word of scales, half of the runs cannot have crashed.
    halves = frame(**mixture("mix/{}"), val_loss=LOSS, _step=[100] * 8 + [200] * 8)
    assert "8 of 16 runs end before the last of them (_step: 100 to 200)" in asked(halves)


def test_a_run_without_a_last_step_is_left_out() -> None:
    table = frame(**mixture("mix/{}"), val_loss=LOSS, _step=[None, *[100] * 15])
    runs, notes = opened(table)
    assert "r0" not in runs.names
    assert "1 without a last step (_step)" in notes


@pytest.mark.parametrize("word", ["Crashed", "FAILED", "running", "killed", "preempted", "SCHEDULED"])
def test_every_trackers_words_for_a_run_that_did_not_end(word: str) -> None:
    runs, notes = opened(frame(**mixture("mix/{}"), val_loss=LOSS, status=[word, *["FINISHED"] * 15]))
    assert len(runs) == 15
    assert f"1 {word.lower()} (status)" in notes


def test_weights_in_other_units() -> None:
    for factor, units in ((100, "percentages"), (2e9, "tokens of each domain")):
        runs, notes = opened(frame(**mixture("mix/{}", SHARES * factor), val_loss=LOSS))
        assert np.allclose(runs.weights_ND, SHARES)
        assert f"weights are {units}" in notes
    assert runs.target.tokens == 2_000_000_000
    odd = frame(**mixture("mix/{}", SHARES * 2.387), val_loss=LOSS)
    assert "row 0: the weights sum to 2.387, not 1; give every domain; or --normalise" in asked(odd)
    runs, notes = opened(odd, normalise=True)
    assert np.allclose(runs.weights_ND, SHARES)
    assert "summed to 2.387" in notes
    documents = frame(**mixture("docs_{}", np.round(SHARES * 1e7)), val_loss=LOSS)
    assert "counts of documents, by their names, and shares are of tokens" in asked(documents)


def test_tokens_of_two_scales_are_two_fidelities() -> None:
    scale = np.where(np.arange(COUNT) < 8, 1e9, 4e9)[:, None]
    runs, notes = opened(frame(**mixture("tokens/{}", np.round(SHARES * scale)), val_loss=LOSS))
    assert [each.tokens for each in runs.fidelities] == [1_000_000_000, 4_000_000_000]
    assert "no column names a fidelity: runs of one size are one, 1B tokens, 4B tokens" in notes


def test_empty_weights_are_none_where_the_others_are_whole() -> None:
    columns = mixture("mix/{}")
    holes = {name: list(cells) for name, cells in columns.items()}
    holes["mix/web"][0], holes["mix/code"][0], holes["mix/books"][0] = 0.6, 0.4, None
    holes["mix/web"][1] = holes["mix/code"][1] = holes["mix/books"][1] = None
    runs, notes = opened(frame(**holes, val_loss=LOSS))
    assert runs.weights_ND[0].tolist() == [0.6, 0.4, 0]
    assert "1 without a mixture" in notes and "empty weights of 1 rows count as 0" in notes
    holes["mix/code"][0] = 0.3
    assert "row 0, column mix/books: no weight" in asked(frame(**holes, val_loss=LOSS))


def test_tokens_of_supplies_are_no_mixture_and_those_of_runs_are_asked_beside_weights() -> None:
    supply = {f"data.{name}.tokens": 1e9 * (1 + place) for place, name in enumerate(DOMAINS)}
    runs, _ = opened(frame(**supply, **mixture("data.{}.weight"), val_loss=LOSS))
    assert np.allclose(runs.weights_ND, SHARES)
    seen = mixture("seen_tokens.{}", np.round(SHARES * 1e9))
    assert "may be" in asked(frame(**seen, **mixture("sampling_weight.{}", SHARES * 2.5), val_loss=LOSS))


def test_a_cell_of_a_metric_that_is_no_number_is_a_mistake_and_no_reason_to_leave_it_out() -> None:
    losses = [f"{loss:.3f}" for loss in LOSS]
    losses[4] = "oom"
    table = frame(**mixture(), **{"eval/loss": losses, "eval/mmlu": SCORE, "eval/examples": "table.json"})
    assert "row 4, column eval/loss: 'oom' is not a number; write one such as 0.25, or leave it empty" in asked(table)
    losses[4] = ""
    table = frame(**mixture(), **{"eval/loss": losses, "eval/mmlu": SCORE, "eval/examples": "table.json"})
    assert opened(table)[0].metrics == ("loss", "mmlu")
    assert opened(table, metrics=("eval/*",))[0].metrics == ("loss", "mmlu")


def test_sizes_in_the_names_of_models_order_them() -> None:
    runs, notes = opened(frame(**mixture(), val_loss=LOSS, model=["olmo-1.3b"] * 8 + ["olmo-190m"] * 8))
    assert [(each.proxy, each.params) for each in runs.fidelities] == [("olmo-190m", 190e6), ("olmo-1.3b", 1.3e9)]
    assert "parameters are taken from the names of fidelities" in notes


def test_names_that_repeat_are_told_apart_by_id_or_seed() -> None:
    table = pd.DataFrame({"run": "a", "seed": range(COUNT), **mixture(), "val_loss": LOSS})
    runs, notes = opened(Frame(table, "runs"))
    assert runs.names[:2] == ("a/0", "a/1")
    assert "runs of one name are told apart by seed" in notes


def test_runs_of_two_seeds_are_no_steps_of_one() -> None:
    table = frame(**mixture("mix/{}"), val_loss=LOSS, seed=[0, 1] * 8, step=[10_000, 9_990] * 8)
    table.frame["run"] = [f"m{place // 2}" for place in range(COUNT)]
    runs, _ = opened(table)
    assert (len(runs), runs.names[:2]) == (COUNT, ("m0/0", "m0/1"))
    # Nothing says that they are two runs, but that they are of two mixtures.
    del table.frame["seed"]
    assert "rows 0 and 1 would be steps of run m0, and have other mixtures; name each run apart" in asked(table)
    tokens = table.frame.assign(**{f"mix/{name}": np.round(SHARES[:, at] * 1e9) for at, name in enumerate(DOMAINS)})
    assert "would be steps of run m" in asked(Frame(tokens, "runs"))


def test_runs_without_a_name_are_apart() -> None:
    table = frame(**mixture("mix/{}"), val_loss=LOSS, step=range(1000, 1000 + COUNT))
    table.frame.loc[1:, "run"] = ""
    assert len(opened(table)[0]) == COUNT


def test_runs_of_one_name_at_two_scales_are_no_steps_of_one() -> None:
    both = pd.DataFrame(
        {"run": [f"r{place}" for place in range(COUNT)] * 2, "model": ["a-60m"] * COUNT + ["a-1b"] * COUNT}
    )
    rows = {name: np.tile(cells, 2) for name, cells in mixture("mix/{}").items()}
    both = both.assign(**rows, val_loss=np.concatenate([LOSS, LOSS - 1]), step=[1000] * COUNT + [5000] * COUNT)
    runs, _ = opened(Frame(both, "runs"))
    assert (len(runs), len(runs.fidelities)) == (2 * COUNT, 2)


@pytest.mark.parametrize(
    ("unit", "tokens"), [("B", 1_500_000_000), ("Mrd", 1_500_000_000), ("million", 1_500_000), ("T", 1_500_000_000_000)]
)
def test_units_stand_in_brackets_or_below_the_header(tmp_path: Path, unit: str, tokens: int) -> None:
    columns = pd.DataFrame({**mixture(), "tokens": 1.5, "val_loss": LOSS})
    columns.rename(columns={"tokens": f"tokens ({unit})"}).to_csv(tmp_path / "a.csv", index=False)
    below = columns.to_csv(index=False).split("\n")
    below.insert(1, f"%,%,%,{unit},nats")
    (tmp_path / "b.csv").write_text("\n".join(below))
    for name in ("a.csv", "b.csv"):
        runs, _ = read(tmp_path / name)
        assert (len(runs), runs.target.tokens) == (COUNT, tokens)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


TEXT = pd.DataFrame({"run": [f"r{place}" for place in range(COUNT)], **mixture(), "val_loss": LOSS}).to_csv(index=False)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_encodings_and_separators_are_seen(tmp_path: Path, encoding: str, separator: str) -> None:
    runs, _ = read(write(tmp_path / "runs.csv", TEXT.replace(",", separator), encoding))
    assert np.allclose(runs.weights_ND, SHARES)


@pytest.mark.parametrize("above", ["# by me, on 2026-03-01\n", "Results\n\n", "\n\n", "Results;\nMarch\n"])
def test_what_stands_above_the_header_is_no_part_of_it(tmp_path: Path, above: str) -> None:
    assert len(read(write(tmp_path / "runs.csv", above + TEXT))[0]) == COUNT


def test_other_encodings_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.csv", TEXT.replace("books", "Bücher"), "cp1252")
    assert "--encoding cp1252" in asked(path)
    assert opened(path, encoding="cp1252")[0].domains[2] == "Bücher"
    assert "--encoding klingon does not exist" in asked(path, encoding="klingon")


def test_the_metrics_of_the_same_runs_may_stand_in_another_table(tmp_path: Path) -> None:
    shares = pd.DataFrame({"run": [f"r{place}" for place in range(COUNT)], **mixture()})
    losses = pd.DataFrame({"name": [f"r{COUNT - 1 - place}" for place in range(COUNT)], "val_loss": LOSS[::-1]})
    shares.to_csv(tmp_path / "shares.csv", index=False)
    losses.to_csv(tmp_path / "losses.csv", index=False, sep=";", decimal=",")
    runs, notes = opened(tmp_path / "shares.csv", join=(tmp_path / "losses.csv",))
    assert np.allclose(runs.values_NM[:, 0], LOSS)
    assert "16 of 16 runs are in" in notes
    losses.assign(name="other").head(1).to_csv(tmp_path / "losses.csv", index=False)
    assert "have no run in common" in asked(tmp_path / "shares.csv", join=(tmp_path / "losses.csv",))


def test_mistakes_in_a_joined_table_are_placed_in_it(tmp_path: Path) -> None:
    names = [f"r{place}" for place in range(COUNT)]
    pd.DataFrame({"run": names, "val_loss": LOSS}).to_csv(tmp_path / "evals.csv", index=False)
    shares = pd.DataFrame({"name": names[::-1], **mixture("mix/{}", SHARES[::-1])}).astype({"mix/web": object})
    shares.loc[0, "mix/web"] = -1.0
    shares.to_csv(tmp_path / "shares.csv", index=False)
    said = asked(tmp_path / "evals.csv", join=(tmp_path / "shares.csv",), weights=("mix/*",))
    assert said.startswith(f"{tmp_path / 'shares.csv'}: row 2, column mix/web: -1 is not a share")
    shares.loc[0, "mix/web"] = 7.0
    shares.to_csv(tmp_path / "shares.csv", index=False)
    said = asked(tmp_path / "evals.csv", join=(tmp_path / "shares.csv",), weights=("mix/*",))
    assert said.startswith(f"{tmp_path / 'shares.csv'}: row 2: the weights sum to 7.")
    # A run that crashed is left out, and the rows of the others stay theirs.
    pd.DataFrame({"run": names, "val_loss": LOSS, "state": ["failed"] + ["done"] * (COUNT - 1)}).to_csv(
        tmp_path / "evals.csv", index=False
    )
    said = asked(tmp_path / "evals.csv", join=(tmp_path / "shares.csv",), weights=("mix/*",))
    assert said.startswith(f"{tmp_path / 'shares.csv'}: row 2: the weights sum to 7.")


def test_shares_and_values_may_stand_in_long_tables(tmp_path: Path) -> None:
    def melted(values: Sequence[str], name: str, value: str) -> pd.DataFrame:
        wide = pd.DataFrame({"run": [f"r{place}" for place in range(COUNT)], **mixture(), "loss": LOSS})
        return wide.melt(["run"], values, name, value)

    melted(DOMAINS, "domain", "share").to_csv(tmp_path / "shares.csv", index=False)
    melted(["loss"], "metric", "value").to_csv(tmp_path / "values.csv", index=False)
    runs, _ = opened(tmp_path / "shares.csv", join=(tmp_path / "values.csv",))
    assert np.allclose(runs.weights_ND, SHARES) and np.allclose(runs.values_NM[:, 0], LOSS)
    twice = melted(DOMAINS, "domain", "share")
    twice.loc[1, ["run", "domain"]] = ["r0", "web"]
    twice.to_csv(tmp_path / "shares.csv", index=False)
    assert "for web, given as" in asked(tmp_path / "shares.csv")


def test_what_a_long_table_says_twice_of_a_run_is_not_used(tmp_path: Path) -> None:
    wide = pd.DataFrame({"run": [f"r{place}" for place in range(COUNT)], **mixture(), "eval_loss": LOSS})
    long = wide.melt(["run", "eval_loss"], DOMAINS, "domain", "share")
    long.loc[0, "eval_loss"] = 9.0
    long["eval/mmlu"] = np.tile(SCORE, 3)
    runs, notes = opened(Frame(long, "runs"))
    assert runs.metrics == ("mmlu",) and runs.values_NM[:, 0].tolist() == SCORE.tolist()
    assert "columns that say several things of one run are not used: eval_loss" in notes
    long.loc[1, "run"] = None
    assert "row 1, column run: no name of a run; write it in each row" in asked(Frame(long, "runs"))


def test_units_of_a_joined_table_are_of_its_own_columns(tmp_path: Path) -> None:
    names = [f"r{place}" for place in range(COUNT)]
    pd.DataFrame({"run": names, **mixture(), "tokens": 2e9}).to_csv(tmp_path / "runs.csv", index=False)
    pd.DataFrame({"run": names, "tokens (B)": 2, "eval/loss": LOSS, "eval/shots (K)": 1}).to_csv(
        tmp_path / "evals.csv", index=False
    )
    runs, _ = opened(tmp_path / "runs.csv", join=(tmp_path / "evals.csv",))
    assert runs.target.tokens == 2_000_000_000


@pytest.mark.parametrize(
    "cell",
    [
        "web:{:.5f},code:{:.5f},books:{:.5f}",
        "web={:.5f}; code={:.5f}; books={:.5f}",
        '{{"web": {:.5f}, "code": {:.5f}, "books": {:.5f}}}',
        "{{'web': {:.5f}, 'code': {:.5f}, 'books': {:.5f}}}",
        "{{'names': ['web', 'code', 'books'], 'weights': [{:.5f}, {:.5f}, {:.5f}]}}",
        "[{{'name': 'web', 'weight': {:.5f}}}, {{'name': 'code', 'weight': {:.5f}}}, "
        "{{'name': 'books', 'weight': {:.5f}}}]",
    ],
)
def test_a_mixture_may_stand_in_one_cell(cell: str) -> None:
    runs, _ = opened(frame(mix=[cell.format(*row) for row in SHARES], val_loss=LOSS))
    assert runs.domains == DOMAINS
    assert np.allclose(runs.weights_ND, SHARES, atol=1e-4)


def test_a_chart_is_no_table_of_runs(tmp_path: Path) -> None:
    text = "Step,a - eval/loss,a - eval/loss__MIN,a - eval/loss__MAX\n1,2,2,2\n2,3,3,3\n"
    assert "export the table of the runs" in asked(write(tmp_path / "chart.csv", text))


@pytest.mark.parametrize("name", TEAMS)
def test_the_mapping_file_that_is_proposed_reads_the_same_runs(tmp_path: Path, name: str) -> None:
    TEAMS[name](tmp_path / name, some_runs())
    runs, _ = read_all(tmp_path / name)
    (tmp_path / "m.yaml").write_text(mapping_text(open_table(tmp_path / name), tmp_path))
    again, _ = read_all(Described(tmp_path / name, read_mapping(tmp_path / "m.yaml")))
    assert (again.names, again.domains, again.metrics) == (runs.names, runs.domains, runs.metrics)
    assert again.weights_ND.tolist() == runs.weights_ND.tolist()
    assert again.values_NM.tolist() == runs.values_NM.tolist()


def test_a_mapping_file_beside_a_table_counts_for_whoever_reads_it(tmp_path: Path) -> None:
    pd.DataFrame({**mixture("a/{}"), **mixture("b/{}", SHARES[::-1]), "x": LOSS}).to_csv(
        tmp_path / "r.csv", index=False
    )
    assert "say which" in asked(tmp_path / "r.csv")
    (tmp_path / "r.mapping.yaml").write_text("weights: b/*\nmetrics: [x]\n")
    runs, notes = read_all(tmp_path / "r.csv")
    assert np.allclose(runs.weights_ND, SHARES[::-1])
    assert any("its columns are those of" in note and "r.mapping.yaml" in note for note in notes)
    # What is said besides goes before it.
    assert np.allclose(opened(tmp_path / "r.csv", weights=("a/*",))[0].weights_ND, SHARES)


def test_a_mapping_file_that_is_named_takes_the_place_of_the_one_beside(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", TEXT)
    (tmp_path / "r.mapping.yaml").write_text('weights: {a: web, b: code, c: books}\nrun: ""\n')
    (tmp_path / "other.yaml").write_text("metrics: val_loss\n")
    how = Described(tmp_path / "r.csv", read_mapping(tmp_path / "other.yaml"), tmp_path / "other.yaml")
    runs, notes = read_all(how)
    assert (runs.domains, runs.names[0]) == (DOMAINS, "r0")
    assert any("its columns are those of" in note and "other.yaml" in note for note in notes)


def test_a_proposed_mapping_file_and_the_tables_it_joins_may_move_together(tmp_path: Path) -> None:
    here, evals = tmp_path / "here", tmp_path / "here" / "evals"
    evals.mkdir(parents=True)
    write(here / "r.csv", TEXT)
    scores = pd.DataFrame({"run": [f"r{place}" for place in range(COUNT)], "eval/mmlu": SCORE})
    scores.to_csv(evals / "s.csv", index=False)
    how = open_table(Described(here / "r.csv", Reading(join=(evals / "s.csv",))))
    (here / "r.mapping.yaml").write_text(mapping_text(how, here))
    here.rename(tmp_path / "there")
    assert opened(tmp_path / "there" / "r.csv")[0].metrics == ("val_loss", "eval/mmlu")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("weight: mix/*\n", "weight"),
        ("weights: 7\n", "weights"),
        ("units: grams\n", "units"),
        ("- a\n", "no settings"),
        ("weights: mix/*\nweights: a\n", "second time"),
        ("weights: {web: nowhere}\n", "no column nowhere, which --weights has for web"),
    ],
)
def test_mistakes_in_a_mapping_file_are_placed(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path / "runs.csv", TEXT)
    (tmp_path / "runs.mapping.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_all(path)
    assert says in str(caught.value)


def test_json_of_pandas_and_lines(tmp_path: Path) -> None:
    table = pd.DataFrame({"run": [f"r{place}" for place in range(COUNT)], **mixture(), "val_loss": LOSS})
    table.to_json(tmp_path / "columns.json", double_precision=15)
    table.to_json(tmp_path / "records.json", orient="records", double_precision=15)
    table.to_json(tmp_path / "lines.jsonl", orient="records", lines=True, double_precision=15)
    (tmp_path / "lists.json").write_text(json.dumps({"runs": table.to_dict("records"), "version": 2}))
    for path in sorted(tmp_path.iterdir()):
        runs, _ = read(path)
        assert np.allclose(runs.weights_ND, SHARES), path.name
        assert runs.names[3] == "r3"


def test_an_index_with_a_name_is_a_column(tmp_path: Path) -> None:
    table = pd.DataFrame({"run": [f"r{place}" for place in range(COUNT)], **mixture(), "val_loss": LOSS})
    table.set_index("run").to_parquet(tmp_path / "runs.parquet")
    for source in (Frame(table.set_index("run"), "runs"), tmp_path / "runs.parquet"):
        assert opened(source)[0].names[3] == "r3"
    assert opened(Frame(table.rename_axis("run"), "runs"))[0].names[3] == "r3"


def test_lists_in_parquet_and_columns_called_as_lists_of_runs_are(tmp_path: Path) -> None:
    rows = [
        {"run": f"r{place}", "data": {"domains": list(DOMAINS), "weights": row.tolist()}, "val_loss": LOSS[place]}
        for place, row in enumerate(SHARES)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "lists.parquet")
    sources = [[{"name": name, "weight": share} for name, share in zip(DOMAINS, row, strict=True)] for row in SHARES]
    pd.DataFrame({"run": [row["run"] for row in rows], "sources": sources, "val_loss": LOSS}).to_parquet(
        tmp_path / "sources.parquet"
    )
    columns = {"run": [f"r{place}" for place in range(COUNT)], "val_loss": LOSS.tolist(), "results": SCORE.tolist()}
    columns |= {name: shares.tolist() for name, shares in mixture().items()}
    (tmp_path / "columns.json").write_text(json.dumps(columns))
    for name in ("lists.parquet", "sources.parquet", "columns.json"):
        runs, _ = opened(tmp_path / name)
        assert np.allclose(runs.weights_ND, SHARES) and runs.names[3] == "r3", name


def test_rows_have_the_numbers_that_a_spreadsheet_gives_them(tmp_path: Path) -> None:
    text = 'sep=,\nrun,notes,weight.a,weight.b,metric.loss\na,"of\nthree\nlines",0.5,0.5,1\n\nb,,0.4,0.6,x\n'
    assert "row 4, column metric.loss: 'x' is not a number" in asked(write(tmp_path / "runs.csv", text))
    unclosed = 'run,weight.a,weight.b,metric.loss\na,0.5,0.5,1\n"b,0.4,0.6,2\nc,0.4,0.6,2\n'
    assert "row 3: " in asked(write(tmp_path / "runs.csv", unclosed))
