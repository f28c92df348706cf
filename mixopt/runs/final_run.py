"""In words: the run that a mixture is for, and how the best mixture moves until there."""

from __future__ import annotations

from mixopt.results.scale import FinalRun, ScalePath
from mixopt.settings.units import show_count


def name_of(run: FinalRun) -> str:
    """As in 7B parameters, 1T tokens."""
    parts = [(run.params, "parameters"), (run.tokens, "tokens")]
    return ", ".join(f"{show_count(number)} {unit}" for number, unit in parts if number is not None)


def sentence(path: ScalePath) -> str:
    """What the path comes to."""
    last = next((point for point in reversed(path.points) if point.trained), path.points[0])
    doubt = "" if path.matters else ", so it may be nothing"
    return (
        f"from {name_of(last)} to {name_of(path.points[-1])}, {path.moved:.0%} of the best mixture's tokens are "
        f"expected to move; for the final run that is worth {path.gain.mean:.2g} ({path.gain.lower:.2g} to "
        f"{path.gain.upper:.2g}){doubt}"
    )


def stations(path: ScalePath) -> list[tuple[str, float, bool]]:
    """For a picture: each point's name, how large it is, and whether it was trained."""
    return [(name_of(point), (point.params or 1.0) * (point.tokens or 1.0), point.trained) for point in path.points]


def shares(path: ScalePath) -> dict[str, list[float]]:
    """For a picture: of each domain, the share at each point."""
    return {name: [point.mixture[name] for point in path.points] for name in path.points[0].mixture}
