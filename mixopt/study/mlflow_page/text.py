"""Where a study stands: the description at the head of its page in the dashboard, and its metrics.

Written anew whenever a trial ends, so both are made from what a `Tally` keeps count of, never from the whole history.
MLflow shows the first four lines of a description and hides the rest behind "Show more".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from mixopt.results.answer import Answer
from mixopt.settings.units import show_duration
from mixopt.study.clock import Seconds
from mixopt.study.mlflow_page.tally import Tally
from mixopt.study.plan import Plan
from search.mixture import Mixture
from search.problem import PROPORTIONAL
from search.recommendation.recommendation import Recommendation
from tracking import keys

STATES = (keys.STATE_COMPLETED, keys.STATE_RUNNING, keys.STATE_STOPPED, keys.STATE_FAILED)
# MLflow's limit for a description is 8,000 characters.
MOST_ROWS = 20
LONGEST_NOTE = 300
LONGEST_IN_TITLE, MOST_IN_TITLE = 80, 3
SPECIAL = str.maketrans({character: f"\\{character}" for character in r"\`*_{}[]()#+!~|"} | {"<": "&lt;", "\n": " "})


def progress_metrics(plan: Plan, tally: Tally, forecast: Recommendation | None, seconds: Seconds) -> dict[str, float]:
    """Metrics of the study, after `seconds` of its time."""
    budget = plan.file.budget
    metrics: dict[str, float] = {
        keys.EXPECTED_TRIALS: tally.expected + (tally.expected_to_confirm if tally.confirming else 0),
        keys.ENDED_TRIALS: tally.searched + tally.confirmed,
        keys.COMPLETED_TRIALS: tally.in_state(keys.STATE_COMPLETED),
        keys.RUNNING_TRIALS: tally.in_state(keys.STATE_RUNNING),
        keys.STOPPED_TRIALS: tally.in_state(keys.STATE_STOPPED),
        keys.FAILED_TRIALS: tally.in_state(keys.STATE_FAILED),
        keys.RESTARTS: tally.restarts,
        keys.SPENT_FLOPS: tally.flops,
        keys.SPENT_SECONDS: seconds.in_all,
        **{keys.failures(kind.value): count for kind, count in tally.failures.items()},
    }
    if budget.flops is not None:
        metrics[keys.SHARE_OF_FLOPS] = tally.flops / budget.flops
    if budget.time is not None:
        metrics[keys.SHARE_OF_SECONDS] = seconds.search / budget.time
    if tally.best is not None:
        metrics[keys.BEST_OBJECTIVE] = tally.best.standing.objective
    if forecast is not None and forecast.predicted is not None:
        metrics[keys.PREDICTED_OBJECTIVE] = forecast.predicted.mean
    return {name: float(value) for name, value in metrics.items()}


def forecast_metrics(forecast: Recommendation) -> dict[str, float]:
    """The predicted optimum's shares; to be written only when it is new, for there may be a thousand domains."""
    return {keys.predicted_weight(domain): share for domain, share in forecast.mixture.as_dict().items()}


def describe_study(
    plan: Plan,
    tally: Tally,
    seconds: Seconds,
    forecast: Recommendation | None,
    no_forecast: str,
    links: Mapping[str, str],
) -> str:
    """The description while the study works, Markdown.

    Args:
        seconds: that the study has taken so far.
        forecast: what its strategy recommended last, if it has.
        no_forecast: why there is none.
        links: where there is more to see, relative to the dashboard's address.
    """
    mixtures = {PROPORTIONAL: plan.problem.baselines[PROPORTIONAL]}
    if tally.best is not None:
        mixtures["best so far"] = tally.best.trial.mixture
    if forecast is not None:
        mixtures["predicted optimum"] = forecast.mixture
    return "\n".join(
        [
            *_lines(_standing(tally), _linked(links), _best(plan, tally), _predicted(forecast, no_forecast)),
            _spent(plan, tally, seconds) + _trouble(tally),
            "",
            *_shares(mixtures),
            "",
            *_by_proxy(plan, tally),
        ]
    )


def describe_answer(answer: Answer, links: Mapping[str, str]) -> str:
    """The description of a study that has its answer, Markdown."""
    mixtures = {
        PROPORTIONAL: Mixture.of({name: domain.proportional for name, domain in answer.domains.items()}),
        "answer": Mixture.of(answer.mixture),
    }
    trials = answer.trials
    counts = f"{trials.completed} completed, {trials.stopped} stopped, {trials.failed} failed"
    return "\n".join(
        [
            *_lines(f"**{'' if answer.ended else 'So far: '}{_plain(answer.verdict)}**", _linked(links)),
            f"Trials: {counts}; {trials.flops:.3g} FLOPs.",
            "",
            *_shares(mixtures),
            "",
            *(f"- {_plain(note)}" for note in answer.notes[:MOST_ROWS]),
        ]
    )


