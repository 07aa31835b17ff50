import unittest

from picasso_swift.subscriptions import SubscriptionError, judged, of_container, parse


class Subscriptions(unittest.TestCase):
    def test_a_function_alone_hears_of_new_objects(self):
        one = parse('thumb', 'photos/resize')
        self.assertEqual(one.as_json(), {'app': 'photos', 'route': '/resize'})
        for operation in ('put', 'copy', 'segments_completed'):
            self.assertTrue(one.wants(operation, 'any'))
        for operation in ('post', 'delete'):
            self.assertFalse(one.wants(operation, 'any'))

    def test_operations_prefix_and_suffix_all_have_to_fit(self):
        one = parse('t', 'photos/a/b ops=delete,post prefix=in%20box/ suffix=.jpg')
        self.assertEqual(one.route, '/a/b')
        self.assertTrue(one.wants('delete', 'in box/cat.jpg'))
        self.assertFalse(one.wants('put', 'in box/cat.jpg'))
        self.assertFalse(one.wants('delete', 'out/cat.jpg'))
        self.assertFalse(one.wants('delete', 'in box/cat.png'))

    def test_what_is_not_understood_is_refused_as_a_whole(self):
        for value in ('', 'photos', 'photos/', '/resize', 'a b/c', 'photos//x', 'photos/../x', 'photos/:id',
                      'photos/*all', 'photos/x?y', 'photos/a%2fb', 'photos/x ops=', 'photos/x ops=create',
                      'photos/x ops=put,', 'photos/x prefix=a prefix=b', 'photos/x size=1', 'photos/x put',
                      'http://elsewhere/x', 'x' * 129 + '/y', 'photos/' + 'y' * 600,
                      'photos/x prefix=' + 'y' * 1024, 'photos/x ops=' + 'put,' * 6 + 'put'):
            with self.assertRaises(SubscriptionError, msg=value):
                parse('name', value)
        for name in ('', '-a', 'a_b', 'a' * 64, 'ä'):
            with self.assertRaises(SubscriptionError, msg=name):
                parse(name, 'photos/resize')

    def test_a_container_has_ten_at_most_and_a_bad_one_harms_no_other(self):
        metadata = {'function-n%02d' % number: 'app/r%d' % number for number in range(20)}
        metadata.update({'function-a': 'nonsense', 'color': 'app/red', 'Function-B': 'app/b'})
        names = [one.name for one in of_container(metadata)]
        self.assertEqual(names[:2], ['b', 'n00'])
        self.assertEqual(len(names), 10)

    def test_names_of_objects_in_any_script_can_be_asked_for(self):
        value = 'app/r prefix=größe/'.encode().decode('latin-1')
        self.assertTrue(of_container({'function-x': value})[0].wants('put', 'größe/1'))

    def test_whoever_sets_subscriptions_hears_which_were_understood(self):
        self.assertIsNone(judged({'HTTP_X_CONTAINER_META_COLOR': 'red'}))
        self.assertIsNone(judged({'HTTP_X_CONTAINER_META_FUNCTION_GONE': ''}))
        said = judged({'HTTP_X_CONTAINER_META_FUNCTION_A': 'app/r',
                       'HTTP_X_CONTAINER_META_FUNCTION_B': 'app/r ops=x\r\ny: z'})
        self.assertEqual(said.split('; ')[0], 'a accepted')
        self.assertIn('b ignored: ', said)
        # What a user wrote is not repeated in a header.
        self.assertNotIn('\n', said)
        self.assertNotIn('z', said)


if __name__ == '__main__':
    unittest.main()
