"""Trainers' own code, fed with exports: the shares of tokens that come out are the mixture's.

Each client draws in a process of its own, from a folder of its own packages: python -m tests.clients.install
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mixopt.exports.formats import Draws, Exportable, Locations, exporter
from search.mixture import Mixture
from tests.clients.blends import Blend, ask
from tests.clients.install import CLIENTS, ROOT, folder, is_installed

pytestmark = pytest.mark.slow

SHARES = {
    "three": {"a": 0.5, "b": 0.2, "c": 0.3},
    "a zero": {"a": 0.0, "b": 0.7, "c": 0.3},
    "one": {"a": 1.0},
    "millionths": {"a": 1 - 2e-6, "b": 1e-6, "c": 1e-6},  # no trainer stumbles over them
    "64": {f"domain{index}": 1 / (1 + index) for index in range(64)},
    "random": dict(zip("abcdefgh", np.random.default_rng(7).dirichlet(np.ones(8)).tolist(), strict=True)),
}
MIXTURES = {case: Mixture.of(shares) for case, shares in SHARES.items()}

FORMATS = {
    "hf": {"hf": Draws.DOCUMENTS},
    "litdata": {"litgpt": Draws.SEQUENCES},
    "megatron": dict.fromkeys(("megatron", "megatron-splits", "megatron-bridge"), Draws.SEQUENCES),
    "olmo_core": {"olmo-core": Draws.TOKENS},
    "streaming": {"streaming": Draws.DOCUMENTS, "llm-foundry": Draws.DOCUMENTS},
}
# Tokens of a document, of the first domain, the second, the third, the first again, ...
LENGTHS = {"hf": (100, 40, 10)}
VERY_DIFFERENT = (1000, 50, 10)


@pytest.mark.parametrize("client", FORMATS)
def test_the_tokens_that_a_trainer_draws_are_in_the_mixtures_shares(client: str, tmp_path: Path) -> None:
    if client in CLIENTS and not is_installed(client):
        pytest.skip(f"{CLIENTS[client][0]} is not installed: python -m tests.clients.install")
    asked = {(format, case): draws for format, draws in FORMATS[client].items() for case in MIXTURES}
    blends = [
        blend(MIXTURES[case], format, draws, LENGTHS.get(client, VERY_DIFFERENT), tmp_path / format / case)
        for (format, case), draws in asked.items()
    ]
    drawn = dict(zip(asked, tokens(client, blends, tmp_path), strict=True))
    shares = {
        (*key, domain): count / sum(counts)
        for key, counts in drawn.items()
        for domain, count in zip(MIXTURES[key[1]].domains, counts, strict=True)
    }
    meant = {(*key, domain): share for key in asked for domain, share in MIXTURES[key[1]].as_dict().items()}
    assert shares == pytest.approx(meant, abs=0.002)
    assert all(shares[key] == 0 for key, share in meant.items() if share == 0)


def blend(mixture: Mixture, format: str, draws: Draws, lengths: tuple[int, ...], directory: Path) -> Blend:
    directory.mkdir(parents=True)
    places = {domain: str(directory / f"the {domain}") for domain in mixture.domains}
    length_of = {domain: lengths[index % len(lengths)] for index, domain in enumerate(mixture.domains)}
    exportable = Exportable(mixture, draws, length_of, Locations({name: {at: None} for name, at in places.items()}))
    export = directory / f"export{exporter(format).suffix}"
    export.write_text(exporter(format).render(exportable), encoding="utf-8")
    return Blend(format, str(export), {places[name]: length for name, length in length_of.items()})


def tokens(client: str, blends: list[Blend], directory: Path) -> list[list[int]]:
    """That a client draws, by domain, of each blend."""
    question, answer = directory / "question.json", directory / "answer.json"
    ask(blends, question)
    subprocess.run(
        [sys.executable, "-m", f"tests.clients.draw_{client}", str(question), str(answer)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder(client))},
        check=True,
    )
    drawn: list[list[int]] = json.loads(answer.read_text(encoding="utf-8"))
    return drawn
