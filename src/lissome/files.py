"""Replace a file as a whole or not at all, whatever happens while writing; let what was read of one go."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import stat
from pathlib import Path
from typing import Final

import numpy as np

_NEW_FILE_MODE: Final = 0o666  # narrowed by the umask, as for any file that a program creates

# The os functions are used throughout instead of pathlib's, so that tests can make each system call fail.
# ruff: noqa: PTH101, PTH105, PTH108, PTH116


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Make `path` hold exactly `data`: write a new file beside it, force it to disk, rename it over `path`.

    A crash at any point leaves the old file or the new one, complete. On an error the new file is removed and the old
    one is untouched. A symbolic link is followed. Raises OSError (of the usual subclass) naming `path`.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".liss-{secrets.token_hex(8)}.tmp")
    try:
        mode = _mode_of(target)
        try:
            _write_new(temporary, data, mode)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise _naming(path, error, "what was there before is untouched") from error
    try:
        _sync_directory(target.parent)
    except OSError as error:
        raise _naming(path, error, "the new file is in place but may not survive a power cut") from error


def _naming(path: str | os.PathLike[str], error: OSError, state: str) -> OSError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        state = f"{state}; free some space or name a file elsewhere"
    return OSError(error.errno, f"cannot save: {error.strerror or error}; {state}", os.fspath(path))


def _mode_of(target: Path) -> int | None:
    """Permissions of the file to be replaced; None when there is none. Refuses a directory, a device or a pipe."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, "it is a directory; name a file in it")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a regular file")
    return stat.S_IMODE(mode)


def _write_new(temporary: Path, data: bytes, mode: int | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, _NEW_FILE_MODE)
    try:
        if mode is not None:
            os.chmod(temporary, mode)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(folder: Path) -> None:
    """Force the rename itself to disk, where directories can be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_back(view: memoryview) -> None:
    """Let the pages of a mapped file go that `view` has to itself: whoever wants them reads them from the file again.

    Does nothing for memory that is no mapped file, or where the system has no way to say so.
    """
    mapped = view.obj
    if not isinstance(mapped, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED") or not view.nbytes:
        return
    offset = np.frombuffer(view, np.uint8).ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
    start = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
    end = offset + view.nbytes
    end = end if end == len(mapped) else end // mmap.PAGESIZE * mmap.PAGESIZE
    if start < end:
        mapped.madvise(mmap.MADV_DONTNEED, start, end - start)
