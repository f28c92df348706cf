"""Mathematics on histories of trials: what was measured, and what to try next."""
