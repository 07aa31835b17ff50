"""Where requests leave their events: the spool, or memory where the disk is slow or full.

One for each process: Swift forks its workers after the filters were made, so everything that belongs to
a process - locks, files, the thread - is made when its first request comes.
"""

import collections
import itertools
import json
import os
import threading
import time

from picasso_swift import worker as workers
from picasso_swift.picasso import Picasso
from picasso_swift.spool import Spool, SpoolFull

# How long nothing is written before an answer after the disk was slow, seconds.
_SPARED = 1.0
# How many events go from memory into the spool by one write.
_DRAINED = 50
# More than an event with the longest names, URL and identity can have.
MAX_LINE_BYTES = 16 * 1024


class Outbox:
    """Takes the events of this process's requests; never raises and never waits for Picasso."""

    def __init__(self, settings, counters, logger, picasso=None):
        self._settings, self._counters, self._logger = settings, counters, logger
        self.spool = Spool(settings.spool_dir, settings.spool_max_bytes)
        self._memory = collections.deque()
        self._spared_until = 0
        self._complained = 0
        self._worker = workers.Worker(self, picasso or Picasso(settings), settings, counters, logger)

    def start(self):
        """Starts the worker."""
        return workers.start(self._worker)

    def stop(self):
        """Ends the worker and leaves the spool to the next process."""
        self._worker.stop()
        self.spool.close()

    def forget(self):
        """In a child of the process: what is here belongs to the parent."""
        self.spool.forget()
        self._worker.forget()

    def put(self, event):
        """Keeps an event. When this returns it is in the spool, or in memory where `spool_write` says so
        or the disk is not well, or dropped and counted."""
        line = b'{"at":%d,"event":%s}\n' % (
            time.time(), json.dumps(event, ensure_ascii=False, separators=(',', ':')).encode('utf-8'))
        if len(line) > MAX_LINE_BYTES:
            self._counters.add('dropped.long')
            return
        now = time.monotonic()
        if self._settings.spool_write == 'before_answer' and now >= self._spared_until \
                and not self._memory:
            kept = self._spooled(line)
            took = time.monotonic() - now
            if took * 1000 > self._settings.spool_slow_ms:
                self._spared_until = now + took + _SPARED
                self._counters.add('spool.slow')
                self._complain('the spool took %d ms for one event; the next ones wait in memory' %
                               (took * 1000))
        else:
            kept = self._remember(line)
        if kept:
            self._counters.add('queued')
        self._worker.wake()

    def drain(self):
        """The worker moves what waits in memory into the spool."""
        while self._memory:
            lines = list(itertools.islice(self._memory, _DRAINED))
            try:
                self.spool.append(b''.join(lines), workers.blocking)
            except SpoolFull:
                self._full(len(lines))
            except OSError as error:
                self._complain('the spool cannot be written (%s); events wait in memory' % error.strerror)
                return
            # Only after they are in the spool.
            for _ in lines:
                self._memory.popleft()

    def has_memory(self):
        """Whether events wait in memory."""
        return bool(self._memory)

    def _spooled(self, line):
        try:
            self.spool.append(line)
            return True
        except SpoolFull:
            self._full()
            return False
        except OSError as error:
            self._counters.add('spool.errors')
            self._spared_until = time.monotonic() + _SPARED
            self._complain('the spool cannot be written (%s); events wait in memory' % error.strerror)
            return self._remember(line)

    def _remember(self, line):
        if len(self._memory) >= self._settings.memory_max_events:
            self._counters.add('dropped.memory')
            self._complain('too many events wait in memory; new ones are dropped')
            return False
        self._memory.append(line)
        return True

    def _full(self, count=1):
        self._counters.add('dropped.full', count)
        self._complain('the spool is full (spool_max_bytes); new events are dropped')

    def _complain(self, text):
        """One line in ten seconds, not one for each event."""
        now = time.monotonic()
        if now - self._complained >= 10:
            self._complained = now
            self._logger.error('picasso: %s', text)


class PerProcess:
    """The outbox of whichever process asks."""

    def __init__(self, make):
        self._make = make
        self._lock = threading.Lock()
        self._pid, self._outbox = None, None
        os.register_at_fork(after_in_child=self._forked)

    def get(self):
        """It, made and started for this process where it is not yet."""
        outbox = self._outbox
        if outbox is not None:
            return outbox
        with self._lock:
            if self._outbox is None:
                outbox = self._make()
                outbox.start()
                self._outbox = outbox
            return self._outbox

    def _forked(self):
        # The lock may have been held by a thread that the child does not have.
        self._lock = threading.Lock()
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.forget()
