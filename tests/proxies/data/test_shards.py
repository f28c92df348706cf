"""Several files of tokens are one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from proxies.data.shards import TokenArray

LENGTHS = (7, 1, 12, 30)


def test_windows_are_the_slices_that_begin_there(tmp_path: Path) -> None:
    """Also those that lie in several files."""
    tokens_N = np.arange(sum(LENGTHS), dtype=np.uint16)
    files = [tmp_path / str(number) for number in range(len(LENGTHS))]
    for file, part_N in zip(files, np.split(tokens_N, np.cumsum(LENGTHS)[:-1]), strict=True):
        part_N.tofile(file)
    array = TokenArray(files, LENGTHS, np.dtype(np.uint16))

    @given(length=st.integers(1, 12), data=st.data())
    def check(length: int, data: st.DataObject) -> None:
        starts = data.draw(st.lists(st.integers(0, len(tokens_N) - length), max_size=9))
        windows_NL = array.windows(np.array(starts, dtype=np.int64), length)
        assert windows_NL.shape == (len(starts), length) and windows_NL.dtype == np.uint16
        for start, window_L in zip(starts, windows_NL, strict=True):
            assert window_L.tolist() == array[start : start + length].tolist() == list(range(start, start + length))

    check()
