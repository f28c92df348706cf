"""What every exporter promises, over all that are listed."""

from __future__ import annotations

import json
import shlex

import datasets
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mixopt.errors import ConfigError
from mixopt.exporters import EXPORTERS, Exportable, Exporter, exporter
from search.mixture import Mixture


def exportable(mixture: Mixture, mean_document_tokens: dict[str, float] | None = None) -> Exportable:
    return Exportable(
        mixture,
        mean_document_tokens or dict.fromkeys(mixture.domains, 100.0),
        {domain: f"/data/it's {domain}" for domain in mixture.domains},
        {"study": "test"},
    )


weights = st.one_of(st.just(0.0), st.floats(1e-6, 1.0))
mixtures = (
    st.lists(weights, min_size=1, max_size=64)
    .filter(lambda masses: sum(masses) > 0)
    .map(lambda masses: Mixture.of({f"domain{index}": mass for index, mass in enumerate(masses)}))
)


@pytest.mark.parametrize("each", EXPORTERS.values(), ids=EXPORTERS.keys())
@given(mixture=mixtures)
def test_every_mixture_is_exported_as_lines_of_text(each: Exporter, mixture: Mixture) -> None:
    text = each.render(exportable(mixture))
    assert text.endswith("\n")
    assert text == each.render(exportable(mixture))


@pytest.mark.parametrize("each", EXPORTERS.values(), ids=EXPORTERS.keys())
def test_each_says_what_it_is(each: Exporter) -> None:
    assert each.describes
    assert each.weights_mean in ("tokens", "sequences", "documents")


@pytest.mark.parametrize(("name", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
@given(mixture=mixtures)
def test_plain_formats_keep_every_bit(name: str, read: object, mixture: Mixture) -> None:
    assert callable(read)
    assert read(exporter(name).render(exportable(mixture)))["weights"] == mixture.as_dict()


@given(mixture=mixtures)
def test_megatron_gets_a_weight_above_0_before_each_path(mixture: Mixture) -> None:
    option, *words = shlex.split(exporter("megatron").render(exportable(mixture)))
    assert option == "--data-path"
    assert len(words) % 2 == 0, "Megatron takes an odd list for paths without weights"
    given_weights = {path: float(weight) for weight, path in zip(words[::2], words[1::2], strict=True)}
    meant = {f"/data/it's {domain}": weight for domain, weight in mixture.as_dict().items() if weight > 0}
    assert given_weights == pytest.approx(meant, abs=1e-9)
    assert min(given_weights.values()) > 0


def test_hf_interleave_draws_the_token_shares_from_documents_of_very_different_lengths() -> None:
    """The real client: what `interleave_datasets` yields, counted in tokens."""
    lengths = {"long": 500, "short": 10, "unused": 40}
    mixture = Mixture.of({"long": 0.3, "short": 0.7, "unused": 0.0})
    settings = json.loads(exporter("hf").render(exportable(mixture, {name: float(n) for name, n in lengths.items()})))
    domain_of = {f"/data/it's {domain}": domain for domain in mixture.domains}
    parts = [datasets.Dataset.from_dict({"domain": [domain_of[place]] * 400}) for place in settings["domains"]]
    mixed = datasets.interleave_datasets(
        parts, probabilities=settings["probabilities"], seed=0, stopping_strategy=settings["stopping_strategy"]
    )
    tokens = {domain: mixed["domain"][:].count(domain) * length for domain, length in lengths.items()}
    assert tokens["unused"] == 0
    assert tokens["long"] / sum(tokens.values()) == pytest.approx(0.3, abs=0.02)
    assert np.isclose(sum(settings["probabilities"]), 1)


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no export format mgt") as caught:
        exporter("mgt")
    assert "megatron" in caught.value.hint
