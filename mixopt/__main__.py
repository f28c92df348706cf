"""`python -m mixopt`, for where the command is not on the PATH."""

import sys
from pathlib import Path

import mixopt

# Python puts the folder that it is started in on the path. It may be one of data, and a file in it that is called as a
# module would be run in its place.
if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(mixopt.__file__).resolve().parents[1]:
    del sys.path[0]

from mixopt.program import main

main()
