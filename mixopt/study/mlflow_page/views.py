"""The views of a study in MLflow's pages, and links to them.

A list of runs opens in MLflow with neither weights nor objective, and its charts with one small plot a metric. So the
study brings views of its own: columns, filter and charts, kept as tags of the experiment as MLflow keeps what its
button "share view" makes, and opened by links that name their keys. Links are relative to the dashboard's address, so
that they work in a description wherever the server is reached.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from mixopt.settings.schema import StudyFile
from mixopt.study.plan import Plan
from search.seeds import of_confirmation
from tracking import keys

# Else a browser that has never been here shows the pages for prompts and traces.
MODEL_TRAINING = {"workflowType": "machine_learning"}
# More parallel axes cannot be told apart.
MOST_AXES = 12
LONGEST_TAG = 5_000  # characters of a tag of an experiment, in the MLflow versions of before August 2026
# MLflow loads the first hundred runs of a list.
MOST_RUNS = 100

# Each is a join, and SQLite joins 64 tables at most: of a confirmation of more, the last seeds stay in the picture.
MOST_SEEDS = 40

TRIALS, FAILED_TRIALS = "trials", "failed trials"


def study_page(experiment_id: str, run_id: str) -> str:
    """The page of the study itself, relative to the dashboard's address."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{urlencode(MODEL_TRAINING)}"


def links_for(file: StudyFile, experiment_id: str) -> dict[str, str]:
    """By what they show, links to the study's trials, relative to the dashboard's address; see `views`."""

    def link(view: str, **how: str) -> str:
        query = urlencode({"viewStateShareKey": _key(file.study, view), **MODEL_TRAINING, **how})
        return f"#/experiments/{experiment_id}/runs?{query}"

    return {
        TRIALS: link(TRIALS),
        **{f"charts of {proxy}": link(f"proxy {proxy}", compareRunsMode="CHART") for proxy in file.proxies},
        FAILED_TRIALS: link(FAILED_TRIALS),
    }


def views(plan: Plan) -> dict[str, str]:
    """What the links open: the value of each tag that the experiment needs, with the most axes that fit into it."""
    for axes in range(MOST_AXES, -1, -1):
        tags = _views(plan, axes)
        if all(len(tag) <= LONGEST_TAG for tag in tags.values()):
            break
    return tags


def _views(plan: Plan, axes: int) -> dict[str, str]:
    study, natural = plan.file.study, plan.problem.space.natural.as_dict()
    most = sorted(natural, key=lambda domain: -natural[domain])[:axes]
    domains = [domain for domain in natural if domain in most]
    objective = f"metrics.`{keys.OBJECTIVE}`"
    weights = [f"params.`{keys.weight(domain)}`" for domain in domains]

    def listed(columns: Sequence[str], **wanted: str) -> dict[str, Any]:
        tags = {keys.KIND: keys.KIND_TRIAL, keys.STUDY_NAME: study}
        filters = {**{f"tags.`{tag}`": value for tag, value in tags.items()}, **wanted}
        return {
            "searchFilter": " and ".join(f"{name} = '{value}'" for name, value in filters.items()),
            "orderByKey": objective,
            "orderByAsc": True,
            "selectedColumns": [*columns],
        }

    found = {
        TRIALS: listed([objective, f"params.`{keys.PARAM_PROXY}`", *weights, f"tags.`{keys.STATE}`"]),
        FAILED_TRIALS: listed(
            ["attributes.`Description`", f"params.`{keys.PARAM_PROXY}`", *weights],
            **{f"tags.`{keys.STATE}`": keys.STATE_FAILED},
        ),
    }
    for proxy in plan.file.proxies:
        trials = listed([objective, *weights, f"tags.`{keys.STATE}`"], **{f"params.`{keys.PARAM_PROXY}`": proxy})
        trials["searchFilter"] += _of_the_search(plan)
        found[f"proxy {proxy}"] = trials | _charts(domains)
    return {
        keys.SHARED_VIEW + _key(study, view): json.dumps(state, separators=(",", ":")) for view, state in found.items()
    }


def _of_the_search(plan: Plan) -> str:
    """Without the confirmation, whose losses are of other documents: in one picture they would seem worse mixtures.

    MLflow knows no "or" and no "not like", so each of its seeds is left out.
    """
    seeds = of_confirmation(plan.file.confirm.seeds if plan.file.confirm.candidates else 0)
    return "".join(f" and params.`{keys.PARAM_SEED}` != '{seed}'" for seed in seeds[:MOST_SEEDS])


def _key(study: str, view: str) -> str:
    return f"{study} {view}".replace(" ", "-")


def _charts(domains: Sequence[str]) -> dict[str, Any]:
    """Shares against the objective, of all domains in one chart and of each in one of its own; losses follow below."""

    def chart(name: str, kind: str, section: str, **what: Any) -> Mapping[str, Any]:
        return {
            "uuid": name,
            "type": kind,
            "metricSectionId": section,
            "runsCountToCompare": MOST_RUNS,
            "deleted": False,
            "isGenerated": False,
            **what,
        }

    def section(name: str, columns: int) -> Mapping[str, Any]:
        return {"uuid": name, "name": name, "columns": columns, "display": True, "deleted": False, "isGenerated": False}

    together, apart = "shares and objective", "objective by share"
    parallel = {
        "selectedParams": [keys.weight(domain) for domain in domains],
        "selectedMetrics": [keys.OBJECTIVE],
    }
    return {
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,
        "compareRunSections": [section(together, 1), section(apart, 3)],
        "compareRunCharts": [
            chart("all", "PARALLEL", together, **parallel),
            *(
                chart(
                    domain,
                    "SCATTER",
                    apart,
                    xaxis={"key": keys.weight(domain), "type": "PARAM"},
                    yaxis={"key": keys.OBJECTIVE, "type": "METRIC"},
                )
                for domain in domains
            ),
        ],
    }
