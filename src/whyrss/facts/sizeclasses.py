"""The size classes of Go's small objects. Data only.

Source: runtime/sizeclasses.go (from Go 1.26 on internal/runtime/gc/sizeclasses.go), the same on all architectures.
A larger object has a span of its own, of whole 8 KiB pages.
"""

from __future__ import annotations

# Bytes of an object of each class; class 0 stands for large objects.
SIZES: tuple[int, ...] = (
    *(0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416),
    *(448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200),
    *(3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384),
    *(18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768),
)

# Pages of 8 KiB in a span of each class.
SPAN_PAGES: tuple[int, ...] = (
    *(0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    *(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 2, 1, 2, 1, 3, 2),
    *(3, 1, 3, 2, 3, 4, 5, 6, 1, 7, 6, 5, 4, 3, 5, 7, 2),
    *(9, 7, 5, 8, 3, 10, 7, 4),
)

# (first Go 1.minor that has the class, size in bytes): commit 7c58ef732e, "implement tiny memory class of 24 bytes".
ADDED: tuple[tuple[int, int], ...] = ((16, 24),)
