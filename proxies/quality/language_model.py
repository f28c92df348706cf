"""How well a small language model of good text expects a text: minus nats per byte.

A proxy of this package is trained on the good set, cheaply, and measures the first row of each text, from its
beginning, so that a score depends on no neighbour. CCNet does it with n-grams of Wikipedia (G. Wenzek et al., arXiv
1911.00359, 2019).

B rows, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from proxies import device
from proxies.data.tokenizer import train_tokenizer
from proxies.errors import ProxyError
from proxies.models.size import model_size
from proxies.pack import Pack
from proxies.quality.base import Scorer
from proxies.recipe import recipe
from proxies.schedule import learning_rate_share
from proxies.targets import IGNORED

VOCABULARY = 2048
LENGTH = 256  # tokens of a row
# The training: so many passes through the good set, and so many tokens at most.
PASSES, MOST_TOKENS = 4, 2_000_000
FEWEST_ROWS = 8


class LanguageModel(Scorer):
    """
    Raises:
        ProxyError: the good set is too short to learn from.
    """

    def __init__(self, good: Sequence[str], seed: int) -> None:
        self._tokenizer = train_tokenizer(good, VOCABULARY)
        end = self._tokenizer.end_of_text_id
        tokens = [each.tokens_N for each in self._tokenizer.encode([(None, text) for text in good])]
        stream_N = np.fromiter(chain([end], *tokens), dtype=np.int64)
        rows = (len(stream_N) - 1) // LENGTH
        if rows < FEWEST_ROWS:
            raise ProxyError(
                f"the good set has {len(stream_N):,} tokens, too few for a language model",
                hint=f"give it {FEWEST_ROWS * LENGTH:,} or more, or choose another scorer",
            )
        size = model_size("dense", 2, self._tokenizer.vocabulary, LENGTH)
        # In full precision, so that scores do not depend on the processor.
        self._recipe = recipe(size, min(PASSES * rows * LENGTH, MOST_TOKENS), precision="fp32")
        self._pack = Pack(self._recipe, [seed])
        inputs_BT = torch.as_tensor(stream_N[: rows * LENGTH]).view(rows, LENGTH)
        targets_BT = torch.as_tensor(stream_N[1 : rows * LENGTH + 1]).view(rows, LENGTH)
        generator, order = np.random.default_rng(seed), np.empty(0, dtype=np.int64)
        with device.one_thread():
            for step in range(self._recipe.steps):
                while len(order) < self._recipe.batch_rows:
                    order = np.append(order, generator.permutation(rows))
                now, order = np.split(order, [self._recipe.batch_rows])
                share = learning_rate_share(
                    step,
                    self._recipe.steps,
                    warmup_share=self._recipe.warmup_share,
                    decay_share=self._recipe.decay_share,
                )
                rate = self._recipe.learning_rate * share
                self._pack.step(inputs_BT[now][None], targets_BT[now][None], torch.tensor([rate]))

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        found = self._tokenizer.encode([(None, text[: 8 * LENGTH]) for text in texts])
        rows_BT = np.full((len(texts), LENGTH + 1), self._tokenizer.end_of_text_id, dtype=np.int64)
        counted_BT = np.zeros((len(texts), LENGTH), dtype=bool)
        bytes_B = np.ones(len(texts))
        for row, each in enumerate(found):
            # Behind an end of text, as where a document begins; its own end is not expected of a piece.
            tokens_N = each.tokens_N[:-1][:LENGTH]
            rows_BT[row, 1 : len(tokens_N) + 1] = tokens_N
            counted_BT[row, : len(tokens_N)] = True
            bytes_B[row] = max(each.text_bytes * len(tokens_N) / max(len(each.tokens_N) - 1, 1), 1)
        targets_BT = torch.as_tensor(np.where(counted_BT, rows_BT[:, 1:], IGNORED))
        with device.one_thread():
            (losses,) = self._pack.evaluated(0, torch.as_tensor(rows_BT[None, :, :-1]), targets_BT[None])
        nats_B = (losses.nats_BT * torch.as_tensor(counted_BT)).double().sum(dim=1).numpy()
        return np.asarray(-nats_B / bytes_B, dtype=np.float64)
