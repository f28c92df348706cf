"""What commands answer: one frozen value for each, whose dump is what `--json` prints.

The code that finds an answer builds its value; tables, report, exports and Python programs read it. This floor knows
nothing of how an answer is found: what `search` says is turned into values by the `of` of each class.
"""
