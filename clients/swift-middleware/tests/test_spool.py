import os
import signal
import subprocess
import sys
import tempfile
import unittest

from picasso_swift import spool as spools
from picasso_swift.spool import Spool, SpoolError, SpoolFull

HERE = os.path.dirname(os.path.abspath(__file__))


def lines_of(segment):
    return segment.read(0, 1 << 20)[0]


class Spools(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.folder = os.path.join(made.name, 'spool')

    def spool(self, max_bytes=1 << 20):
        made = Spool(self.folder, max_bytes)
        self.addCleanup(made.close)
        return made

    def test_what_was_appended_is_taken_once_and_in_order(self):
        spool = self.spool()
        for number in range(5):
            spool.append(b'%d\n' % number)
        taken = spool.take()
        self.assertEqual(lines_of(taken[0]), [b'0', b'1', b'2', b'3', b'4'])
        self.assertEqual(spool.take(), [])
        spool.append(b'5\n')
        self.assertEqual(lines_of(spool.take()[0]), [b'5'])

    def test_a_process_that_lives_keeps_its_files_to_itself(self):
        spool, other = self.spool(), self.spool()
        spool.append(b'mine\n')
        self.assertEqual(other.orphans(9), [])
        spool.close()
        self.assertEqual(lines_of(other.orphans(9)[0]), [b'mine'])

    def test_two_processes_never_take_the_same_file(self):
        dead = self.spool()
        dead.append(b'x\n')
        dead.close()
        one, two = self.spool(), self.spool()
        self.assertEqual((len(one.orphans(9)), len(two.orphans(9))), (1, 0))

    def test_events_survive_sigkill(self):
        code = ('import sys, os, signal\nfrom picasso_swift.spool import Spool\n'
                'spool = Spool(sys.argv[1], 1 << 20)\n'
                'spool.append(b"told\\n"); os.kill(os.getpid(), signal.SIGKILL)')
        ended = subprocess.run([sys.executable, '-c', code, self.folder], cwd=os.path.dirname(HERE))
        self.assertEqual(ended.returncode, -signal.SIGKILL)
        self.assertEqual(lines_of(self.spool().orphans(9)[0]), [b'told'])

    def test_a_line_that_a_crash_tore_is_read_as_it_is(self):
        dead = self.spool()
        dead.append(b'whole\n')
        with open(dead.held()[0].path, 'ab') as file:
            file.write(b'{"at":1,"ev')
        dead.close()
        segment = self.spool().orphans(9)[0]
        lines, end = segment.read(0, 1 << 16)
        self.assertEqual(lines, [b'whole'])
        lines, end = segment.read(end, 1 << 16)
        self.assertEqual((lines, end), ([b'{"at":1,"ev'], segment.size))

    def test_a_full_spool_takes_no_more_and_takes_again_when_something_was_sent(self):
        spool = self.spool(max_bytes=20)
        spool.append(b'0123456789\n')
        with self.assertRaises(SpoolFull):
            spool.append(b'0123456789\n')
        spool.sent(spool.take()[0])
        spool.append(b'0123456789\n')

    def test_what_other_processes_hold_counts_too(self):
        spool, other = self.spool(max_bytes=20), self.spool()
        other.append(b'0123456789\n')
        spool.measure()
        with self.assertRaises(SpoolFull):
            spool.append(b'0123456789\n')

    def test_large_backlogs_lie_in_files_of_bounded_size_and_number_of_descriptors(self):
        spool = self.spool(max_bytes=1 << 30)
        line = b'x' * (spools.SEGMENT_BYTES // 2 - 1) + b'\n'
        for _ in range(2 * (spools.HELD_SEGMENTS + 4)):
            spool.append(line)
        spool.release()
        self.assertLessEqual(len(spool.held()), spools.HELD_SEGMENTS + 1)
        for name in os.listdir(self.folder):
            self.assertLessEqual(os.stat(os.path.join(self.folder, name)).st_size, spools.SEGMENT_BYTES)
        # What was let go of is found again.
        self.assertEqual(len(spool.orphans(99)), 3)

    def test_a_write_that_does_not_fit_the_disk_leaves_nothing_behind(self):
        spool = self.spool()
        spool.append(b'whole\n')
        segment = spool.held()[0]
        real = os.write
        self.addCleanup(setattr, os, 'write', real)
        os.write = lambda fd, data: real(fd, data[:3])
        with self.assertRaises(OSError):
            spool.append(b'torn\n')
        os.write = real
        spool.append(b'next\n')
        self.assertEqual(lines_of(segment), [b'whole', b'next'])

    def test_a_folder_that_others_may_write_is_refused(self):
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o777)
        with self.assertRaisesRegex(SpoolError, 'go-w'):
            self.spool()

    def test_files_of_others_in_the_folder_are_left_alone(self):
        spool = self.spool()
        odd = os.path.join(self.folder, 'notes.txt')
        with open(odd, 'w', encoding='utf-8') as file:
            file.write('x')
        os.symlink('/etc/passwd', os.path.join(self.folder, 'events-1-1-1.jsonl'))
        os.mkdir(os.path.join(self.folder, 'events-2-2-2.jsonl'))
        self.assertEqual(spool.orphans(9), [])
        self.assertTrue(os.path.exists(odd))

    def test_files_are_private(self):
        spool = self.spool()
        spool.append(b'x\n')
        self.assertEqual(os.stat(spool.held()[0].path).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(self.folder).st_mode & 0o777, 0o700)


if __name__ == '__main__':
    unittest.main()
