"""What the page exports of a table's mixtures, whose supply is in its limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from mixopt.base.errors import ConfigError
from mixopt.explore.exporting import exported
from mixopt.explore.subject import Subject
from search.mixture import Mixture
from tests.mixopt.explore.world import what_ifs


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return what_ifs(tmp_path_factory.mktemp("world")).subject


def test_a_trainer_is_told_how_often_it_may_read_and_of_how_much(subject: Subject) -> None:
    mixture = Mixture.of({"web": 0.5, "code": 0.2, "books": 0.2, "chat": 0.05, "law": 0.05})
    text, _ = exported(subject, mixture, "olmo-core", None, None)
    assert {each["max_repetition_ratio"] for each in yaml.safe_load(text)["sources"]} == {4.0}
    text, _ = exported(subject, mixture, "passes", None, None)
    assert yaml.safe_load(text)["books"] == pytest.approx(0.2 * 20 / 4)


def test_a_mixture_that_repeats_a_domain_too_often_is_refused(subject: Subject) -> None:
    mixture = Mixture.of({"web": 0.03, "code": 0.03, "books": 0.88, "chat": 0.03, "law": 0.03})
    with pytest.raises(ConfigError, match=r"domain books would be read 4\.4 times in 20B tokens: it has 4B") as caught:
        exported(subject, mixture, "olmo-core", None, None)
    assert "raise max_epochs of books in --space" in caught.value.hint
    exported(subject, mixture, "olmo-core", None, "10B")
    # Where nobody says what there is, nobody can say that it is too often.
    exported(replace(subject, supply={}), mixture, "olmo-core", None, None)
