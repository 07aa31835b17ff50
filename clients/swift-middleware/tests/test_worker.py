import json
import os
import tempfile
import time
import unittest

from picasso_swift.counters import Counters
from picasso_swift.outbox import Outbox
from picasso_swift.picasso import ACCEPTED, AWAY, REFUSED, Answer
from picasso_swift.settings import MAX_BODY_BYTES
from tests.support import QUIET, Memory, settings, wait_until


def event(number, **more):
    return dict({'id': str(number), 'operation': 'put', 'container': 'c', 'account': 'AUTH_p'}, **more)


class Workers(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.folder = os.path.join(made.name, 'spool')

    def outbox(self, picasso, **options):
        self.counters = Counters()
        made = Outbox(settings(self.folder, **options), self.counters, QUIET, picasso)
        self.addCleanup(made.stop)
        return made

    def finish(self, outbox):
        """Runs the worker's rounds here, until there is nothing to do."""
        while outbox._worker.step():
            pass

    def spooled(self):
        return sum(os.stat(os.path.join(self.folder, name)).st_size for name in os.listdir(self.folder))

    def test_each_event_is_sent_once_and_nothing_is_left(self):
        picasso = Memory()
        outbox = self.outbox(picasso)
        for number in range(250):
            outbox.put(event(number))
        self.finish(outbox)
        self.assertEqual(picasso.ids(), [str(number) for number in range(250)])
        self.assertEqual([len(json.loads(body)['events']) for body in picasso.batches], [100, 100, 50])
        self.assertEqual(self.spooled(), 0)
        self.assertEqual(self.counters.get('sent'), 250)

    def test_a_batch_is_never_larger_than_picasso_takes(self):
        picasso = Memory()
        outbox = self.outbox(picasso)
        for number in range(60):
            outbox.put(event(number, object='ä' * 4000))
        self.finish(outbox)
        self.assertEqual(len(picasso.events), 60)
        self.assertTrue(all(len(body) <= MAX_BODY_BYTES for body in picasso.batches))

    def test_nothing_is_lost_while_picasso_is_away(self):
        answers = [Answer(AWAY, 'x'), Answer(AWAY, 'x')]
        picasso = Memory(lambda events: answers.pop() if answers else Answer(ACCEPTED))
        outbox = self.outbox(picasso)
        outbox.start()
        for number in range(10):
            outbox.put(event(number))
        wait_until('the events', lambda: len(picasso.events) == 10)
        self.assertEqual(sorted(picasso.ids(), key=int), [str(number) for number in range(10)])
        self.assertEqual(self.counters.get('send.errors'), 2)

    def test_the_next_process_sends_what_this_one_could_not(self):
        outbox = self.outbox(Memory(lambda events: Answer(AWAY, 'x')))
        for number in range(3):
            outbox.put(event(number))
        self.finish(outbox)
        outbox._worker.forget()
        outbox.stop()
        picasso = Memory()
        self.finish(self.outbox(picasso))
        self.assertEqual(picasso.ids(), ['0', '1', '2'])

    def test_a_refused_event_is_dropped_and_the_others_are_not(self):
        bad = ('7', '8', '63')
        picasso = Memory(lambda events: Answer(REFUSED, '400') if any(one['id'] in bad for one in events)
                         else Answer(ACCEPTED))
        outbox = self.outbox(picasso)
        for number in range(100):
            outbox.put(event(number))
        with self.assertLogs(QUIET, 'ERROR') as logged:
            self.finish(outbox)
        self.assertEqual(picasso.ids(), [str(number) for number in range(100) if str(number) not in bad])
        self.assertEqual(self.counters.get('dropped.refused'), 3)
        self.assertEqual(len(logged.output), 3)

    def test_an_outage_in_the_middle_of_the_search_loses_nothing(self):
        state = {'away': True}

        def judge(events):
            if len(events) > 1 and any(one['id'] == '3' for one in events):
                return Answer(REFUSED, '400')
            if state.pop('away', False):
                return Answer(AWAY, '503')
            return Answer(REFUSED, '400') if events[0]['id'] == '3' else Answer(ACCEPTED)
        picasso = Memory(judge)
        outbox = self.outbox(picasso)
        outbox.start()
        for number in range(8):
            outbox.put(event(number))
        wait_until('the refused one', lambda: self.counters.get('dropped.refused') == 1)
        wait_until('the others', lambda: set(picasso.ids()) == set('0124567'))

    def test_events_that_are_too_old_are_dropped(self):
        picasso = Memory()
        outbox = self.outbox(picasso, spool_max_age=60)
        outbox.spool.append(b'{"at":%d,"event":{"id":"old"}}\n' % (time.time() - 100))
        outbox.put(event(1))
        self.finish(outbox)
        self.assertEqual(picasso.ids(), ['1'])
        self.assertEqual(self.counters.get('dropped.age'), 1)

    def test_lines_that_are_no_events_harm_no_other(self):
        picasso = Memory()
        outbox = self.outbox(picasso)
        for line in (b'{"at":1', b'', b'\0\0\0', b'[]', b'{"event":{},"at":1}', b'{"at":1,"event":{}}x', b'7'):
            outbox.spool.append(line + b'\n')
        outbox.put(event(1))
        self.finish(outbox)
        self.assertEqual(picasso.ids(), ['1'])
        self.assertEqual(self.counters.get('dropped.torn'), 7)
        self.assertEqual(self.spooled(), 0)

    def test_a_file_that_cannot_be_read_holds_up_no_other(self):
        picasso = Memory()
        outbox = self.outbox(picasso)
        outbox.put(event(1))
        segment = outbox.spool.held()[0]

        def broken(start, most):
            raise OSError(5, 'Input/output error')
        segment.read = broken
        with self.assertLogs(QUIET, 'ERROR'):
            outbox._worker.step()
        outbox._worker._next_take = 0
        outbox.put(event(2))
        self.finish(outbox)
        self.assertEqual(picasso.ids(), ['2'])
        # It is still there.
        self.assertEqual(len(outbox.spool.orphans(9)), 1)

    def test_a_backlog_is_written_to_the_disk(self):
        outbox = self.outbox(Memory(lambda events: Answer(AWAY, 'x')), retry_max=1)
        outbox.put(event(1))
        self.finish(outbox)
        outbox.put(event(2))
        self.finish(outbox)
        segments = outbox._worker._segments + outbox.spool.held()
        self.assertEqual([one.synced for one in segments], [one.size for one in segments])

    def test_a_pause_is_as_long_as_picasso_asks_for(self):
        outbox = self.outbox(Memory(lambda events: Answer(AWAY, '429', 30)))
        outbox.put(event(1))
        self.finish(outbox)
        self.assertGreater(outbox._worker._not_before, time.monotonic() + 25)

    def test_a_fault_of_the_worker_does_not_end_it(self):
        picasso = Memory()
        outbox = self.outbox(picasso)
        real, calls = outbox._worker.step, []

        def step():
            calls.append(1)
            if len(calls) == 1:
                raise RuntimeError('no good reason')
            return real()
        outbox._worker.step = step
        outbox.start()
        outbox.put(event(1))
        wait_until('the event', lambda: picasso.ids() == ['1'])


if __name__ == '__main__':
    unittest.main()
