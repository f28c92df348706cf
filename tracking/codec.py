"""Trials, measurements and failures as JSON text and back, to the bit; long text as several tags.

JSON keeps every bit of a float (Python writes the shortest text that reads back equal), so a resumed study
computes with the same numbers as an undisturbed one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from search.fidelity import Fidelity
from search.mixture import Mixture
from search.trial import CurvePoint, Failure, FailureKind, Loss, Measurement, Trial
from tracking.errors import TrackingError

# MLflow's limit is 8,000 characters for a tag; some of its stores hold less, so stay well below.
TAG_LENGTH = 4_000


def trial_to_json(trial: Trial) -> str:
    return _dump(
        {
            "weights": trial.mixture.as_dict(),
            "fidelity": asdict(trial.fidelity),
            "seed": trial.seed,
            "origin": trial.origin,
        }
    )


def trial_from_json(text: str) -> Trial:
    data = json.loads(text)
    weights = data["weights"]
    mixture = Mixture(tuple(weights), tuple(weights.values()))
    return Trial(mixture, Fidelity(**data["fidelity"]), data["seed"], data["origin"])


def measurement_to_json(measurement: Measurement) -> str:
    data = {
        **{name: getattr(measurement, name) for name in ("flops", "seconds")},
        "losses": _losses_to_plain(measurement.losses),
        "curve": [[point.tokens, _losses_to_plain(point.losses), point.training_loss] for point in measurement.curve],
        "domain_tokens": dict(measurement.domain_tokens),
        "domain_epochs": dict(measurement.domain_epochs),
        "diagnostics": dict(measurement.diagnostics),
        "environment": dict(measurement.environment),
        "stopped_at": measurement.stopped_at,
    }
    return _dump(data)


def measurement_from_json(text: str) -> Measurement:
    data = json.loads(text)
    data["losses"] = _losses_from_plain(data["losses"])
    data["curve"] = tuple(
        CurvePoint(tokens, _losses_from_plain(losses), loss) for tokens, losses, loss in data["curve"]
    )
    return Measurement(**data)


def failure_to_json(failure: Failure) -> str:
    return _dump({"kind": failure.kind.value, "message": failure.message, "seconds": failure.seconds})


def failure_from_json(text: str) -> Failure:
    data = json.loads(text)
    return Failure(FailureKind(data["kind"]), data["message"], data["seconds"])


def to_tags(key: str, text: str) -> dict[str, str]:
    """`text` cut into tags `key.0`, `key.1`, ...; `key` itself says how many there are."""
    pieces = [text[start : start + TAG_LENGTH] for start in range(0, len(text), TAG_LENGTH)]
    return {**{f"{key}.{index}": piece for index, piece in enumerate(pieces)}, key: str(len(pieces))}


def from_tags(key: str, tags: Mapping[str, str]) -> str | None:
    """The text that `to_tags` cut, or None where it was never written.

    Raises:
        TrackingError: a part of it is missing.
    """
    if key not in tags:
        return None
    names = [f"{key}.{index}" for index in range(int(tags[key]))]
    missing = [name for name in names if name not in tags]
    if missing:
        raise TrackingError(f"the record lacks the tag {missing[0]}", hint="was it deleted by hand?")
    return "".join(tags[name] for name in names)


def _losses_to_plain(losses: Mapping[str, Loss]) -> dict[str, list[float]]:
    return {name: [loss.nats_per_token, loss.bits_per_byte] for name, loss in losses.items()}


def _losses_from_plain(losses: Mapping[str, list[float]]) -> dict[str, Loss]:
    return {name: Loss(*pair) for name, pair in losses.items()}


def _dump(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)
