"""InceptionV3: "Rethinking the Inception Architecture for Computer Vision" (Szegedy et al., 2015).

Layers carry the names of torchvision's modules, so that the canonical weight names are torchvision's
(`Mixed_5b.branch1x1.conv.weight`). Within each block they stand in the order in which Keras creates its numbered
layers, which is the same in both: the reader of Keras files relies on it.
"""

from __future__ import annotations

from typing import Literal, get_args

from models.architectures.blueprint import Blueprint
from models.names import LOGITS

Variant = Literal["torchvision", "keras"]
INPUT_SIZE = (299, 299)


def inception_v3(classes: int = 1000, variant: Variant = "torchvision") -> Blueprint:
    """Blueprint of InceptionV3 as `variant` defines it.

    The published networks differ in one thing: at the border, torchvision and timm count the padding in the mean of
    the pooled branches (`avg_pool2d(x, 3, 1, 1)`), Keras does not (`AveragePooling2D(padding="same")`). Every cut
    point but `pool` and `logits` is named as TF-slim names its end points, in small letters.

    Raises:
        ValueError: an unknown variant.
    """
    if variant not in get_args(Variant):
        raise ValueError(f"variant is {variant!r}; expected one of {', '.join(get_args(Variant))}")
    b = Blueprint(INPUT_SIZE, batch_norm_epsilon=1e-3)

    def pooled(x: str, name: str, filters: int) -> str:
        """The branch that all blocks but the reductions end with: a 3x3 mean, then a 1x1."""
        mean = b.avg_pool(x, f"{name}.avg_pool", 3, 1, 1, count_include_pad=variant == "torchvision")
        return b.conv(mean, f"{name}.branch_pool", filters)

    def block_a(x: str, name: str, pool: int) -> str:
        """35x35: 1x1, 5x5, a double 3x3 and the pooled branch."""
        one = b.conv(x, f"{name}.branch1x1", 64)
        five = b.conv(x, f"{name}.branch5x5_1", 48)
        five = b.conv(five, f"{name}.branch5x5_2", 64, 5)
        three = b.conv(x, f"{name}.branch3x3dbl_1", 64)
        three = b.conv(three, f"{name}.branch3x3dbl_2", 96, 3)
        three = b.conv(three, f"{name}.branch3x3dbl_3", 96, 3)
        return b.cut(b.concat([one, five, three, pooled(x, name, pool)], name), name.lower())

    def block_b(x: str, name: str) -> str:
        """35x35 to 17x17."""
        three = b.conv(x, f"{name}.branch3x3", 384, 3, 2, 0)
        double = b.conv(x, f"{name}.branch3x3dbl_1", 64)
        double = b.conv(double, f"{name}.branch3x3dbl_2", 96, 3)
        double = b.conv(double, f"{name}.branch3x3dbl_3", 96, 3, 2, 0)
        largest = b.max_pool(x, f"{name}.max_pool", 3, 2)
        return b.cut(b.concat([three, double, largest], name), name.lower())

    def block_c(x: str, name: str, inner: int) -> str:
        """17x17: 1x1, a 7x7 as 1x7 and 7x1, that twice over, and the pooled branch."""
        one = b.conv(x, f"{name}.branch1x1", 192)
        seven = b.conv(x, f"{name}.branch7x7_1", inner)
        seven = b.conv(seven, f"{name}.branch7x7_2", inner, (1, 7))
        seven = b.conv(seven, f"{name}.branch7x7_3", 192, (7, 1))
        double = b.conv(x, f"{name}.branch7x7dbl_1", inner)
        double = b.conv(double, f"{name}.branch7x7dbl_2", inner, (7, 1))
        double = b.conv(double, f"{name}.branch7x7dbl_3", inner, (1, 7))
        double = b.conv(double, f"{name}.branch7x7dbl_4", inner, (7, 1))
        double = b.conv(double, f"{name}.branch7x7dbl_5", 192, (1, 7))
        return b.cut(b.concat([one, seven, double, pooled(x, name, 192)], name), name.lower())

    def block_d(x: str, name: str) -> str:
        """17x17 to 8x8."""
        three = b.conv(x, f"{name}.branch3x3_1", 192)
        three = b.conv(three, f"{name}.branch3x3_2", 320, 3, 2, 0)
        seven = b.conv(x, f"{name}.branch7x7x3_1", 192)
        seven = b.conv(seven, f"{name}.branch7x7x3_2", 192, (1, 7))
        seven = b.conv(seven, f"{name}.branch7x7x3_3", 192, (7, 1))
        seven = b.conv(seven, f"{name}.branch7x7x3_4", 192, 3, 2, 0)
        largest = b.max_pool(x, f"{name}.max_pool", 3, 2)
        return b.cut(b.concat([three, seven, largest], name), name.lower())

    def block_e(x: str, name: str) -> str:
        """8x8: 1x1, a 3x3 and a double 3x3, each split at its end into 1x3 and 3x1, and the pooled branch."""
        one = b.conv(x, f"{name}.branch1x1", 320)
        three = b.conv(x, f"{name}.branch3x3_1", 384)
        wide = b.conv(three, f"{name}.branch3x3_2a", 384, (1, 3))
        tall = b.conv(three, f"{name}.branch3x3_2b", 384, (3, 1))
        double = b.conv(x, f"{name}.branch3x3dbl_1", 448)
        double = b.conv(double, f"{name}.branch3x3dbl_2", 384, 3)
        double_wide = b.conv(double, f"{name}.branch3x3dbl_3a", 384, (1, 3))
        double_tall = b.conv(double, f"{name}.branch3x3dbl_3b", 384, (3, 1))
        branches = [one, wide, tall, double_wide, double_tall, pooled(x, name, 192)]
        return b.cut(b.concat(branches, name), name.lower())

    x = b.cut(b.conv(b.INPUT, "Conv2d_1a_3x3", 32, 3, 2, 0), "conv2d_1a_3x3")
    x = b.cut(b.conv(x, "Conv2d_2a_3x3", 32, 3, 1, 0), "conv2d_2a_3x3")
    x = b.cut(b.conv(x, "Conv2d_2b_3x3", 64, 3), "conv2d_2b_3x3")
    x = b.cut(b.max_pool(x, "maxpool1", 3, 2), "maxpool_3a_3x3")
    x = b.cut(b.conv(x, "Conv2d_3b_1x1", 80), "conv2d_3b_1x1")
    x = b.cut(b.conv(x, "Conv2d_4a_3x3", 192, 3, 1, 0), "conv2d_4a_3x3")
    x = b.cut(b.max_pool(x, "maxpool2", 3, 2), "maxpool_5a_3x3")
    x = block_a(x, "Mixed_5b", 32)
    x = block_a(x, "Mixed_5c", 64)
    x = block_a(x, "Mixed_5d", 64)
    x = block_b(x, "Mixed_6a")
    x = block_c(x, "Mixed_6b", 128)
    x = block_c(x, "Mixed_6c", 160)
    x = block_c(x, "Mixed_6d", 160)
    x = block_c(x, "Mixed_6e", 192)
    x = block_d(x, "Mixed_7a")
    x = block_e(x, "Mixed_7b")
    x = block_e(x, "Mixed_7c")
    x = b.cut(b.global_pool(x, "avgpool"), "pool")
    x = b.dropout(x, "dropout", 0.5)
    b.cut(b.dense(x, "fc", classes), LOGITS)
    return b
