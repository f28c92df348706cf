"""What every acquisition is: from what is believed of all mixtures to how much one of them is worth training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from botorch.acquisition.acquisition import AcquisitionFunction

    from search.acquisitions.outlook import Outlook


class Acquisition(ABC):
    """
    Attributes:
        by_metric: it wants a process for each metric; otherwise the outlook has a single one, of the objective.
    """

    by_metric: ClassVar[bool] = True

    @abstractmethod
    def function(self, outlook: Outlook, sampled_ND: Float[np.ndarray, "N D"]) -> AcquisitionFunction:
        """From mixtures [..., 1, D] to how much they are worth training, [...]; more is better.

        Args:
            sampled_ND: mixtures that stand for all that there are.
        """
