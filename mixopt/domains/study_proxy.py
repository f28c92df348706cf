"""The proxy of a study as an embedding of documents: the answer's mixture is trained once more, and its weights kept.

Trials leave no weights. A trial that is trained again is the same proxy, bit for bit on one machine; and is trained
once:

    <the study's folder>/proxies/<trial id>/     see proxies/domains/embedding/hidden_states.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

from mixopt.base.errors import ConfigError
from mixopt.settings.schema import StudyFile
from mixopt.study.answer import answer_so_far
from mixopt.study.planning import as_begun, plan_as_measured
from mixopt.study.record import not_prepared, read_record
from mixopt.study.stages import Stages
from proxies.domains.embedding.hidden_states import HiddenStates
from proxies.errors import ProxyError
from search.mixture import Mixture
from search.seeds import SEARCH_SEED
from search.trial import Failure, Trial

PROXIES, CHECKPOINT = "proxies", "checkpoint.pt"
ORIGIN = "embedding"


def is_study(embedding: Path | None) -> TypeGuard[Path]:
    """Whether what is named as an embedding is a study file."""
    return embedding is not None and embedding.suffix in (".yaml", ".yml") and not embedding.is_dir()


def proxy_of(file: StudyFile, stages: Stages) -> Path:
    """The folder of the proxy that the study's answer is for, trained on the answer's mixture where it is not kept yet.

    Raises:
        ConfigError, SearchError, TrackingError: the study has no answer, its tokens are not here, or its proxy cannot
            be trained here.
    """
    # Deferred: most calls train nothing.
    from mixopt.workers.messages import TrialEnd, TrialProgress
    from mixopt.workers.training import run_trials

    if file.executor.is_foreign:
        raise ConfigError(
            f"{file.file}: executor.kind: {file.executor.kind} trains with another trainer, so there is no proxy here",
            hint="name a study that mixopt trains, or the folder of a model",
        )
    record = read_record(file)
    answer = answer_so_far(file, record)
    if not answer.ended:
        stages.say_note(f"study {file.study} has not ended: its proxy is that of the answer so far, which may change")
    mixture, proxies = Mixture.of(answer.mixture), (file.work_directory / PROXIES).absolute()
    # The text, of which the plan is made, may be gone by now. Proxies of the target alone are kept.
    for fidelity in {trial.fidelity for trial in record.history.trials}:
        if _is_kept(kept := proxies / Trial(mixture, fidelity, SEARCH_SEED).id):
            return kept
    try:
        plan = plan_as_measured(file, record)
    except ProxyError as error:
        raise ConfigError(
            f"the proxy of study {file.study}'s answer is not in {proxies}, and cannot be trained: {error.message}",
            hint="bring back the text, or name the folder of a proxy that is kept elsewhere",
        ) from error
    if plan is None:
        raise not_prepared(file, f"copy {proxies} from where it ran and was named before")
    plan = as_begun(plan, record.subject)
    trial = Trial(mixture, plan.problem.target, SEARCH_SEED, ORIGIN)
    folder = proxies / trial.id
    assert plan.corpus is not None, "only a foreign executor has none"
    folder.mkdir(parents=True, exist_ok=True)
    job = replace(
        plan.job(trial, record.history),
        corpus=str(plan.corpus.directory.absolute()),
        checkpoint=str(folder / CHECKPOINT),
        stopping=None,
        keep=str(folder),
    )
    for event in run_trials([job]):
        match event:
            case TrialProgress():
                stages.advance(
                    f"train proxy {trial.fidelity.proxy} again", event.tokens, trial.fidelity.tokens, "tokens"
                )
            case TrialEnd(outcome=Failure() as failure):
                raise ConfigError(
                    f"proxy {trial.fidelity.proxy} of study {file.study} cannot be trained here: {failure.message}",
                    hint="call it where the study ran",
                )
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


def _is_kept(folder: Path) -> bool:
    try:
        HiddenStates.open(folder)
    except ProxyError:
        return False
    return True
