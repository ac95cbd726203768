"""graft-mini: the built-in network, an Inception-style trunk of about 300 million multiply-adds at 128 px.

Factorised convolutions and parallel branches as in "Rethinking the Inception Architecture for Computer Vision"
(Szegedy et al., 2015), with the widths cut down. The last block ends in 1,280 channels because that is the
width of the `mixed_7a` features of InceptionV3, which the training script has them imitate.
"""

from __future__ import annotations

from models.architectures.blueprint import Blueprint, Pair
from models.names import LOGITS

FEATURES = 1280


def graft_mini(classes: int = 200, input_size: Pair = (128, 128)) -> Blueprint:
    """Blueprint of graft-mini. Widths are multiples of 16, the block size of the convolution kernels."""
    b = Blueprint(input_size, batch_norm_epsilon=1e-5)

    def block_a(x: str, name: str, c1: int, c3: int, c5: int, pool: int) -> str:
        """Four branches at one size: 1x1, 3x3, a double 3x3 and a pooled 1x1."""
        one = b.conv(x, f"{name}_1x1", c1)
        three = b.conv(x, f"{name}_3x3_reduce", c1)
        three = b.conv(three, f"{name}_3x3", c3, 3)
        five = b.conv(x, f"{name}_5x5_reduce", c1)
        five = b.conv(five, f"{name}_5x5_1", c5, 3)
        five = b.conv(five, f"{name}_5x5_2", c5, 3)
        pooled = b.avg_pool(x, f"{name}_avg_pool", 3, 1, 1)
        pooled = b.conv(pooled, f"{name}_pool", pool)
        return b.cut(b.concat([one, three, five, pooled], name), name)

    def block_c(x: str, name: str, inner: int, outer: int) -> str:
        """Four branches at one size: 1x1, a 7x7 as 1x7 and 7x1, a 7x7 followed by a 3x3, a pooled 1x1."""
        one = b.conv(x, f"{name}_1x1", outer)
        seven = b.conv(x, f"{name}_7x7_reduce", inner)
        seven = b.conv(seven, f"{name}_7x7_1x7", inner, (1, 7))
        seven = b.conv(seven, f"{name}_7x7_7x1", outer, (7, 1))
        deep = b.conv(x, f"{name}_deep_reduce", inner)
        deep = b.conv(deep, f"{name}_deep_7x1", inner, (7, 1))
        deep = b.conv(deep, f"{name}_deep_1x7", inner, (1, 7))
        deep = b.conv(deep, f"{name}_deep_3x3", outer, 3)
        pooled = b.avg_pool(x, f"{name}_avg_pool", 3, 1, 1)
        pooled = b.conv(pooled, f"{name}_pool", outer)
        return b.cut(b.concat([one, seven, deep, pooled], name), name)

    def reduction(x: str, name: str, c3: int, c5: int) -> str:
        """Halve the maps: a strided 3x3, a strided double 3x3 and a max-pool side by side."""
        three = b.conv(x, f"{name}_3x3_reduce", c3)
        three = b.conv(three, f"{name}_3x3", c3, 3, 2)
        five = b.conv(x, f"{name}_5x5_reduce", c5)
        five = b.conv(five, f"{name}_5x5_1", c5, 3)
        five = b.conv(five, f"{name}_5x5_2", c5, 3, 2)
        pooled = b.max_pool(x, f"{name}_max_pool", 3, 2, 1)
        return b.cut(b.concat([three, five, pooled], name), name)

    x = b.conv(b.INPUT, "stem_1", 16, 3, 2)  # 128 -> 64
    x = b.conv(x, "stem_2", 48, 3, 2)  # 64 -> 32
    x = b.cut(b.conv(x, "stem_3", 64, 3), "stem")
    x = reduction(x, "reduce_1", 48, 48)  # 32 -> 16
    x = block_a(x, "mixed_1", 48, 64, 64, 32)
    x = block_a(x, "mixed_2", 48, 64, 64, 32)
    x = reduction(x, "reduce_2", 80, 80)  # 16 -> 8
    x = block_c(x, "mixed_3", 80, 96)
    x = block_c(x, "mixed_4", 80, 96)
    x = block_c(x, "mixed_5", 80, 96)
    x = reduction(x, "reduce_3", 128, 112)  # 8 -> 4
    x = block_a(x, "mixed_6", 112, 144, 144, 80)
    x = block_a(x, "mixed_7", 112, 144, 144, 80)
    x = b.conv(x, "features", FEATURES)
    x = b.cut(b.global_pool(x, "pool"), "pool")
    x = b.dropout(x, "dropout", 0.2)
    b.cut(b.dense(x, "fc", classes), LOGITS)
    return b
