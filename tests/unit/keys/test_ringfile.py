"""The keyring's file: what others of the host put there is read by whoever has not taken it."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.keys import ringfile
from broker.keys.keyring import Ring, tombstone
from broker.keys.ringfile import RingFile

ONE, OTHER = (tombstone("data", name, kek=b"k" * 32, at=1) for name in ("a" * 16, "b" * 16))


def test_what_was_read_on_the_way_to_a_write_that_failed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RingFile(directory=tmp_path).change(lambda _: Ring.of([ONE]))
    file = RingFile(directory=tmp_path)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ringfile, "replace_file", full)
        with pytest.raises(OSError, match="No space"):
            file.change(lambda there: there.merged([OTHER]))
    assert file.is_changed()
    assert file.change(lambda there: there.merged([OTHER])) == Ring.of([ONE, OTHER])
    assert not file.is_changed()
