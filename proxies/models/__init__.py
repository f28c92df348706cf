"""The proxy: a small decoder language model, dense or mixture of experts."""
