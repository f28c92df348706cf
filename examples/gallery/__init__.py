"""Five worked studies, on text of this machine: `python -m examples.gallery`, and the pages in docs/gallery/."""
