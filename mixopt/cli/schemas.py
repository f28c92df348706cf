"""The JSON Schemas that `mixopt schema` prints: of study files, and of what commands print with `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from mixopt.base.errors import ConfigError
from mixopt.results.base import Result

STUDY_SCHEMA = "study"
# Where each result is defined; imported when it is asked for.
RESULTS: Mapping[str, str] = MappingProxyType(
    {
        "answer": "mixopt.results.answer:Answer",
        "ask": "mixopt.results.turns:AskedTrials",
        "asked": "mixopt.results.asked:Asked",
        "attach": "mixopt.results.turns:AttachedRuns",
        "audit": "mixopt.results.drawn:Drawn",
        "backtest": "mixopt.results.backtest:BacktestResult",
        "calibration": "mixopt.results.calibration:CalibrationResult",
        "check": "mixopt.results.drawn:Drawn",
        "comparison": "mixopt.results.comparison:Comparison",
        "corpus": "mixopt.results.corpus:CorpusSummary",
        "distances": "mixopt.results.distances:Distances",
        "domains": "mixopt.results.domains:FoundDomains",
        "doctor": "mixopt.results.doctor:Diagnosis",
        "export": "mixopt.results.export:ExportResult",
        "fit": "mixopt.results.fit:FitResult",
        "import": "mixopt.results.export:ImportedMixture",
        "job": "mixopt.results.jobs:JobWithTrials",
        "job-alone": "mixopt.results.jobs:JobAlone",
        "job-log": "mixopt.results.jobs:JobLog",
        "job-submitted": "mixopt.results.jobs:SubmittedJob",
        "jobs": "mixopt.results.jobs:JobList",
        "log": "mixopt.results.logs:StudyLog",
        "log-of-trial": "mixopt.results.logs:TrialLog",
        "plan": "mixopt.results.plan:PlanEstimate",
        "prune": "mixopt.results.prune:Pruned",
        "quality": "mixopt.results.quality:Quality",
        "replay": "mixopt.results.replay:ReplayResult",
        "refined": "mixopt.results.refined:RefinedStudy",
        "receipt": "mixopt.results.receipt:Receipt",
        "report": "mixopt.report.content:Content",
        "runs": "mixopt.results.run_table:RunTable",
        "secrets": "mixopt.results.secrets:SecretFiles",
        "status": "mixopt.results.status:Status",
        "tell": "mixopt.results.turns:ToldTrials",
        "table-guess": "mixopt.results.table_guess:TableGuess",
        "trials": "mixopt.results.trials:TrialList",
        "validity": "mixopt.results.validity:Validity",
    }
)
NAMES = (STUDY_SCHEMA, *RESULTS)


def result(name: str) -> type[Result]:
    """The class of a result.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in RESULTS:
        raise ConfigError(f"no schema {name}", hint=f"choose from {', '.join(NAMES)}")
    module, _, class_name = RESULTS[name].partition(":")
    found: type[Result] = getattr(import_module(module), class_name)
    return found


def json_schema(name: str) -> dict[str, Any]:
    """
    Raises:
        ConfigError: there is none of this name.
    """
    if name == STUDY_SCHEMA:
        from mixopt.settings import schema

        return schema.json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **result(name).model_json_schema(mode="serialization"),
        "title": f"mixopt {name}",
    }
