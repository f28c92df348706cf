"""The Gaussian process that losses are learned with: its hyperparameters, its kernel, and how it is fitted."""
