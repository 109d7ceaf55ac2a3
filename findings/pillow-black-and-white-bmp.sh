#!/usr/bin/env bash
# One would guess: a BMP file is read alike whether its palette of black and white says 2 or 256 colours.
# What happens (Pillow 13.0.0): with 8 bits a pixel and a palette of exactly two entries, black and white, Pillow opens the
# file as mode "1" and reads its bytes as bits. The pixels 0, 1, 1, 0 become 0, 0, 0, 0, without an error. The same pixels
# under a palette of black and red, or of 256 entries, are right; so is FFmpeg's decoder on the very file. With 4 bits and
# the 16 darkest greys, pairs of pixels are read as one. Pillow writes such files itself and reads them back black.
# Why it matters: such files are masks. A mask that is empty, or half wide, trains a model to find nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/environment"
"$folder/environment/bin/pip" install --quiet pillow==13.0.0 av==18.1.0 numpy
"$folder/environment/bin/python" - <<'PY'
import io
import struct

import av
import numpy as np
import PIL
from PIL import Image

print("pillow", PIL.__version__, "av", av.__version__)


def bmp(bits, palette, row):
    """One row of four pixels; `palette` is a list of (red, green, blue)."""
    table = b"".join(bytes([blue, green, red, 0]) for red, green, blue in palette)
    start = 14 + 40 + len(table)
    header = struct.pack("<IiiHHIIiiII", 40, 4, 1, 1, bits, 0, len(row), 0, 0, len(palette), 0)
    return b"BM" + struct.pack("<IHHI", start + len(row), 0, 0, start) + header + table + row


def pillow(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[0, :, 0].tolist()


def ffmpeg(data):
    with av.open(io.BytesIO(data), format="bmp_pipe") as file:
        return next(file.decode(video=0)).to_ndarray(format="rgb24")[0, :, 0].tolist()


greys = [(value,) * 3 for value in range(256)]
two = bmp(8, [(0, 0, 0), (255, 255, 255)], b"\0\1\1\0")
red = bmp(8, [(0, 0, 0), (255, 0, 0)], b"\0\1\1\0")
many = bmp(8, [(0, 0, 0), (255, 255, 255), *greys[2:]], b"\0\1\1\0")
dark = bmp(4, greys[:16], b"\x12\x34\0\0")
for name, data in (("black, white", two), ("black, red", red), ("256 entries", many), ("4 bits, 16 greys", dark)):
    print(f"{name}: Pillow {pillow(data)}, FFmpeg {ffmpeg(data)}")
picture, file = Image.new("P", (4, 1)), io.BytesIO()
picture.putpalette([0, 0, 0, 255, 255, 255])
picture.putdata([0, 1, 1, 0])
picture.save(file, "BMP")
print(f"saved by Pillow: Pillow {pillow(file.getvalue())}, FFmpeg {ffmpeg(file.getvalue())}")
assert pillow(file.getvalue()) == [0, 0, 0, 0] and ffmpeg(file.getvalue()) == [0, 255, 255, 0]
assert ffmpeg(two) == pillow(red) == pillow(many) == [0, 255, 255, 0] and pillow(two) == [0, 0, 0, 0]
assert ffmpeg(dark) == [1, 2, 3, 4] and pillow(dark) == [0x12, 0x34, 0, 0]
PY
