"""Mixtures to begin with: baselines, and designs that need no result, one file each."""
