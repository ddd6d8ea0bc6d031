"""What waits on disk: whole requests, in order, up to a size, whatever ends the process."""

from __future__ import annotations

import os

import pytest
from structlog.testing import capture_logs

from streams.console.errors import OperationError
from streams.door.kept_record import KeptRecord
from streams.door.spool import Spool

PLENTY = 1 << 20


def request(number, events=2):
    return [
        KeptRecord(
            "orders",
            b"o%d" % number,
            b'{"event_id":"%d-%d"}' % (number, at),
            1_000 + number,
            (("reason", b"\xff"),) * at,
        )
        for at in range(events)
    ]


def requests(*numbers):
    return [request(number) for number in numbers]


def waiting(spool):
    return [frame.events for frame in spool.read(PLENTY)]


@pytest.fixture
def opened(tmp_path):
    """Function that opens the directory as a new process would, after the one before it is gone."""
    found = []

    def reopen(bytes_max=PLENTY, **options):
        for spool in found:
            spool.close()
        found.append(Spool(tmp_path / "spool", bytes_max, **options))
        return found[-1]

    yield reopen
    for spool in found:
        spool.close()


def test_requests_come_back_in_order_until_they_are_taken(opened):
    spool = opened()
    assert spool.append(requests(1, 2)) == [0, 1]
    assert spool.append(requests(3)) == [2]
    frames = spool.read(PLENTY)
    assert [frame.events for frame in frames] == requests(1, 2, 3)
    assert spool.oldest_ms == 1_001
    spool.take_frames(frames[1])
    assert waiting(spool) == requests(3)
    assert spool.oldest_ms == 1_003
    spool.take_frames(spool.read(1)[0])
    assert (waiting(spool), spool.waiting_bytes, spool.oldest_ms) == ([], 0, None)


def test_a_process_that_ended_without_a_word_leaves_all_that_was_not_taken(opened):
    spool = opened(segment_bytes=100)
    for number in range(10):
        spool.append(requests(number))
    spool.take_frames(spool.read(PLENTY)[3])
    again = opened(segment_bytes=100)
    assert waiting(again) == requests(*range(4, 10))
    assert again.waiting_bytes == spool.waiting_bytes
    assert again.oldest_ms == 1_004
    again.append(requests(10))
    assert waiting(again) == requests(*range(4, 11))
    numbers = [frame.number for frame in again.read(PLENTY)]
    assert numbers == list(range(7)), "each frame has the number that append returned"


def test_what_was_taken_leaves_no_file_and_comes_never_back(opened, tmp_path):
    spool = opened(segment_bytes=100)
    for number in range(5):
        spool.append(requests(number))
    spool.take_frames(spool.read(PLENTY)[-1])
    assert not list((tmp_path / "spool").glob("*.spool"))
    again = opened(segment_bytes=100)
    assert again.waiting_bytes == 0
    again.append(requests(7))
    assert waiting(again) == requests(7)
    assert waiting(opened()) == requests(7)


def test_a_full_spool_takes_no_more_until_something_was_taken(opened):
    spool = opened()
    spool.append(requests(1))
    size = spool.waiting_bytes
    small = opened(2 * size)
    assert small.append(requests(2, 3)) == [1, None]
    assert small.append(requests(3)) == [None]
    assert waiting(small) == requests(1, 2)
    small.take_frames(small.read(1)[0])
    assert small.append(requests(3)) == [2]


def test_a_frame_that_was_cut_short_is_put_aside_and_those_before_it_stay(opened, tmp_path):
    opened().append(requests(1, 2))
    (file,) = (tmp_path / "spool").glob("*.spool")
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    with capture_logs() as logs:
        spool = opened()
    assert waiting(spool) == requests(1)
    assert [line["event"] for line in logs] == ["spool_cut_short"]
    assert file.with_suffix(".unreadable").read_bytes() == whole[len(whole) // 2 : -3]
    spool.append(requests(3))
    assert waiting(opened()) == requests(1, 3)


def test_a_damaged_frame_is_never_sent(opened, tmp_path):
    opened().append(requests(1, 2))
    (file,) = (tmp_path / "spool").glob("*.spool")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    assert waiting(opened()) == requests(1)


def test_the_note_of_what_was_taken_may_be_lost(opened, tmp_path):
    spool = opened()
    spool.append(requests(1, 2))
    spool.take_frames(spool.read(1)[0])
    (tmp_path / "spool" / "taken.json").write_text("")
    assert waiting(opened()) == requests(1, 2), "sent again, rather than lost"


def test_what_could_not_be_synced_is_not_promised(opened, monkeypatch):
    spool = opened()
    spool.append(requests(1))
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "no space")))
        with pytest.raises(OSError, match="no space"):
            spool.append(requests(2))
    assert spool.append(requests(3)) == [1]
    assert waiting(spool) == requests(1, 3)
    assert waiting(opened()) == requests(1, 3)


def test_a_directory_has_one_door(opened, tmp_path):
    opened()
    with pytest.raises(OperationError, match="another door uses"):
        Spool(tmp_path / "spool", PLENTY)
