"""A clip's frames by the time at which they are shown. Runs in the decoder process."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from PIL import Image

from unimodal.data.decoding.av_files import chosen, decoded_packets, opened
from unimodal.data.decoding.av_spans import Video, examined, scanned_span, stamp
from unimodal.data.decoding.messages import Answer, Unusable
from unimodal.data.decoding.rgb import GREY, to_rgb

SEEK_GAP = 2.0  # seconds to the next wanted frame from which on a jump to a keyframe may pay
SEEK_MARGIN = 0.5  # seconds: an index lists keyframes by decoding time, before the time they are shown
SLACK = 1e-3  # seconds: some containers round time stamps to that
HDR_CURVES = (16, 18)  # ITU-T H.273: PQ, HLG


class Timed(NamedTuple):
    """A decoded frame: shown from `start` until `end`, in seconds."""

    start: float
    end: float
    frame: Any


class LostPlace(Exception):
    """A seek ended after the place that it should have found."""


def read_clip(file: str | BytesIO, num_frames: int, size: tuple[int, int] | None) -> Answer:
    """Frames [T, 3, H, W], each the one shown in the middle of its share of the duration.

    Where the file ends before its header says so, the shares are those of what exists.
    """
    notes: set[str] = set()
    video = examined(file)
    span = video.span or scanned_span(video)
    clip = _sampled(video, span.times(num_frames), size, notes)
    if len(clip) < num_frames and video.span:
        span = scanned_span(video)
        clip = _sampled(video, span.times(num_frames), size, notes)
    if video.said and span.end < video.said.end - 2 * video.step:
        notes.add(f"has its last picture at {span.end:.2f} s, its header says {video.said.end:.2f} s")
    if not clip:
        raise Unusable("has no frame that can be decoded")
    clip += clip[-1:] * (num_frames - len(clip))
    return {"shape": [num_frames, 3, *clip[0].shape[:2]], "notes": sorted(notes)}, np.stack(clip).transpose(
        0, 3, 1, 2
    )


def read_facts(file: str | BytesIO) -> Answer:
    """Duration, rate and size by the headers; the packets are read where these have no duration."""
    video = examined(file)
    span = video.span or scanned_span(video)
    facts = {
        "seconds": max(span.end - span.begin, 0.0),
        "fps": 1 / video.step,
        "width": video.width,
        "height": video.height,
    }
    return {"facts": facts, "notes": []}, np.empty(0)


def _sampled(video: Video, times: list[float], size: Any, notes: set[str]) -> list[np.ndarray]:
    """Pixels [H, W, 3] for each time; fewer than asked for where the file ends before."""
    seen: set[str] = set()
    try:
        clip = _converted(video, times, size, seen, jump=not video.still)
    except (LostPlace, FFmpegError):
        seen.clear()  # what a jump into the middle broke is not the file's fault
        clip = _converted(video, times, size, seen, jump=False)
    notes |= seen
    return clip


def _converted(video: Video, times: list[float], size: Any, notes: set[str], jump: bool) -> list[np.ndarray]:
    clip: list[np.ndarray] = []
    with opened(video.file) as container:
        last = None
        for shown in _shown_at(container, video, times, notes, jump):
            if shown is last:
                clip.append(clip[-1])
                continue
            clip.append(_rgb(shown.frame, size, notes))
            size, last = size or clip[0].shape[:2], shown
    return clip


def _shown_at(
    container: InputContainer, video: Video, times: list[float], notes: set[str], jump: bool
) -> Iterator[Timed]:
    """The frame that is on the screen at each of the times, which rise; ends where the stream does."""
    stream, gap = chosen(container, "video"), SEEK_GAP
    frames = _timed(container, stream, video, notes)
    ahead = next(frames, None)
    held = ahead
    for time in times:
        if jump and ahead is not None and time - ahead.start > gap:
            container.seek(int((time - SEEK_MARGIN) / stream.time_base), stream=stream)
            frames, before = _timed(container, stream, video, notes), ahead.start
            ahead = next(frames, None)
            if ahead is None or ahead.start > time + SLACK:
                raise LostPlace
            if ahead.start <= before:  # no keyframe between: jumping back costs more than it saves
                gap *= 2
        while ahead is not None and ahead.start <= time + SLACK:
            held, ahead = ahead, next(frames, None)
        if held is None or (ahead is None and time > held.end):
            return
        yield held


def _timed(container: InputContainer, stream: Any, video: Video, notes: set[str]) -> Iterator[Timed]:
    """Frames in the order of showing; where they bear no time, by count."""
    start = None
    for packet, frames in decoded_packets(container, stream, notes):
        if start is None and video.delay is not None and packet.dts is not None:
            start = float(packet.dts * stream.time_base) - video.step  # of the frame before
        for index, frame in enumerate(frames):
            start = _start(frame, packet if index == 0 else None, stream, video, start)
            length = 0 if video.still or not frame.duration else float(frame.duration * stream.time_base)
            yield Timed(start, start + max(length, video.step), frame)


def _start(frame: Any, packet: Any, stream: Any, video: Video, before: float | None) -> float:
    """When a frame is shown; `packet` let it out of the decoder, `before` is the start of the frame before.

    AVI counts packets as they are decoded. A decoder that holds back `delay` of them lets a frame out at the
    place of the count where it is shown, plus that delay.
    """
    if video.delay is None:
        time = stamp(frame, video.still)
    elif packet is None or packet.dts is None:
        time = None
    else:
        return float(packet.dts * stream.time_base) - video.delay * video.step
    if time is not None:
        return float(time * stream.time_base)
    return 0.0 if before is None else before + video.step


def _rgb(frame: Any, size: tuple[int, int] | None, notes: set[str]) -> np.ndarray:
    """Upright, 8 bits, [H, W, 3]; antialiased as Pillow does it, what is transparent as in images."""
    if frame.color_trc in HDR_CURVES:
        notes.add("is HDR (PQ or HLG); its values are taken as they are, so that it looks pale")
    pixels, turns = _opaque(frame), round(frame.rotation / 90) % 4
    if size is not None:
        height, width = size if turns % 2 == 0 else size[::-1]
        if pixels.shape[:2] != (height, width):
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    return np.rot90(pixels, turns)  # counterclockwise, as FFmpeg means it


def _opaque(frame: Any) -> np.ndarray:
    if frame.format.has_palette or any(part.is_alpha for part in frame.format.components):
        return np.asarray(to_rgb(Image.fromarray(frame.to_ndarray(format="rgba")), GREY))
    return frame.to_ndarray(format="rgb24")
