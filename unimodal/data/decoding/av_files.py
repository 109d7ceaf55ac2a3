"""What reading frames and reading sound share: opening a file with FFmpeg, choosing a stream, bad packets."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError

from unimodal.data.decoding.messages import Unusable

FORMATS = (  # no format that names other files or addresses: playlists, DASH, concatenations
    "mov,mp4,m4a,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,apng,webp_pipe,h264,hevc,ivf,obu,m4v,"
    "mp3,aac,wav,w64,flac,aiff,caf,au,amr,ac3,eac3,ape,wv,dv,mxf,nut,rm,tta,voc"
)


def opened(file: str | BytesIO) -> InputContainer:
    """A container; use it in a `with`. FFmpeg says nothing on the console."""
    av.logging.set_level(av.logging.PANIC)
    if isinstance(file, BytesIO):
        file.seek(0)
    return av.open(file, "r", container_options={"format_whitelist": FORMATS}, metadata_errors="ignore")


def chosen(container: InputContainer, kind: str) -> Any:
    """The first stream of a kind, `video` or `audio`, that is no cover picture; one thread will decode it.

    Raises:
        Unusable: if there is none, or no decoder for it.
    """
    streams = [stream for stream in container.streams if stream.type == kind and not _is_cover(stream)]
    if not streams:
        there = ", ".join(sorted({str(stream.type) for stream in container.streams})) or "nothing"
        raise Unusable(f"has no {kind} stream (it has: {there})")
    stream = streams[0]
    if stream.codec_context is None:
        raise Unusable(f"has a {kind} stream of a codec that FFmpeg does not know")
    stream.codec_context.thread_count = 1
    return stream


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def decoded(container: InputContainer, stream: Any, notes: set[str]) -> Iterator[Any]:
    """Frames from where the container stands; what is broken is left out and said in `notes`."""
    for packet in packets(container, stream, notes):
        try:
            frames = packet.decode()
        except (FFmpegError, EOFError) as error:
            if isinstance(error, MemoryError):
                raise
            notes.add("is damaged or cut off; what can be decoded is used")
            continue
        yield from frames


def packets(container: InputContainer, stream: Any, notes: set[str]) -> Iterator[Any]:
    """Packets from where the container stands, up to the end or to where it cannot be read."""
    try:
        yield from container.demux(stream)
    except FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        notes.add("is damaged or cut off; what can be decoded is used")
