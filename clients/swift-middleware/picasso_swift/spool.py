"""Events on disk until Picasso has them.

A folder that all proxy processes of a machine share. Each process appends to a file of its own, one
event a line, and holds a lock (flock) on it as long as it lives. A file whose lock is free belongs to a
process that is gone; whoever takes the lock sends its events. A file goes when Picasso has all of them.

An event is in the page cache when `append` returns: it survives the end of this process, also by
SIGKILL, and not the end of the machine. `Segment.sync` is for that.
"""

import errno
import fcntl
import os
import re
import stat
import threading
import time

# Beyond this a file is closed and the next begun.
SEGMENT_BYTES = 1 << 20
# So many are held open by a process, twice: of its own and of others.
HELD_SEGMENTS = 16
_NAME = re.compile(r'events-[0-9]{1,20}-[0-9]{1,10}-[0-9]{1,10}\.jsonl\Z')


class SpoolFull(Exception):
    """There is no room for an event."""


class SpoolError(Exception):
    """The folder cannot be used; the text says what to do."""


class Segment:
    """One file of the spool, locked by this process."""

    def __init__(self, path, fd):
        self.path, self.fd = path, fd
        self.size = os.fstat(fd).st_size
        # How much of it Picasso has.
        self.sent = 0
        self.synced = 0

    def append(self, line):
        """Appends a whole line or nothing."""
        written = os.write(self.fd, line)
        if written != len(line):
            os.ftruncate(self.fd, self.size)
            raise OSError(errno.ENOSPC, 'only a part of an event could be written')
        self.size += written

    def read(self, start, most):
        """Whole lines from `start` on, about `most` bytes of them and at least one; and where they end.
        What was torn by a crash, at the end of a file, counts as a line."""
        data = os.pread(self.fd, most, start)
        end = data.rfind(b'\n') + 1
        while not end and len(data) == most:
            most *= 2
            data = os.pread(self.fd, most, start)
            end = data.rfind(b'\n') + 1
        data = data[:end] or data
        return data.rstrip(b'\n').split(b'\n'), start + len(data)

    def sync(self):
        """Has the disk take what was written since the last time."""
        size = self.size
        if self.synced < size:
            os.fdatasync(self.fd)
            self.synced = size

    def remove(self):
        """Deletes it: Picasso has all of it."""
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        self.close()

    def close(self):
        """Leaves it to whoever takes its lock next."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Spool:
    """The folder, as one process uses it."""

    def __init__(self, folder, max_bytes):
        self.folder = folder
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._active = None
        # Closed by us, not sent.
        self._closed = []
        self._number = 0
        self._bytes = 0
        make_folder(folder)
        self.measure()

    def append(self, lines, run=lambda function: function()):
        """Puts events (lines with their ends) into the spool, all or none; SpoolFull, or OSError of the
        disk. `run` calls what may wait for the disk; no lock is touched in there."""
        with self._lock:
            if self._bytes + len(lines) > self.max_bytes:
                raise SpoolFull()
            run(lambda: self._append(lines))
            self._bytes += len(lines)

    def _append(self, lines):
        if self._active is not None and self._active.size + len(lines) > SEGMENT_BYTES:
            self._closed.append(self._active)
            self._active = None
        if self._active is None:
            self._active = self._new()
        self._active.append(lines)

    def take(self):
        """The files of this process, oldest first; new events go to another one from now on."""
        with self._lock:
            taken, self._closed = self._closed, []
            if self._active is not None and self._active.size:
                taken.append(self._active)
                self._active = None
            return taken

    def sent(self, segment):
        """Picasso has all of this file."""
        segment.remove()
        with self._lock:
            self._bytes = max(0, self._bytes - segment.size)

    def held(self):
        """The files of this process, oldest first."""
        with self._lock:
            return self._closed + ([self._active] if self._active is not None else [])

    def release(self):
        """Closes files beyond a few, so that descriptors do not run out while Picasso is away; any
        process takes them up again."""
        with self._lock:
            for segment in self._closed[HELD_SEGMENTS:]:
                segment.close()
            del self._closed[HELD_SEGMENTS:]

    def orphans(self, most):
        """Files whose process is gone, oldest first, at most so many; they are ours from now on."""
        found = []
        for name in self._names():
            if len(found) >= most:
                break
            segment = self._claim(os.path.join(self.folder, name))
            if segment is None:
                continue
            if segment.size:
                found.append(segment)
            else:
                segment.remove()
        return found

    def measure(self, run=lambda function: function()):
        """Looks how much lies in the folder, whoever wrote it. Between two looks only what this process
        does is known."""
        total = run(self._measured)
        with self._lock:
            self._bytes = total
        return total

    def _measured(self):
        total = 0
        for name in self._names():
            try:
                total += os.stat(os.path.join(self.folder, name)).st_size
            except FileNotFoundError:
                continue
        return total

    def forget(self):
        """In a child of the process: closes what belongs to the parent, without a lock, which another
        thread of the parent may have held."""
        for segment in self._closed + ([self._active] if self._active is not None else []):
            segment.close()
        self._closed, self._active = [], None

    def close(self):
        """Leaves the files to the next process."""
        with self._lock:
            self.forget()

    def _names(self):
        names = [name for name in os.listdir(self.folder) if _NAME.match(name)]
        # By time: the numbers have the same length for some centuries.
        return sorted(names)

    def _new(self):
        while True:
            self._number += 1
            name = 'events-%020d-%d-%d.jsonl' % (time.time_ns(), os.getpid(), self._number)
            path = os.path.join(self.folder, name)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            # Another process may have seen the empty file before it was locked, and removed it.
            if _locked(fd) and os.fstat(fd).st_nlink:
                return Segment(path, fd)
            os.close(fd)

    @staticmethod
    def _claim(path):
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        # It may have been sent and removed between the list and the lock.
        if _locked(fd) and os.fstat(fd).st_nlink and stat.S_ISREG(os.fstat(fd).st_mode):
            return Segment(path, fd)
        os.close(fd)
        return None


def _locked(fd):
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def make_folder(folder):
    """Makes the folder, or says why it cannot be the spool."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.stat(folder)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise SpoolError('spool_dir %s cannot be used: %s; make it a folder that the user of the proxy '
                         'may write' % (folder, error.strerror)) from None
    if found.st_mode & 0o022:
        raise SpoolError('spool_dir %s may be written by others: whoever can put a file there invents '
                         'events; chmod go-w %s' % (folder, folder))
