"""Where a search starts: baselines, and mixtures drawn over the whole space."""
