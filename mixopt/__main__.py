"""`python -m mixopt`, for where the command is not on the PATH."""

from mixopt.cli.main import main

main()
