"""mixopt: from pools of text to the mixture that a language model should be trained on."""

__version__ = "0.1.0"
