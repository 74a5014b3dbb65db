"""Saving replaces a file as a whole or not at all: each system call is made to fail, and the process killed there."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import stat

import pytest

from lissome import files
from lissome.files import write_atomic
from lissome.pack.container import load, save
from networks import as_nobody, mlp

OLD, NEW = b"old" * 1000, b"new" * 5000
BEFORE_RENAME = ["open", "write", "fsync", "close", "replace"]
CALLS = [*BEFORE_RENAME, "chmod", "stat"]


@pytest.fixture
def target(tmp_path):
    """An existing file, of mode 640."""
    path = tmp_path / "net.liss"
    path.write_bytes(OLD)
    path.chmod(0o640)
    return path


def only(path) -> bool:
    """Whether `path` is all there is in its folder: no temporary file is left."""
    return [entry.name for entry in path.parent.iterdir()] == [path.name]


def failing(monkeypatch, call: str, error: int, nth: int = 1):
    """Make the n-th call of os.<call> raise; a failing close closes first, as the system does."""
    real, count = getattr(os, call), iter(range(1, 1000))

    def fails(*args, **kwargs):
        if next(count) != nth:
            return real(*args, **kwargs)
        if call == "close":
            real(*args)
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(files.os, call, fails)


def test_writes_replaces_and_keeps_permissions(target):
    """The new content stands complete, with the old file's permissions, and nothing else is left."""
    write_atomic(target, NEW)
    assert target.read_bytes() == NEW
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert only(target)


def test_a_new_file_follows_the_umask(tmp_path):
    """A file that did not exist gets the usual permissions, not a temporary file's."""
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "net.liss", NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "net.liss").stat().st_mode) == 0o640


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_failing_call_leaves_the_old_file(target, monkeypatch, call, error):
    """Whichever call fails before the rename: one OSError naming the file and for a full disk the remedy; the old
    content, no temporary file.
    """
    with monkeypatch.context() as patch:
        failing(patch, call, error)
        with pytest.raises(OSError, match=r"cannot save: .*; what was there before is untouched") as caught:
            write_atomic(target, NEW)
    assert caught.value.errno == error
    assert caught.value.filename == str(target)
    assert ("free some space" in str(caught.value)) == (error != errno.EIO)
    assert target.read_bytes() == OLD
    assert only(target)


def test_a_failing_directory_sync_is_told_as_it_is(target, monkeypatch):
    """After the rename the new file stands; the error says so."""
    with monkeypatch.context() as patch:
        failing(patch, "fsync", errno.EIO, nth=2)
        with pytest.raises(OSError, match="the new file is in place but may not survive a power cut"):
            write_atomic(target, NEW)
    assert target.read_bytes() == NEW
    assert only(target)


def test_short_writes_are_continued(target, monkeypatch):
    """A system that writes 7 bytes at a time still gets every byte."""
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    write_atomic(target, NEW)
    assert target.read_bytes() == NEW


def test_a_disk_that_fills_up_midway(target, monkeypatch):
    """Full disk after some bytes were written: the old file stays, the half-written one goes."""
    real, room = os.write, [10_000]

    def filling(descriptor, data):
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(descriptor, data[: min(room[0], 4096)])
        room[0] -= written
        return written

    monkeypatch.setattr(files.os, "write", filling)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomic(target, NEW)
    assert caught.value.errno == errno.ENOSPC
    assert target.read_bytes() == OLD
    assert only(target)


@pytest.mark.usefixtures("plain")
def test_a_device_is_never_replaced():
    """Saving over a device is refused: renaming over it would take it away from everyone."""
    with pytest.raises(OSError, match="it is a device or a pipe, not a regular file"):
        save(mlp(), os.devnull)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("call", BEFORE_RENAME)
def test_a_kill_at_any_call_leaves_a_file_that_opens(tmp_path, call):
    """Kill -9 just before each system call of a save: what is under the name afterwards opens, old or new."""
    path, old, new = tmp_path / "net.liss", mlp(1), mlp(2)
    save(old, path)
    child = os.fork()
    if child == 0:  # pragma: no cover (the child is killed)
        setattr(files.os, call, lambda *_a, **_k: os.kill(os.getpid(), signal.SIGKILL))
        try:
            save(new, path)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert load(path) == old
    save(new, path)
    assert load(path) == new


def test_an_interrupt_leaves_nothing(target, monkeypatch):
    """Ctrl-C while writing: KeyboardInterrupt passes, the old file stays, the temporary one goes."""

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(target, NEW)
    assert target.read_bytes() == OLD
    assert only(target)


def test_a_symbolic_link_is_followed(target):
    """Saving through a link replaces what it points at, and the link stays a link."""
    link = target.with_name("link.liss")
    link.symlink_to(target)
    write_atomic(link, NEW)
    assert link.is_symlink()
    assert target.read_bytes() == NEW


def test_directory_missing_folder_and_no_permission(tmp_path):
    """What cannot be replaced is one OSError of the usual subclass naming the path."""
    with pytest.raises(IsADirectoryError, match="it is a directory; name a file in it"):
        write_atomic(tmp_path, NEW)
    with pytest.raises(FileNotFoundError, match="cannot save: No such file or directory"):
        write_atomic(tmp_path / "none" / "net.liss", NEW)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with as_nobody(), pytest.raises(PermissionError, match="cannot save: Permission denied"):
        write_atomic(locked / "net.liss", NEW)


def test_a_long_name_can_be_saved(tmp_path):
    """The temporary file's name does not grow with the target's, so the longest name allowed works."""
    path = tmp_path / ("n" * 250 + ".liss")
    write_atomic(path, NEW)
    assert path.read_bytes() == NEW


def test_without_directory_syncs(target, monkeypatch):
    """Where directories cannot be opened (not POSIX), the file is still replaced."""
    monkeypatch.setattr(files.os, "name", "nt")
    files._sync_directory(target.parent / "not there")


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="no way to say so here")
def test_pages_given_back_are_whole_ones_of_the_view(tmp_path):
    """Only pages that lie within a view of a mapped file go; what is read again is what the file holds."""
    page, path, told = mmap.PAGESIZE, tmp_path / "file", []

    class Told(mmap.mmap):
        def madvise(self, advice, *place):
            told.append(place)
            super().madvise(advice, *place)

    content = bytes(range(256)) * (page // 64)
    path.write_bytes(content)
    with path.open("rb") as file, Told(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        for start, end in ((0, 4 * page), (1, 4 * page), (5, 3 * page + 5), (10, page), (7, 7)):
            files.give_back(view[start:end])
            assert bytes(view) == content
        view.release()
    assert told == [(0, 4 * page), (page, 3 * page), (page, 2 * page)]
    files.give_back(memoryview(content))
