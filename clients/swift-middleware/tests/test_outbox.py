import os
import tempfile
import time
import unittest

from picasso_swift import outbox as outboxes
from picasso_swift.counters import Counters
from picasso_swift.outbox import Outbox, PerProcess
from picasso_swift.picasso import AWAY, Answer
from tests.support import QUIET, Memory, settings, wait_until


class Outboxes(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.folder = os.path.join(made.name, 'spool')
        self.counters = Counters()

    def outbox(self, picasso=None, **options):
        made = Outbox(settings(self.folder, **options), self.counters, QUIET, picasso or Memory())
        self.addCleanup(made.stop)
        return made

    def on_disk(self):
        text = b''
        for name in os.listdir(self.folder):
            with open(os.path.join(self.folder, name), 'rb') as file:
                text += file.read()
        return text

    def test_an_event_is_in_the_spool_before_the_answer(self):
        self.outbox().put({'id': 'told'})
        self.assertIn(b'"told"', self.on_disk())

    def test_in_the_background_nothing_is_written_before_the_answer(self):
        picasso = Memory(lambda events: Answer(AWAY))
        outbox = self.outbox(picasso, spool_write='background')
        outbox.put({'id': 'told'})
        self.assertEqual(self.on_disk(), b'')
        outbox.start()
        wait_until('the event in the spool', lambda: b'"told"' in self.on_disk())

    def test_when_the_disk_is_full_events_wait_in_memory_up_to_a_bound(self):
        picasso = Memory()
        outbox = self.outbox(picasso, memory_max_events=3)
        real = outbox.spool._append

        def full(lines):
            raise OSError(28, 'No space left on device')
        outbox.spool._append = full
        with self.assertLogs(QUIET, 'ERROR') as logged:
            for number in range(5):
                outbox.put({'id': str(number)})
        self.assertIn('No space left', logged.output[0])
        self.assertEqual(len(logged.output), 1, 'one line, not one for each event')
        self.assertEqual(self.counters.get('dropped.memory'), 2)
        outbox.spool._append = real
        outbox.start()
        wait_until('the events', lambda: picasso.ids() == ['0', '1', '2'])

    def test_a_slow_disk_is_left_to_the_worker_for_a_while(self):
        outbox = self.outbox(spool_slow_ms=1)
        real, waited = outbox.spool._append, []

        def slow(lines):
            waited.append(1)
            until = time.monotonic() + 0.01
            while time.monotonic() < until:
                pass
            real(lines)
        outbox.spool._append = slow
        outbox.put({'id': '0'})
        outbox.put({'id': '1'})
        self.assertEqual((len(waited), outbox.has_memory()), (1, True))
        self.assertEqual(self.counters.get('spool.slow'), 1)

    def test_a_full_spool_drops_new_events_and_counts_them(self):
        outbox = self.outbox()
        outbox.spool.max_bytes = 100
        for number in range(10):
            outbox.put({'id': str(number), 'object': 'x' * 20})
        self.assertGreater(self.counters.get('dropped.full'), 5)
        self.assertLessEqual(len(self.on_disk()), 100)

    def test_an_event_too_long_is_dropped(self):
        self.outbox().put({'object': 'x' * outboxes.MAX_LINE_BYTES})
        self.assertEqual((self.counters.get('dropped.long'), self.on_disk()), (1, b''))

    def test_a_child_process_has_an_outbox_of_its_own(self):
        picasso = Memory(lambda events: Answer(AWAY))
        made = PerProcess(lambda: Outbox(settings(self.folder), self.counters, QUIET, picasso))
        parent = made.get()
        self.addCleanup(parent.stop)
        parent.put({'id': 'of-parent'})
        pid = os.fork()
        if pid == 0:
            try:
                child = made.get()
                child.put({'id': 'of-child'})
                os._exit(0 if child is not parent else 1)
            except BaseException:
                os._exit(2)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertIn(b'of-parent', self.on_disk())
        self.assertIn(b'of-child', self.on_disk())
        self.assertIs(made.get(), parent)
        # Only the child's file is free: the parent's lock did not go with the child.
        other = self.outbox()
        found = [segment.read(0, 1 << 16)[0] for segment in other.spool.orphans(9)]
        self.assertEqual(len(found), 1)
        self.assertIn(b'of-child', found[0][0])


if __name__ == '__main__':
    unittest.main()
