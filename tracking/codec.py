"""Trials, measurements and failures as plain data for JSON and back, to the bit.

JSON keeps every bit of a float (Python writes the shortest text that reads back equal), so a resumed study
computes with the same numbers as an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from search.fidelity import Fidelity
from search.mixture import Mixture
from search.trial import CurvePoint, DocumentGroups, Failure, FailureKind, Loss, Measurement, Trial


def trial_to_plain(trial: Trial) -> dict[str, Any]:
    return {
        "weights": trial.mixture.as_dict(),
        "fidelity": asdict(trial.fidelity),
        "seed": trial.seed,
        "origin": trial.origin,
    }


def trial_from_plain(data: Mapping[str, Any]) -> Trial:
    weights = data["weights"]
    mixture = Mixture(tuple(weights), tuple(weights.values()))
    return Trial(mixture, Fidelity(**data["fidelity"]), data["seed"], data["origin"])


def measurement_to_plain(measurement: Measurement) -> dict[str, Any]:
    plain = {
        **{name: getattr(measurement, name) for name in ("flops", "seconds")},
        "losses": _losses_to_plain(measurement.losses),
        "curve": [[point.tokens, _losses_to_plain(point.losses), point.training_loss] for point in measurement.curve],
        "domain_tokens": dict(measurement.domain_tokens),
        "domain_epochs": dict(measurement.domain_epochs),
        "diagnostics": dict(measurement.diagnostics),
        "environment": dict(measurement.environment),
        "stopped_at": measurement.stopped_at,
    }
    if measurement.documents:
        plain["documents"] = {
            name: [list(getattr(groups, each.name)) for each in fields(groups)]
            for name, groups in measurement.documents.items()
        }
    return plain


def measurement_from_plain(data: Mapping[str, Any]) -> Measurement:
    curve = tuple(CurvePoint(tokens, _losses_from_plain(losses), loss) for tokens, losses, loss in data["curve"])
    documents = {name: DocumentGroups(*map(tuple, lists)) for name, lists in data.get("documents", {}).items()}
    return Measurement(**{**data, "losses": _losses_from_plain(data["losses"]), "curve": curve, "documents": documents})


def failure_to_plain(failure: Failure) -> dict[str, Any]:
    plain = {"kind": failure.kind.value, "message": failure.message, "seconds": failure.seconds}
    return plain | ({"traceback": failure.traceback} if failure.traceback else {})


def failure_from_plain(data: Mapping[str, Any]) -> Failure:
    return Failure(FailureKind(data["kind"]), data["message"], data["seconds"], data.get("traceback", ""))


def _losses_to_plain(losses: Mapping[str, Loss]) -> dict[str, list[float]]:
    return {name: [loss.nats_per_token, loss.bits_per_byte] for name, loss in losses.items()}


def _losses_from_plain(losses: Mapping[str, list[float]]) -> dict[str, Loss]:
    return {name: Loss(*pair) for name, pair in losses.items()}
