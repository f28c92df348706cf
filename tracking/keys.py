"""Every key that mixopt writes to MLflow, in one place.

A study is a parent run, each of its trials a child run. Two kinds of keys are written:

- the record: the parent's tag that names the copy of the study's journal, and those that find runs again;
- the view, for people: parameters and metrics, grouped into the dashboard's sections by the part before the slash.
"""

from __future__ import annotations

# MLflow's own
PARENT_RUN = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
RUN_NAME = "mlflow.runName"
DATASET_CONTEXT = "mlflow.data.context"  # of a data set: what the run uses it for
# Of an experiment: columns, filter and charts of a list of runs, opened by a link that names the key after it.
SHARED_VIEW = "mlflow.sharedViewState."

# the record: both kinds of run
KIND = "mixopt.kind"
KIND_STUDY = "study"
KIND_TRIAL = "trial"
STUDY_NAME = "mixopt.study"
SCHEMA_VERSION = "mixopt.schema"
SCHEMA = "2"
SCHEMA_BEFORE = "1"  # of versions before 0.2, which kept the record in tags (tracking/legacy.py)

# the record: parent run. Tags are few, for MLflow shows all but its own: what a study remembers is in the journal.
COPY = "mixopt.copy"  # which artifact is the last copy of the journal
CORPUS = "mixopt.corpus"  # the fingerprint of its tokens, in studies of before 0.2
ANSWER = "mixopt.answer"
PREDICTIONS = "mixopt.predictions"  # gains that were predicted before they were confirmed
INVENTORY = "mixopt.inventory"  # of the pools; as a tag its fingerprint
PORTRAITS = "mixopt.portraits"  # a digest of the artifact by which other studies know the pools again
REUSED = "mixopt.reused"  # the runs of other studies that count, as they were taken when the study began
SEARCH_SECONDS = "mixopt.search_seconds"  # this and the next are in the journal alone
SEARCH_ENDED = "mixopt.search_ended"  # by which of the study's criteria the search has ended, and why
ACTIVITY = "mixopt.activity"  # what the study's driver is at: one of these, running, pausing or stopping
ACTIVITY_PAUSED = "paused"
ACTIVITY_INTERRUPTED = "interrupted"
ACTIVITY_ENDED = "ended"
ACTIVITY_WAITING = "waiting"  # for somebody to ask for trials, or to tell of them
AWAY = "mixopt.away"  # why MLflow does not take the driver's records, as it said last; empty where it took them again
JOURNAL = "mixopt.journal"  # the id of the journal that wrote last
SENT = "mixopt.journal_sent"  # so many of its entries are here, at least
DRIVER = "mixopt.driver"  # who runs the study, and its heartbeat (tracking/heartbeat.py); empty when nobody does
NOW = "mixopt.now"  # what the driver is at this moment, in its own form; of use only while it runs
VERSION = "mixopt.version"
RUN = "mixopt.run"  # remembered in the journal: the study's run and experiment here
EXPERIMENT = "mixopt.experiment"

# the record: child run
TRIAL_ID = "mixopt.trial_id"
STATE = "mixopt.state"
STATE_RUNNING = "running"
STATE_COMPLETED = "completed"
STATE_STOPPED = "stopped"
STATE_FAILED = "failed"
STATE_INTERRUPTED = "interrupted"  # in the view alone: its driver has ended, another one will go on with it
STARTS = "mixopt.starts"  # of a trial whose worker died
ORIGIN = "mixopt.origin"


# Of what is remembered in the journal, that which people look for in MLflow as well.
SHOWN = (NOTE, RUN_NAME, ACTIVITY)


def copies(journal: str) -> tuple[str, str]:
    """The artifacts that hold copies of the journal of that id, in turn."""
    return f"record/{journal[:8]}-0.jsonl.zst", f"record/{journal[:8]}-1.jsonl.zst"


# the view: artifacts of the parent run
STUDY_FILE = "study.yaml"
VERSIONS_FILE = "versions.json"  # of Python and the packages with which the study went on last
ANSWER_FILE = "answer.json"
INVENTORY_FILE = "inventory.json"
PORTRAITS_FILE = "portraits.json"
REUSED_FILE = "reused.json"
PREDICTIONS_FILE = "predictions.json"
REPORT_FILE = "report.html"


# the view: parameters and metrics of a trial
PARAM_PROXY, PARAM_TOKENS, PARAM_PARAMS, PARAM_SEED = "proxy", "tokens", "params", "seed"


def weight(domain: str) -> str:
    return f"weight.{domain}"


def nats(evaluation_set: str) -> str:
    return f"nats/{evaluation_set}"


def bits_per_byte(evaluation_set: str) -> str:
    return f"bits_per_byte/{evaluation_set}"


def tokens(domain: str) -> str:
    return f"tokens/{domain}"


def epochs(domain: str) -> str:
    return f"epochs/{domain}"


def diagnostic(name: str) -> str:
    return f"diagnostics/{name}"


TRAINING_LOSS = "training/nats"
OBJECTIVE = "objective/value"
FLOPS = "cost/flops"
SECONDS = "cost/seconds"

# the view: metrics of a study, by number of closed trials
BEST_OBJECTIVE = "progress/best_objective"
PREDICTED_OBJECTIVE = "progress/predicted_objective"
EXPECTED_TRIALS = "progress/expected"
ENDED_TRIALS = "progress/ended"
COMPLETED_TRIALS = "progress/completed"
RUNNING_TRIALS = "progress/running"
STOPPED_TRIALS = "progress/stopped"
FAILED_TRIALS = "progress/failed"
RESTARTS = "progress/restarts"
SPENT_FLOPS = "progress/flops"
SPENT_SECONDS = "progress/seconds"
SHARE_OF_FLOPS = "progress/share_of_flops_budget"
SHARE_OF_SECONDS = "progress/share_of_time_budget"


def failures(kind: str) -> str:
    return f"failures/{kind}"


def predicted_weight(domain: str) -> str:
    return f"predicted_weight/{domain}"
