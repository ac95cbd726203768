"""What the tensors of our networks are called."""

from __future__ import annotations

# The one input of a whole network, uint8 (N, H, W, 3), RGB.
INPUT = "image"
# The one input of a fine-tuned top, float32 (N, ...): what the trunk below it gives.
FEATURES = "features"
# A cut point of fine-tuned models, float32 (N, D): the vector that the last layer reads.
EMBEDDING = "embedding"
# A cut point of imported networks, (N, D): the mean over all positions, where the classifier reads that.
POOL = "pool"
# A cut point of imported networks with several heads whose logits are averaged, (N, D): the mean of what they read.
PRE_LOGITS = "pre_logits"
# Outputs of classifiers, float32 (N, classes).
LOGITS = "logits"
PROBABILITIES = "probabilities"
# Float32 (N,): the larger, the less is an image like any known class.
REJECT_SCORE = "reject_score"
# Float32 (N, R): the embedding along the axes on which the training images vary most; see `models.reference`.
PROJECTION = "projection"
# Float32 (N,): the output of a regression, in the unit of its target.
VALUE = "value"
