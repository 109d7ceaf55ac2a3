import pytest

from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.decoding.texts import decode_text


def read(data, **options):
    return decode_text(Encoded(data=data, where="a.txt"), **options)


def test_utf8_is_read_with_or_without_a_byte_order_mark():  # FAULTS 30
    assert read("gr\u00fc\u00dfe \U0001f600".encode()) == "gr\u00fc\u00dfe \U0001f600"
    assert read("\ufeffhello".encode()) == "hello"


def test_lines_end_with_lf_and_nul_is_removed():  # FAULTS 30
    assert read(b"a\r\nb\rc\nd\0e") == "a\nb\nc\nde"
    assert decode_text("a\r\nb\0") == "a\nb"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_encodings_are_named_with_the_way_out(encoding):  # FAULTS 31
    data = "hello".encode(encoding)
    data = data if len(encoding) == 6 else "\ufeff".encode(encoding) + data
    with pytest.raises(
        BadSample, match=rf"^a\.txt: is {encoding[:6].upper()}, .*iconv -f {encoding[:6].upper()} "
    ):
        read(data)


def test_the_offset_of_what_is_not_utf8_is_named():  # FAULTS 31
    with pytest.raises(BadSample, match=r"^a\.txt: is not UTF-8 at byte 3 \(0xe9\)"):
        read(b"caf\xe9 au lait")


def test_what_is_not_utf8_may_be_replaced():  # FAULTS 31
    assert read(b"caf\xe9", errors="replace") == "caf\ufffd"
    assert decode_text("a\ud800b", errors="replace") == "a\ufffdb"


def test_half_a_surrogate_pair_is_refused():  # FAULTS 31
    with pytest.raises(BadSample, match=r"^row 3: character 1 .* \(U\+D800\)"):
        decode_text("a\ud800b", where="row 3")


def test_an_empty_file_is_refused(tmp_path):  # FAULTS 30
    path = tmp_path / "b.txt"
    path.touch()
    with pytest.raises(BadSample, match=r"b\.txt: is empty"):
        decode_text(Encoded(path=str(path)))
