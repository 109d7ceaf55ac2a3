"""A clip's frames by the time at which they are shown. Runs in the decoder process."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from PIL import Image

from unimodal.data.decoding.av_files import chosen, decoded, opened, packets
from unimodal.data.decoding.messages import Answer, Unusable

MAX_FPS = 1000  # not below: a header that is wrong
SUSPICIOUS_FPS = 240  # from which on the time stamps are looked at
SEEK_GAP = 2.0  # seconds to the next wanted frame from which on a jump to a keyframe may pay
SEEK_MARGIN = 0.5  # seconds: an index lists keyframes by decoding time, before the time they are shown
SLACK = 1e-3  # seconds: some containers round time stamps to that
HDR_CURVES = (16, 18)  # ITU-T H.273: PQ, HLG


class Span(NamedTuple):
    """From when to when frames are shown, in seconds of the file's clock."""

    begin: float
    end: float

    def times(self, num: int) -> list[float]:
        """The middles of `num` equal shares."""
        seconds = max(self.end - self.begin, 0)
        return [self.begin + (i + 0.5) / num * seconds for i in range(num)]


class Timed(NamedTuple):
    """A decoded frame: shown from `start` until `end`, in seconds."""

    start: float
    end: float
    frame: Any


class Video(NamedTuple):
    """A file, and whether its clock stands still: all packets bear one time, so their count has to do."""

    file: str | BytesIO
    still: bool


class LostPlace(Exception):
    """A seek ended after the place that it should have found."""


def read_clip(file: str | BytesIO, num_frames: int, size: tuple[int, int] | None) -> Answer:
    """Frames [T, 3, H, W], each the one shown in the middle of its share of the duration.

    Where the file ends before its header says so, the shares are those of what exists.
    """
    notes: set[str] = set()
    video = _examined(file)
    header = _header_span(video)
    span = header or _scanned_span(video)
    clip = _sampled(video, span.times(num_frames), size, notes)
    if len(clip) < num_frames and header:
        span = _scanned_span(video)
        notes.add(f"has its last picture at {span.end:.2f} s, its header says {header.end:.2f} s")
        clip = _sampled(video, span.times(num_frames), size, notes)
    if not clip:
        raise Unusable("has no frame that can be decoded")
    clip += clip[-1:] * (num_frames - len(clip))
    return {"shape": [num_frames, 3, *clip[0].shape[:2]], "notes": sorted(notes)}, np.stack(clip).transpose(
        0, 3, 1, 2
    )


def read_facts(file: str | BytesIO) -> Answer:
    """Duration, rate and size by the headers; the packets are read where these have no duration."""
    video = _examined(file)
    span = _header_span(video) or _scanned_span(video)
    with opened(file) as container:
        stream = _stream(container, video)
        facts = {
            "seconds": max(span.end - span.begin, 0.0),
            "fps": _fps(stream, video),
            "width": stream.codec_context.width,
            "height": stream.codec_context.height,
        }
    return {"facts": facts, "notes": []}, np.empty(0)


def _examined(file: str | BytesIO) -> Video:
    """Reads the packets of a file whose rate is suspicious."""
    with opened(file) as container:
        stream = chosen(container, "video")
        if stream.average_rate is None or stream.average_rate < SUSPICIOUS_FPS:
            return Video(file, False)
        stamps = [packet.pts for packet in packets(container, stream, set()) if packet.size]
        return Video(file, len(stamps) > 1 and len(set(stamps)) == 1)


def _stream(container: InputContainer, video: Video) -> Any:
    stream = chosen(container, "video")
    rate = stream.average_rate
    if not video.still and rate is not None and not 0 < rate < MAX_FPS:
        raise Unusable(f"says that it has {float(rate):g} frames a second")
    return stream


def _fps(stream: Any, video: Video) -> float:
    rate = stream.guessed_rate if video.still else stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0 < rate < MAX_FPS else 25.0


def _header_span(video: Video) -> Span | None:
    """None where the headers do not say it."""
    if video.still:
        return None
    with opened(video.file) as container:
        stream = _stream(container, video)
        begin = float((stream.start_time or 0) * stream.time_base)
        if stream.duration:
            return Span(begin, begin + float(stream.duration * stream.time_base))
        if not container.duration or container.duration < 0:
            return None
        seconds = container.duration / 1e6
        absolute = (
            "matroska" in container.format.name and seconds > begin
        )  # counts from 0, not from the begin
        return Span(begin, seconds if absolute else begin + seconds)


def _scanned_span(video: Video) -> Span:
    """By the time stamps of all packets; nothing is decoded."""
    with opened(video.file) as container:
        stream = _stream(container, video)
        step = 1 / _fps(stream, video)
        begins: list[float] = []
        ends: list[float] = []
        for packet in packets(container, stream, set()):
            if not packet.size:  # the one that flushes
                continue
            stamp = _stamp(packet, video)
            begins.append(len(begins) * step if stamp is None else float(stamp * stream.time_base))
            ends.append(begins[-1] + (_length(packet, stream, video) or step))
        if not begins:
            raise Unusable("has no frame (its video is 0 s long)")
        return Span(min(begins), max(ends))


def _stamp(timed: Any, video: Video) -> int | None:
    """Of a packet or frame."""
    if video.still:
        return None
    return timed.dts if timed.pts is None else timed.pts


def _length(timed: Any, stream: Any, video: Video) -> float:
    """In seconds, 0 where it is not said."""
    return 0.0 if video.still or not timed.duration else float(timed.duration * stream.time_base)


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
    stream, gap = _stream(container, video), SEEK_GAP
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
    step = 1 / _fps(stream, video)
    for count, frame in enumerate(decoded(container, stream, notes)):
        stamp = _stamp(frame, video)
        start = count * step if stamp is None else float(stamp * stream.time_base)
        length = _length(frame, stream, video)
        yield Timed(start, start + max(length, step), frame)


def _rgb(frame: Any, size: tuple[int, int] | None, notes: set[str]) -> np.ndarray:
    """Upright, 8 bits, [H, W, 3]; antialiased as Pillow does it."""
    if frame.color_trc in HDR_CURVES:
        notes.add("is HDR (PQ or HLG); its values are taken as they are, so that it looks pale")
    pixels, turns = frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4
    if size is not None:
        height, width = size if turns % 2 == 0 else size[::-1]
        if pixels.shape[:2] != (height, width):
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    return np.rot90(pixels, turns)  # counterclockwise, as FFmpeg means it
