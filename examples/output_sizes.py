"""How large the result of a convolution is: SAME and VALID padding on images of 28x28.

Known answers: SAME gives input / stride, rounded up, whatever the window; VALID gives (input - window) / stride,
rounded down, plus 1. So SAME with stride 1 keeps 28; VALID with 3x3 leaves 26, and 13 with stride 2.
"""

from __future__ import annotations

import numpy as np

from graft import autodiff as ad

ROWS = [  # padding, window, stride -> size
    ("SAME", 3, 1, 28),
    ("SAME", 5, 1, 28),
    ("SAME", 3, 2, 14),
    ("SAME", 4, 3, 10),
    ("VALID", 3, 1, 26),
    ("VALID", 5, 1, 24),
    ("VALID", 3, 2, 13),
    ("VALID", 28, 1, 1),
]


def main() -> None:
    with ad.Graph() as graph:
        images = ad.placeholder((None, 1, 28, 28), name="images")
        results = [
            ad.layers.conv2d(images, 1, window, strides=stride, padding=padding)
            for padding, window, stride, _ in ROWS
        ]
    values = ad.Session(graph, "cpu").run(results, {images: np.zeros((2, 1, 28, 28), np.float32)})
    print("padding  window  stride  size")
    for (padding, window, stride, size), result, value in zip(ROWS, results, values, strict=True):
        print(f"{padding:7}  {window:2}x{window:<3}  {stride:6}  {size:4}")
        assert result.shape == (None, 1, size, size)  # known before anything runs
        assert value.shape == (2, 1, size, size)


if __name__ == "__main__":
    main()
