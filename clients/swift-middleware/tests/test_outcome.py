import unittest

from picasso_swift.outcome import ToldBody, tells_in_body


def heard(*pieces):
    calls = []
    body = ToldBody(list(pieces), lambda: calls.append(1))
    passed = [(piece, len(calls)) for piece in body]
    assert [piece for piece, _ in passed] == list(pieces)
    return len(calls), passed


class Outcome(unittest.TestCase):
    def test_every_format_of_swift_is_understood(self):
        for text in (b'Number Deleted: 2\nResponse Status: 200 OK\nErrors:\n',
                     b'{"Response Status": "201 Created", "Errors": []}',
                     b'<delete>\n<response_status>200 OK</response_status>'):
            self.assertEqual(heard(text)[0], 1, text)

    def test_a_failure_is_no_event(self):
        for text in (b'Response Status: 400 Bad Request\nErrors:\nx, 201 Created\n',
                     b'{"Response Status": "503", "Response Body": "Response Status: 201"}', b'', b'201'):
            self.assertEqual(heard(text)[0], 0, text)

    def test_the_event_is_kept_before_the_client_hears(self):
        count, passed = heard(b' ', b' ', b'\r\n\r\nResponse Sta', b'tus: 201 Created\n', b'rest')
        self.assertEqual((count, [kept for _, kept in passed]), (1, [0, 0, 0, 1, 1]))

    def test_heartbeats_and_deletions_with_segments_tell_in_the_body(self):
        self.assertTrue(tells_in_body('PUT', {'heartbeat': 'on'}))
        self.assertTrue(tells_in_body('COPY', {'heartbeat': 'true'}))
        self.assertTrue(tells_in_body('DELETE', {'multipart-manifest': 'delete'}))
        for method, params in [('PUT', {}), ('PUT', {'multipart-manifest': 'put'}), ('POST', {'heartbeat': 'on'}),
                               ('DELETE', {'heartbeat': 'on'})]:
            self.assertFalse(tells_in_body(method, params))

    def test_the_body_is_closed(self):
        class Body(list):
            closed = False

            def close(self):
                self.closed = True
        body = Body([b'x'])
        ToldBody(body, None).close()
        self.assertTrue(body.closed)


if __name__ == '__main__':
    unittest.main()
