"""What a part is made of."""

from __future__ import annotations

import numpy as np

from feature_extraction.part_files import part_size, stem


def test_names_sort_as_numbers_do_however_many_there_are() -> None:
    numbers = [0, 9, 99_999, 100_000, 100_001, 999_999, 1_000_000, 12_345_678]
    names = [stem(number) for number in numbers]
    assert names == sorted(names)
    assert names[:4] == ["part-00000", "part-00009", "part-99999", "part-a100000"]


def test_parts_hold_whole_batches_and_no_more_than_fits() -> None:
    assert part_size({"pool": np.empty((0, 2048), np.float32)}, 8) == 1024
    assert part_size({"pool": np.empty((0, 2048), np.float32)}, 100) == 1000
    assert part_size({"map": np.empty((0, 35, 35, 192), np.float32)}, 8) == 32
    assert part_size({"map": np.empty((0, 35, 35, 192), np.float32)}, 64) == 64
    assert part_size({"pool": np.empty((0, 3), np.float32)}, 8, 20) == 16
