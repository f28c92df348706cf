"""What the share of one domain does, the others in proportion."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from search.mixture import Mixture
from search.recommendation.effects import effects

MIXTURE = Mixture.of({"web": 0.5, "code": 0.3, "chat": 0.2})


def of_web(weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    assert np.allclose(weights_ND.sum(axis=1), 1)
    return weights_ND[:, 0]


def test_each_effect_goes_from_the_least_to_the_most_that_was_trained() -> None:
    trained_ND = np.array([[0.2, 0.7, 0.1], [0.6, 0.1, 0.3]])
    found = effects(of_web, MIXTURE, trained_ND)
    assert np.allclose(found["web"].values, np.linspace(0.2, 0.6, 15))
    # Of what code leaves, web has five parts of seven.
    assert np.allclose(found["code"].values, (1 - np.linspace(0.1, 0.7, 15)) * 5 / 7)


def test_a_share_that_was_always_the_same_stays_and_nothing_is_known_of_it() -> None:
    trained_ND = np.array([[0.2, 0.6, 0.2], [0.6, 0.2, 0.2]])
    found = effects(of_web, MIXTURE, trained_ND)
    assert np.allclose(found["code"].values, 0.8 - np.linspace(0.2, 0.6, 15))
    assert not found["chat"].varied
    assert not found["chat"].flat(doubt=1.0)
    assert found["code"].flat(doubt=1.0)
    assert not found["code"].flat(doubt=0.1)