def title_of(answer: Answer) -> str:
    """The name of a study's run once it has its answer: what is read first, wherever MLflow puts the description."""
    # Of "keep uniform: nothing that ...", "the proposed mixture beats ... (95%, ...)" and the like the beginning.
    verdict = re.split(r"[:.;,] | \(\d", answer.verdict, maxsplit=1)[0].rstrip(".")[:LONGEST_IN_TITLE]
    largest = sorted(answer.mixture.items(), key=lambda item: -item[1])[:MOST_IN_TITLE]
    shares = ", ".join(f"{domain} {share:.0%}" for domain, share in largest)
    so_far = "" if answer.ended else " (so far)"
    return f"{answer.study}{so_far}: {verdict} ({shares}{', ...' if len(answer.mixture) > MOST_IN_TITLE else ''})"


def _standing(tally: Tally) -> str:
    running = tally.in_state(keys.STATE_RUNNING)
    if tally.confirming:
        phase = f"Confirming with new seeds: {tally.confirmed} of at most {tally.expected_to_confirm}"
    else:
        phase = f"Searching: {tally.searched} of at most {tally.expected}"
    return f"**{phase} trials have ended**, {running} {'is' if running == 1 else 'are'} running."


def _linked(links: Mapping[str, str]) -> str:
    """The links side by side."""
    return "See " + " · ".join(f"[{_plain(name)}]({link})" for name, link in links.items())


def _best(plan: Plan, tally: Tally) -> str:
    if tally.best is None:
        return f"No trial of {_plain(plan.problem.target.proxy)} has completed yet, the proxy that the answer is for."
    unit = plan.problem.objective.unit.replace("_", " ")
    reference = "" if tally.reference is None else f"; the proportional mixture reached {tally.reference:.4f}"
    trial, standing = tally.best.trial, tally.best.standing
    return f"**Best so far** {standing.objective:.4f} {unit} ({_plain(trial.origin)}, {trial.id[:6]}){reference}."


def _predicted(forecast: Recommendation | None, no_forecast: str) -> str:
    if forecast is None:
        return f"**Predicted optimum:** no forecast yet: {_plain(no_forecast)}."
    if forecast.predicted is None:
        reason = f": {_plain(forecast.warnings[0])}" if forecast.warnings else ""
        return f"**Predicted optimum:** the best observed mixture{reason}."
    mean, lower, upper = forecast.predicted.mean, forecast.predicted.lower, forecast.predicted.upper
    return (
        f"**Predicted optimum** {mean:.4f}, a run of it between {lower:.4f} and {upper:.4f} "
        f"(by {forecast.method}, from {forecast.trials} measurements)."
    )


def _spent(plan: Plan, tally: Tally, seconds: Seconds) -> str:
    budget = plan.file.budget
    flops, time = f"{tally.flops:.3g} FLOPs", show_duration(seconds.in_all)
    if budget.flops is not None:
        flops = f"{tally.flops:.3g} of {budget.flops:.3g} FLOPs ({tally.flops / budget.flops:.0%})"
    if budget.time is not None:
        share = seconds.search / budget.time
        time += f"; the search {show_duration(seconds.search)} of its {show_duration(budget.time)} ({share:.0%})"
    return f"**Spent** {flops} in {time}."


def _trouble(tally: Tally) -> str:
    """What went wrong, if anything did."""
    said = []
    if tally.failures:
        kinds = ", ".join(f"{count} {kind.value}" for kind, count in tally.failures.most_common())
        said.append(f" **Failed:** {kinds}.")
    if tally.restarts:
        said.append(f" **Went on from a checkpoint:** {tally.restarts}.")
    return "".join(said)


def _shares(mixtures: Mapping[str, Mixture]) -> list[str]:
    """A table of the domains that have the largest share in any of the mixtures."""
    shares = {name: mixture.as_dict() for name, mixture in mixtures.items()}
    domains = list(shares[PROPORTIONAL])
    most = sorted(domains, key=lambda domain: -max(each[domain] for each in shares.values()))[:MOST_ROWS]
    rows = [
        [_plain(domain), *(f"{each[domain]:.1%}" for each in shares.values())] for domain in domains if domain in most
    ]
    hidden = len(domains) - len(most)
    return [*_table(["domain", *shares], rows), *(["", f"and {hidden} domains with smaller shares"] if hidden else [])]


def _by_proxy(plan: Plan, tally: Tally) -> list[str]:
    proxies = [rung.fidelity.proxy for rung in plan.problem.rungs]
    rows = [[state, *(str(tally.trials[state, proxy]) for proxy in proxies)] for state in STATES]
    return _table(["trials", *map(_plain, proxies)], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _lines(*lines: str) -> list[str]:
    """Lines of one paragraph, each on a line of its own."""
    return [f"{line}  " for line in lines]


def _plain(text: str) -> str:
    """Text from elsewhere, without a meaning in Markdown."""
    return text[:LONGEST_NOTE].translate(SPECIAL)
