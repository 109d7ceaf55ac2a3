"""One picture of many samples: what the model will see, with labels, to look at before training."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram
from torchvision.transforms.v2.functional import to_pil_image

from unimodal.data.decoding.masks import mask_picture
from unimodal.types import Sample, Waveform

CELL, CAPTION, GAP, COLUMNS = 184, 34, 8, 6  # pixels; cells a row
PAPER, INK, FAINT = (255, 255, 255), (25, 25, 25), (110, 110, 110)
FRAMES = 4  # of a clip, two by two
# Black, violet, orange, pale yellow: dark to light for eyes and printers alike.
COLOURS = torch.tensor([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]])


@dataclass(frozen=True)
class Cell:
    """A fitted sample and what to write below it.

    Attributes:
        sample: one of its fields is drawn, media before text.
        title: such as its class.
        subtitle: such as its file.
    """

    sample: Sample
    title: str
    subtitle: str = ""


def contact_sheet(cells: Sequence[Cell], heading: str) -> Image.Image:
    """All cells in rows, below a heading.

    Raises:
        ValueError: if there is no cell.
    """
    if not cells:
        raise ValueError("there is no sample to draw.")
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    size = (columns * (CELL + GAP) + GAP, rows * (CELL + CAPTION + GAP) + GAP + 28)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), _clipped(draw, heading, _font(15), size[0] - 2 * GAP), INK, font=_font(15))
    for place, cell in enumerate(cells):
        x, y = GAP + place % columns * (CELL + GAP), 28 + GAP + place // columns * (CELL + CAPTION + GAP)
        picture = draw_sample(cell.sample)
        sheet.paste(picture, (x + (CELL - picture.width) // 2, y + (CELL - picture.height) // 2))
        draw.text((x, y + CELL + 2), _clipped(draw, cell.title, _font(13), CELL), INK, font=_font(13))
        draw.text((x, y + CELL + 18), _clipped(draw, cell.subtitle, _font(10), CELL), FAINT, font=_font(10))
    return sheet


def draw_sample(sample: Sample) -> Image.Image:
    """A picture of at most `CELL` pixels a side."""
    if "image" in sample:
        picture = to_pil_image(sample["image"])
        if "mask" in sample:
            picture = Image.blend(picture, mask_picture(sample["mask"]).convert("RGB"), 0.5)
        return _enlarged(picture, CELL)
    if "video" in sample:
        return _clip(sample["video"])
    if "audio" in sample:
        return _spectrogram(sample["audio"])
    return _text(str(sample.get("text", "")))


def _enlarged(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)


def _clip(video: Tensor) -> Image.Image:
    """Frames spread over the clip, in reading order."""
    half = (CELL - 2) // 2
    sheet = Image.new("RGB", (CELL, CELL), PAPER)
    for place, frame in enumerate(torch.linspace(0, len(video) - 1, FRAMES).round().long().tolist()):
        picture = _enlarged(to_pil_image(video[frame]), half)
        sheet.paste(picture, (place % 2 * (half + 2), place // 2 * (half + 2)))
    return sheet


def _spectrogram(sound: Waveform) -> Image.Image:
    """Log-mel, low tones at the bottom, 60 dB deep."""
    window = max(int(0.025 * sound.sample_rate), 32)
    mel = MelSpectrogram(sound.sample_rate, n_fft=max(window, 256), hop_length=max(window // 2, 1), n_mels=48)
    samples = torch.nn.functional.pad(sound.samples, (0, max(512 - len(sound.samples), 0)))
    level = AmplitudeToDB(top_db=60)(mel(samples))
    level = (level - level.min()) / (level.max() - level.min()).clamp_min(1e-6)
    place = level.flip(0) * (len(COLOURS) - 1)
    low = place.floor().long().clamp_max(len(COLOURS) - 2)
    share = (place - low)[..., None]
    pixels = (COLOURS[low] * (1 - share) + COLOURS[low + 1] * share).to(torch.uint8)
    picture = to_pil_image(pixels.permute(2, 0, 1)).resize((CELL, CELL - 24), Image.Resampling.BILINEAR)
    sheet = Image.new("RGB", (CELL, CELL), PAPER)
    sheet.paste(picture, (0, 0))
    seconds = len(sound.samples) / sound.sample_rate
    ImageDraw.Draw(sheet).text(
        (2, CELL - 18), f"{seconds:.2f} s, {sound.sample_rate} Hz", FAINT, font=_font(11)
    )
    return sheet


def _text(text: str) -> Image.Image:
    sheet = Image.new("RGB", (CELL, CELL), (247, 246, 242))
    lines = [line for part in text[:600].split("\n") for line in textwrap.wrap(part, 28) or [""]]
    shown = lines[:11] + (["..."] if len(lines) > 11 or len(text) > 600 else [])
    ImageDraw.Draw(sheet).multiline_text((6, 6), "\n".join(shown), INK, font=_font(11), spacing=3)
    return sheet


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _clipped(draw: ImageDraw.ImageDraw, text: str, font: Any, width: int) -> str:
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "...", font=font) > width:
        text = text[:-1]
    return text + "..."
