#!/usr/bin/env bash
# One would guess: compression without loss does not change what Pillow reads from a TIFF file.
# What happens (Pillow 13.0.0): of a big-endian file ("MM") with deflate, floats of 32 bits and
# signed whole numbers of 16 and 32 bits come out with their bytes swapped: 1.0 is read as 4.6e-41, 1000 as -402456576.
# There is no error. The same file without compression, or in the little-endian order, is right. libtiff hands values over
# in the machine's order, and Pillow swaps them again; for unsigned 16 bits and for colours it knows that.
# Why it matters: height maps, depth maps and microscope images are such files. Read so they are noise or black.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/environment"
"$folder/environment/bin/pip" install --quiet pillow==13.0.0 numpy
"$folder/environment/bin/python" - <<'PY'
import io
import struct
import zlib

import numpy as np
import PIL
from PIL import Image

print("pillow", PIL.__version__)


def tiff(values, kind, packed):
    """A big-endian TIFF file of one row; `kind` is the sample format: 1 unsigned, 2 signed, 3 float."""
    data = values.tobytes()
    data = zlib.compress(data) if packed else data
    tags = [(256, 4, len(values)), (257, 4, 1), (258, 3, 8 * values.itemsize), (259, 3, 8 if packed else 1)]
    tags += [(262, 3, 1), (273, 4, 0), (277, 3, 1), (278, 4, 1), (279, 4, len(data)), (339, 3, kind)]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack(">HHI", tag, size, 1)
        + (struct.pack(">I", start if tag == 273 else value) if size == 4 else struct.pack(">HH", value, 0))
        for tag, size, value in tags
    )
    return b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + bytes(4) + data


def read(data):
    return np.asarray(Image.open(io.BytesIO(data)))[0].tolist()


cases = [(">f4", 3, [0.0, 0.25, 1.0]), (">i2", 2, [-2, 0, 1000]), (">i4", 2, [-2, 0, 1000]), (">u2", 1, [0, 1000, 65535])]
for dtype, kind, values in cases:
    plain, packed = (read(tiff(np.array(values, dtype), kind, way)) for way in (False, True))
    print(f"{dtype}: plain {plain}, deflate {packed}")
    assert plain == values and (packed == values) == (dtype == ">u2")
PY
