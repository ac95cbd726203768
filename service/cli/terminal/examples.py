"""Command lines at the end of each command's help, by the module of the command."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "service.cli.classify": (
        "graft classify photo.jpg",
        "graft classify photos --top-k 1 --csv > answers.csv",
        "graft classify --model my_photos-model/model.onnx 'photos/*.jpg'",
    ),
    "service.cli.dataset": ("graft dataset inspect my_photos",),
    "service.cli.dataset.inspect": (
        "graft dataset inspect my_photos",
        "graft dataset inspect labels.csv --images photos",
    ),
    "service.cli.dataset.clean": (
        "graft dataset clean my_photos --out clean.csv",
        "graft finetune clean.csv",
    ),
    "service.cli.evaluate.command": (
        "graft evaluate --model my_photos-model/model.onnx test_photos",
        "graft evaluate --model model.onnx my_photos --split test --report evaluation.html",
    ),
    "service.cli.explain": (
        "graft explain photo.jpg --label 'tiger cat'",
        "graft explain photo.jpg --model my_photos-model/model.onnx --out why.png",
    ),
    "service.cli.features.command": (
        "graft features photos --out vectors",
        "graft features photos.zip --model mobilenet_v2 --format npz --out vectors",
        "graft features photos --out vectors --resume",
        "graft features photos --out vectors --part 3/8",
        "graft features photos --out vectors --merge",
    ),
    "service.cli.finetune.command": (
        "graft finetune my_photos",
        "graft finetune my_photos --model mobilenet_v2 --out mine",
        "graft finetune my_photos --try builtin,mobilenet_v2,resnet18_v1",
        "graft finetune weights.csv --task regression",
        "graft finetune my_photos --out mine --resume",
        "graft finetune my_photos --method blocks --workers 2",
    ),
    "service.cli.report": (
        "graft report mine",
        "graft finetune my_photos --no-report --out mine",
    ),
    "service.cli.models": ("graft models list", "graft models pull mobilenet_v2"),
    "service.cli.models.listing": ("graft models list",),
    "service.cli.models.info": ("graft models info builtin", "graft models info my_photos-model/model.onnx"),
    "service.cli.models.cuts": ("graft models cuts builtin",),
    "service.cli.models.pull": (
        "graft models pull mobilenet_v2",
        "graft models pull resnet18_v1 shufflenet_v2",
    ),
    "service.cli.models.importing": (
        "graft models import network.onnx --labels labels.txt --out mine.onnx",
        "graft models import network.onnx --check photo.jpg",
        "graft models import network.onnx --scale 0..255 --channels bgr --resize pad:224x224",
    ),
    "service.cli.models.quantize": ("graft models quantize mine.onnx --calibrate photos --out small.onnx",),
    "service.cli.models.any_size": (
        "graft models any-size my_photos-model/model.onnx --out phone.onnx",
        "graft models any-size mobilenet_v2 --out web.onnx",
    ),
    "service.cli.serve.command": (
        "graft serve my_photos-model/model.onnx --port 8000",
        "graft serve --config graft.toml --check",
    ),
    "service.cli.teach": ("graft teach",),
    "service.cli.token": ("graft token infer --name camera --out tokens.txt",),
    "service.cli.cache": ("graft cache info",),
    "service.cli.cache.info": ("graft cache info",),
    "service.cli.cache.clear": ("graft cache clear",),
    "service.cli.doctor": ("graft doctor",),
}
