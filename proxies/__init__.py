"""Small language models trained on mixtures of text: data, models and the training loop."""
