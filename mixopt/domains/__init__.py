"""From a heap of documents to a study: `mixopt domains`."""
