"""Which networks are exported, and how large their images are."""

from __future__ import annotations

EXPORTERS = {"torch": ("torchscript", "dynamo"), "keras": ("keras",)}
SIDE = 64
TORCHVISION = (
    "resnet18", "resnet50", "resnext50_32x4d", "densenet121", "alexnet", "squeezenet1_1", "googlenet", "inception_v3",
    "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "efficientnet_v2_s", "mnasnet1_0", "shufflenet_v2_x1_0",
    "regnet_y_400mf", "convnext_tiny", "swin_t", "swin_v2_t", "mnasnet0_5", "regnet_x_400mf"
)  # fmt: skip
TIMM = (
    "convnext_atto", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "mixer_s32_224", "levit_128s",
    "mobilevit_xxs", "mobilenetv4_conv_small", "repvgg_a0", "ghostnet_100", "xception41", "nfnet_l0", "fastvit_t8",
    "tf_efficientnet_lite0", "seresnet50", "resnetv2_50x1_bit", "efficientvit_b0", "poolformer_s12",
    "coat_lite_tiny", "vit_small_patch14_reg4_dinov2", "hrnet_w18_small", "dla34", "edgenext_xx_small", "rexnet_100",
    "tinynet_a", "eva02_tiny_patch14_224", "maxvit_rmlp_pico_rw_256", "vit_wee_patch16_reg1_gap_256", "pit_ti_224",
)  # fmt: skip
# What is too small otherwise, or whose patches are of another size.
SIDES = {
    "alexnet": 224, "inception_v3": 96, "levit_128s": 128, "vit_small_patch14_reg4_dinov2": 70,
    "eva02_tiny_patch14_224": 70,
}  # fmt: skip
# Of which too many units stand at the kink of their Relu with random weights.
CALM = ("resnet50", "resnetv2_50x1_bit")
# Whose variances are far below 1 with random weights.
FLAT = (
    "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "mnasnet1_0", "mnasnet0_5", "googlenet",
)  # fmt: skip
KERAS = (
    "keras_MobileNetV2", "keras_MobileNetV3Large", "keras_MobileNetV3Small", "keras_EfficientNetB0",
    "keras_EfficientNetV2B0", "keras_ResNet50", "keras_ResNet50V2", "keras_VGG16", "keras_InceptionV3",
    "keras_Xception",
    "keras_DenseNet121", "keras_NASNetMobile", "keras_ConvNeXtTiny",
)  # fmt: skip
KERAS_SIDES = {"keras_InceptionV3": 96, "keras_Xception": 96}
