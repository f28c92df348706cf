"""No job waits in an inbox that nobody looks into any more."""

from __future__ import annotations

from mixopt.workers.ray_inboxes import Inboxes

A, B, C = (b"a", b"b", b"c")  # whatever is put in


def test_jobs_are_taken_in_order_and_once() -> None:
    inboxes = Inboxes()
    assert inboxes.put("one", [A, B]) and inboxes.put("one", [C]) and inboxes.put("other", [A])
    assert inboxes.take("one", 2, last=False) == [A, B]
    assert inboxes.take("one", 2, last=False) == [C]
    assert inboxes.take("one", 2, last=False) == []
    assert inboxes.take("other", 2, last=False) == [A]


def test_an_inbox_is_closed_by_a_last_look_that_finds_nothing() -> None:
    inboxes = Inboxes()
    assert inboxes.put("one", [A])
    assert inboxes.take("one", 1, last=True) == [A]
    assert inboxes.put("one", [B]), "something was found, so it was not the last look"
    assert inboxes.take("one", 1, last=False) == [B]
    assert inboxes.take("one", 1, last=True) == []
    assert not inboxes.put("one", [C])
    assert inboxes.take("one", 1, last=False) is None
    inboxes.close("two")
    assert not inboxes.put("two", [C])
    assert inboxes.put("other", [C])
