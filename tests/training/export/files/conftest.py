"""Files of every kind that is read, written once."""

from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from PIL import Image, ImageCms

NUM_FRAMES, RATE = 8, 16_000
EXIF_LEFT = 6  # the picture lies on its side


def smooth(seed, height=48, width=64, channels=3):
    """Slopes and a disc, 0 to 1, [H, W, C]."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    planes = [
        0.5 + 0.5 * np.sin(generator.uniform(2, 9) * x + generator.uniform(2, 9) * y) for _ in range(channels)
    ]
    return np.stack(planes, -1)


def eight(values):
    return (values * 255).round().astype(np.uint8)


def write_images(folder):
    """One file of each kind; returns them by name."""
    rgb, grey = eight(smooth(1)), eight(smooth(2))[..., 0]
    alpha = eight(smooth(3))[..., 0]
    wide = (smooth(4)[..., 0] * 65535).astype(np.uint16)
    made = {
        "grey.png": Image.fromarray(grey),
        "wide.png": Image.fromarray(wide),
        "rgb.png": Image.fromarray(rgb),
        "rgba.png": Image.fromarray(np.dstack((rgb, alpha))),
        "la.png": Image.fromarray(np.dstack((grey, alpha))),
        "grey.jpg": Image.fromarray(grey),
        "rgb.jpg": Image.fromarray(rgb),
        "cmyk.jpg": Image.fromarray(rgb).convert("CMYK"),
        "large.jpg": Image.fromarray(eight(smooth(5, 300, 400))),
        "wide.tif": Image.fromarray(wide),
        "float.tif": Image.fromarray(smooth(6)[..., 0].astype(np.float32)),
        "float_beyond.tif": Image.fromarray((smooth(6)[..., 0] * 9 - 4).astype(np.float32)),
        "rgb.tif": Image.fromarray(rgb),
        "rgb.gif": Image.fromarray(rgb).quantize(16),
        "rgb.webp": Image.fromarray(rgb),
        "rgba.webp": Image.fromarray(np.dstack((rgb, alpha))),
        "rgb.bmp": Image.fromarray(rgb),
        "bilevel.png": Image.fromarray(grey > 127),
    }
    for name, image in made.items():
        image.save(folder / name)
    palette = Image.fromarray(rgb).quantize(16)
    palette.save(folder / "palette.png", transparency=3)
    palette.save(folder / "clear.gif", transparency=3)
    exif = Image.Exif()
    exif[274] = EXIF_LEFT
    Image.fromarray(rgb).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(eight(smooth(5, 300, 400))).save(folder / "turned_large.jpg", exif=exif)
    profile = wide_gamut()
    Image.fromarray(rgb).save(folder / "profile.jpg", icc_profile=profile)
    Image.fromarray(np.dstack((rgb, alpha))).save(folder / "profile.png", icc_profile=profile)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(rgb).save(folder / "srgb.jpg", icc_profile=srgb)
    Image.fromarray(rgb).save(folder / "broken_profile.jpg", icc_profile=b"no profile")


def wide_gamut():
    """sRGB with red and green swapped, and another name: a profile that no one can overlook."""
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(icc[128:132], "big")
    tags = {bytes(icc[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    i, j = tags[b"rXYZ"] + 4, tags[b"gXYZ"] + 4
    icc[i : i + 8], icc[j : j + 8] = icc[j : j + 8], icc[i : i + 8]
    return (
        bytes(icc).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(b"sRGB", b"swap")
    )


def write_sounds(folder):
    """One file of each format that is read, and what is special about sounds."""
    time = np.arange(int(0.8 * RATE)) / RATE
    tone = 0.4 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 1300 * time)
    stereo = np.stack([tone, 0.3 * tone[::-1]], 1)
    soundfile.write(folder / "int16.wav", tone, RATE, "PCM_16")
    soundfile.write(folder / "int24.wav", tone, RATE, "PCM_24")
    soundfile.write(folder / "uint8.wav", tone, RATE, "PCM_U8")
    soundfile.write(folder / "float.wav", tone, RATE, "FLOAT")
    soundfile.write(folder / "beyond.wav", 3 * tone, RATE, "FLOAT")
    soundfile.write(folder / "stereo.wav", stereo, RATE, "PCM_16")
    soundfile.write(folder / "stereo_beyond.wav", 4 * stereo, RATE, "FLOAT")
    soundfile.write(folder / "long.wav", np.tile(tone, 4), RATE, "PCM_16")
    soundfile.write(folder / "other_rate.wav", stereo, 22_050, "PCM_16")
    soundfile.write(folder / "tone.flac", tone, RATE)
    soundfile.write(folder / "stereo.flac", stereo, RATE)
    soundfile.write(folder / "tone.mp3", stereo, RATE)
    soundfile.write(folder / "tone.ogg", stereo, RATE)
    with av.open(str(folder / "tone.m4a"), "w") as file:
        stream = file.add_stream("aac", rate=RATE, layout="stereo")
        samples = np.tile(stereo, (4, 1)).T.astype(np.float32)
        for start in range(0, samples.shape[1], 1024):
            part = np.ascontiguousarray(samples[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(part, "fltp", "stereo")
            frame.sample_rate, frame.pts = RATE, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def write_clip(path, stamps, codec="libx264", bframes=True, rotation=0):
    """Frames of their own shade, shown at `stamps` tenths of a second; the last for a tenth."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=10, width=64, height=48)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        if codec == "libx264" and not bframes:
            stream.options = {"bf": "0"}
        for number, stamp in enumerate(stamps):
            shade = 20 + 200 * number // len(stamps)
            pixels = eight(smooth(number)) // 4 + shade * 3 // 4
            frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def write_clips(folder):
    """Constant and variable rates, longer and shorter than the model's clips."""
    write_clip(folder / "constant.mp4", range(NUM_FRAMES), bframes=False)
    write_clip(folder / "long.mp4", range(37), bframes=False)
    write_clip(folder / "long.mkv", range(37), bframes=False)
    write_clip(folder / "long.avi", range(37), "mpeg4")
    write_clip(folder / "short.mp4", range(3), bframes=False)
    write_clip(folder / "variable.mp4", [*range(11), 20, 30, 40], bframes=False)
    write_clip(folder / "variable.mkv", [*range(11), 20, 30, 40], bframes=False)


WRITE = {"image": write_images, "audio": write_sounds, "video": write_clips}


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder of each modality's kinds of file."""

    def _files(field):
        folder = tmp_path_factory.getbasetemp() / f"kinds of {field}"
        if not folder.exists():
            folder.mkdir()
            WRITE[field](folder)
        return folder

    return _files
