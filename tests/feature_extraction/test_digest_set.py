"""Texts that have come before."""

from __future__ import annotations

from feature_extraction.digest_set import DigestSet


def test_set_tells_what_is_new_however_much_it_holds() -> None:
    seen, known = DigestSet(), set[str]()
    for i in range(20_000):
        text = f"{i * i % 7_919}.png"
        assert seen.add(text) == (text not in known)
        known.add(text)
    assert seen.add("\ud800")
    assert not seen.add("\ud800")


def test_text_takes_some_bytes_only() -> None:
    seen = DigestSet()
    for i in range(20_000):
        seen.add(f"{i:0200}")
    assert seen._table.buffer_info()[1] * seen._table.itemsize <= 20_000 * 32


def test_digests_that_meet_in_one_place_stay_apart() -> None:
    seen = DigestSet()
    last = len(seen._table) - 1
    seen._table[last] = last  # all that belong there begin again at the first place
    assert seen._place(last) == last
    assert seen._place(last | 1 << 40) == 0
