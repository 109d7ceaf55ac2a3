"""Text files to str."""

import codecs

from unimodal.data.decoding.encoded import Encoded

BYTE_ORDER_MARKS = (  # the longer ones first: UTF-32's little end begins with UTF-16's
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def decode_text(value: Encoded | str, where: str = "", errors: str = "strict") -> str:
    """UTF-8 without a byte order mark, lines ended by LF, NUL characters removed.

    Args:
        value: a text file, or a text.
        where: what messages call a text that is no file.
        errors: `strict`, or `replace`, which puts U+FFFD for what is not UTF-8.

    Raises:
        BadSample: if it is empty, not UTF-8 (the byte offset, or which encoding it is), or holds half of a
            surrogate pair.
    """
    if isinstance(value, Encoded):
        return _plain(_decoded(value, errors))
    return _plain(_without_surrogates(value, where, errors))


def _decoded(source: Encoded, errors: str) -> str:
    data = source.read()
    for mark, name in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            raise source.bad(f"is {name}, not UTF-8; convert it: iconv -f {name} -t UTF-8 old.txt > new.txt")
    try:
        return data.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise source.bad(
            f"is not UTF-8 at byte {error.start} (0x{data[error.start]:02x}); "
            "convert it, for instance: iconv -f WINDOWS-1252 -t UTF-8 old.txt > new.txt"
        ) from error


def _without_surrogates(text: str, where: str, errors: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if errors == "strict":
            raise Encoded(data=b"", where=where or "a text").bad(
                f"character {error.start} is half of a surrogate pair (U+{ord(text[error.start]):04X})"
            ) from error
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _plain(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
