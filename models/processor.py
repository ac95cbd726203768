"""Which kind of processor computes: onnxruntime has kernels for several, whose last bits differ."""

from __future__ import annotations

import platform
from pathlib import Path

# What onnxruntime chooses its kernels by (onnxruntime/core/mlas/lib/platform.cpp), as Linux names it.
_X86 = (
    "avx avx2 fma f16c avx512f avx512bw avx512dq avx512vl avx512_vnni avx_vnni avx_vnni_int8 avx512_bf16 "
    "amx_tile amx_int8"
)
_ARM = "asimd asimdhp asimddp i8mm bf16 sve sve2 sme sme2"
_KNOWN = frozenset(f"{_X86} {_ARM}".split())
_HEADINGS = ("flags", "Features")  # of x86 and of ARM


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """The architecture and what onnxruntime looks for in it, such as "x86_64 avx avx2 f16c fma".

    Processors of the same kind compute the same bits. Where the system does not list what its processor has, the name
    of the processor stands for it.
    """
    return f"{platform.machine()} {' '.join(_features(info)) or platform.processor()}".strip()


def _features(info: Path) -> list[str]:
    try:
        with info.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                heading, _, names = line.partition(":")
                if heading.strip() in _HEADINGS:
                    return sorted(_KNOWN & set(names.split()))
    except OSError:
        pass
    return []
