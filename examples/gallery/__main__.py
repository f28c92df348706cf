"""Build the gallery: `python -m examples.gallery [NAME ...] [--short] [--output DIR]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.gallery.studies import GALLERY
from examples.gallery.worked import GalleryError


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.gallery", description="Five worked studies; docs/gallery/."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(GALLERY)}; default: all")
    parser.add_argument("--short", action="store_true", help="seconds of training, whose answers mean nothing")
    parser.add_argument("--output", type=Path, default=Path("gallery"), help="a folder; default: gallery")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in GALLERY]:
        print(f"error: no study {unknown[0]} in the gallery; it has {', '.join(GALLERY)}", file=sys.stderr)
        return 2
    for name in asked.names or GALLERY:
        folder = asked.output / (f"{name}-short" if asked.short else name)
        try:
            GALLERY[name].build(folder, asked.short)
        except GalleryError as error:
            print(f"error: {error}; what is done is kept: run it again", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
