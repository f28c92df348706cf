"""RegMix's mixture files, whose trainer draws sequences of one length from files named train_<domain>*.

It fails without a section `valid`. A domain with fewer files than there are devices it leaves out, and a domain whose
name begins with another's gives its files to both: neither is an error there.
"""

from __future__ import annotations

from itertools import permutations

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights
from mixopt.exports.formats.yaml_text import yaml_text


class Regmix(Exporter):
    name = "regmix"
    describes = "RegMix: a mixture file, by domain"
    draws = (Draws.SEQUENCES,)
    suffix = ".yaml"
    by_place = False
    at_random = True

    def render(self, exportable: Exportable) -> str:
        weights = exportable.weights
        for one, other in permutations(weights, 2):
            if other.startswith(one):
                raise ConfigError(
                    f"RegMix would read the files of {other} as those of {one}, too: they begin with train_{one}",
                    hint="rename one of the domains",
                )
        content = {
            "train": {f"train_{domain}": weight for domain, weight in weights.items()},
            # Each is evaluated by itself; the number does not matter.
            "valid": {f"valid_{domain}": 1.0 for domain in weights},
        }
        return yaml_text(content)

    def read(self, text: str) -> Weights:
        return [(name.removeprefix("train_"), weight) for name, weight in plain_yaml.load(text)["train"].items()]
