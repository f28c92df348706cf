"""How much training a killed worker costs: from what its trial had reached to where it went on.

    python -m benchmarks.work_lost
    python -m benchmarks.work_lost --kills 5 --json benchmarks/results/work-lost.json

One trial on a local Ray cluster, whose worker is killed with -9 at seeded moments. The driver hears of a trial about
once a second, so what is lost is the tokens between the last that it heard and the first after the restart, at the
speed of the trial; up to a second more may have been trained unheard.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from dataclasses import replace
from datetime import date
from math import inf
from pathlib import Path
from statistics import median

import psutil
from joblib import cpu_count
from rich.console import Console

from mixopt.workers.messages import TrialEnd, TrialProgress, TrialRestart
from mixopt.workers.ray_cluster import RayCluster
from search.history import History
from search.trial import Trial
from tests.e2e.study import STUDY
from tests.processes import family, kill, named
from tests.simulated import planned

BETWEEN_KILLS = (2.0, 12.0)  # seconds of training


def lost(folder: Path, kills: int, tokens: str) -> list[float]:
    """Seconds of training that each kill cost."""
    plan = planned(folder, STUDY.replace("tokens: 4k", f"tokens: {tokens}"))
    job = plan.job(Trial(plan.problem.baselines["uniform"], plan.problem.rungs[0].fidelity, seed=0), History())
    chance, found = random.Random(0), list[float]()
    last: TrialProgress | None = None
    was_killed, due = True, inf  # when the next kill comes: not before something has been heard
    with RayCluster("lost", attempts=kills + 5) as cluster:
        cluster.launch(replace(job, recipe=replace(job.recipe, compiled=False)))
        while True:
            for event in cluster.events():
                match event:
                    case TrialEnd():
                        return found
                    case TrialRestart():
                        was_killed = True
                    case TrialProgress():
                        if was_killed and last is not None:
                            found.append(max(last.tokens - event.tokens, 0) / last.tokens_per_second)
                        if was_killed:
                            was_killed, due = False, time.monotonic() + chance.uniform(*BETWEEN_KILLS)
                        last = event
            if time.monotonic() > due and len(found) < kills:
                kill([each for each in family(psutil.Process()) if "ray::_run_in_worker" in named(each.pid)])
                due = inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--tokens", default="2M", help="of the trial; it has to outlast the kills")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = lost(Path(folder), options.kills, options.tokens)
    shown = ", ".join(f"{each:.1f}" for each in seconds)
    Console(highlight=False).print(f"{len(seconds)} kills cost {shown} s of training; median {median(seconds):.1f} s")
    if options.json:
        document = {"date": date.today().isoformat(), "cores": cpu_count(), "seconds_lost": seconds}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
