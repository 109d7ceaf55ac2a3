import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from unimodal.data.decoding import messages
from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.decoding.isolated import WORKER, Isolated
from unimodal.data.decoding.sniffing import VIDEO

CLIP = Encoded(data=b"\1\2\3" * 20, where="a.mp4")
LOOP = """
import os, sys, time
from unimodal.data.decoding.messages import receive, send
while True:
    request, data = receive(open(0, 'rb', 0, closefd=False), 10**9)
    {}
    send(open(1, 'wb', 0, closefd=False), {{'notes': [], 'pid': os.getpid(), 'got': len(data)}}, b'xyz')
"""


def child(then="", **options):
    """A decoder that answers at once, after it has done something."""
    return Isolated([sys.executable, "-c", LOOP.format(then)], **options)


@pytest.fixture
def answering():
    decoder = child()
    yield decoder
    decoder.close()


def ask(decoder, timeout=10.0, source=CLIP):
    return decoder.ask(source, VIDEO, {"do": "nothing"}, timeout)


def test_bytes_go_there_and_come_back(answering):
    header, payload = ask(answering)
    assert (header["got"], bytes(payload)) == (60, b"xyz")


def test_one_child_serves_all_requests(answering):
    assert ask(answering)[0]["pid"] == ask(answering)[0]["pid"] != os.getpid()


def test_a_crash_costs_one_sample():  # FAULTS 28
    decoder = child("if len(data) == 60: os.kill(os.getpid(), 11)")
    with pytest.raises(BadSample, match=r"^a\.mp4: the decoder crashed"):
        ask(decoder)
    assert ask(decoder, source=Encoded(data=b"good"))[0]["got"] == 4
    decoder.close()


def test_a_hang_is_killed_and_costs_one_sample():  # FAULTS 29
    decoder = child("if len(data) == 60: time.sleep(60)")
    with pytest.raises(BadSample, match=r"^a\.mp4: the decoder took longer than 0\.5 s"):
        ask(decoder, timeout=0.5)
    assert ask(decoder, source=Encoded(data=b"good"))[0]["got"] == 4
    decoder.close()


def test_a_child_that_does_not_read_is_killed_too():  # FAULTS 29
    decoder = Isolated([sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(BadSample, match="took longer"):
        ask(decoder, timeout=0.3, source=Encoded(data=b"0" * 2**20))


def test_a_decoder_that_can_not_be_started_is_told():
    with pytest.raises(BadSample, match="cannot be started"):
        ask(Isolated(["/no/such/program"]))


def test_an_answer_that_is_no_message_counts_as_a_crash():
    decoder = Isolated([sys.executable, "-c", "print('A warning' * 99, flush=True); input()"])
    with pytest.raises(BadSample, match="crashed"):
        ask(decoder)


def test_a_missing_file_does_not_reach_the_child():
    with pytest.raises(BadSample, match="no such file"):
        ask(Isolated(["/no/such/program"]), source=Encoded(path="/no/such/clip.mp4"))


def test_threads_take_turns(answering):
    pids = []
    threads = [threading.Thread(target=lambda: pids.append(ask(answering)[0]["pid"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 8 and len(set(pids)) == 1


def test_a_forked_process_has_a_child_of_its_own(answering):
    before = ask(answering)[0]["pid"]
    answering.lock.acquire()  # as if a thread were decoding, which the fork does not take along
    reader, writer = os.pipe()
    forked = os.fork()
    if not forked:
        try:
            os.write(writer, str(ask(answering)[0]["pid"]).encode())
            answering.close()
        finally:
            os._exit(0)
    answering.lock.release()
    os.waitpid(forked, 0)
    assert int(os.read(reader, 99)) != before
    assert ask(answering)[0]["pid"] == before


def test_the_child_ends_with_its_parent():
    code = (
        "import os\n"
        "from unimodal.data.decoding.isolated import *\n"
        "from unimodal.data.decoding.encoded import *\n"
        "try: DECODER.ask(Encoded(data=b'x'), 'sound', {'do': 'sound', 'max_seconds': 1})\n"
        "except BadSample: print(DECODER.process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    for _ in range(50):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or " Z " in state.read_text():
            return
        time.sleep(0.02)
    pytest.fail("the decoder outlives its parent")


def test_memory_beyond_the_limit_is_an_error_of_one_sample():  # FAULTS 27
    code = (
        "import sys; from unimodal.data.decoding import av_worker\n"
        "av_worker._answer = lambda *_: bytearray(2**32); av_worker.main()"
    )
    decoder = Isolated([sys.executable, "-c", code], memory_gib=2)
    with pytest.raises(BadSample, match=r"^a\.mp4: takes more memory"):
        ask(decoder)
    decoder.close()


def test_the_worker_starts_without_torch():
    code = "import sys, unimodal.data.decoding.av_worker; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
    assert WORKER[1] == "-P"  # no module of the folder that it is started in


def test_a_message_longer_than_allowed_is_not_read():
    reader, writer = os.pipe()
    with open(reader, "rb", 0) as source, open(writer, "wb", 0) as sink:
        messages.send(sink, {"a": 1}, b"0" * 100)
        with pytest.raises(ValueError, match="100 bytes"):
            messages.receive(source, 99)
