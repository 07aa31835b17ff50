import json
import unittest

from picasso_swift.events import change

TOKEN = {'token': {'user': {'id': 'u1'}, 'project': {'id': 'p1'}}}


def look(method, path, prefixes=('AUTH_',), **environ):
    environ = {name.replace('__', '.'): value for name, value in environ.items()}
    query = path.partition('?')[2]
    return change(dict({'REQUEST_METHOD': method, 'PATH_INFO': path.partition('?')[0], 'SCRIPT_NAME': '',
                        'QUERY_STRING': query}, **environ), prefixes)


def event(method, path, headers=(), **environ):
    return look(method, path, **environ).event(list(headers))


class Events(unittest.TestCase):
    def test_a_put_tells_what_is_known_of_the_object(self):
        told = event('PUT', '/v1/AUTH_p1/photos/in/cat.jpg', [('Etag', '"abc"'), ('X-Trans-Id', 'tx1')],
                     CONTENT_LENGTH='12', CONTENT_TYPE='image/jpeg', swift__trans_id='tx1',
                     keystone__token_info=TOKEN, HTTP_X_AUTH_TOKEN='gAAAA-secret')
        self.assertRegex(told.pop('id'), r'\A[0-9a-f]{32}\Z')
        self.assertRegex(told.pop('time'), r'\A20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z')
        self.assertEqual(told, {
            'operation': 'put', 'account': 'AUTH_p1', 'project_id': 'p1', 'container': 'photos',
            'object': 'in/cat.jpg', 'size': 12, 'etag': 'abc', 'content_type': 'image/jpeg',
            'user_id': 'u1', 'user_project_id': 'p1', 'request_id': 'tx1'})

    def test_each_event_has_an_id_of_its_own(self):
        one = look('PUT', '/v1/AUTH_p1/c/o')
        self.assertNotEqual(one.event([])['id'], one.event([])['id'])

    def test_the_operation_is_what_the_client_meant(self):
        for method, path, environ, expected in [
                ('PUT', '/v1/AUTH_p/c/o', {}, 'put'),
                ('POST', '/v1/AUTH_p/c/o', {}, 'post'),
                ('DELETE', '/v1/AUTH_p/c/o', {}, 'delete'),
                ('PUT', '/v1/AUTH_p/c/o?multipart-manifest=put', {}, 'segments_completed'),
                ('PUT', '/v1/AUTH_p/c/o', {'HTTP_X_OBJECT_MANIFEST': 'c/parts'}, 'segments_completed'),
                ('PUT', '/v1/AUTH_p/c/o', {'HTTP_X_COPY_FROM': 'd/x'}, 'copy'),
                ('COPY', '/v1/AUTH_p/c/o', {'HTTP_DESTINATION': 'd/x'}, 'copy')]:
            self.assertEqual(look(method, path, **environ).operation, expected)

    def test_a_copy_tells_of_its_target_and_names_its_source(self):
        told = event('COPY', '/v1/AUTH_p1/from/a', HTTP_DESTINATION='/to/b%20c',
                     HTTP_DESTINATION_ACCOUNT='AUTH_p2')
        self.assertEqual((told['account'], told['project_id'], told['container'], told['object']),
                         ('AUTH_p2', 'p2', 'to', 'b c'))
        self.assertEqual(told['source'], {'account': 'AUTH_p1', 'container': 'from', 'object': 'a'})
        told = event('PUT', '/v1/AUTH_p1/to/b', HTTP_X_COPY_FROM='/from/%C3%A4/a')
        self.assertEqual((told['container'], told['source']), ('to', {'container': 'from', 'object': 'ä/a'}))
        self.assertNotIn('size', told)

    def test_who_asked_comes_from_keystone_and_never_from_headers(self):
        forged = {'HTTP_X_USER_ID': 'admin', 'HTTP_X_IDENTITY_STATUS': 'Confirmed', 'HTTP_X_PROJECT_ID': 'p9'}
        self.assertNotIn('user_id', event('PUT', '/v1/AUTH_p/c/o', **forged))
        token = {'token': {'user': {'id': 'u1'}, 'project': {'id': 'p1'}, 'OS-TRUST:trust': {'id': 't1'},
                           'application_credential': {'id': 'a1', 'name': 'x'}}}
        told = event('PUT', '/v1/AUTH_p/c/o', keystone__token_info=token, **forged)
        self.assertEqual((told['user_id'], told['trust_id'], told['application_credential_id']),
                         ('u1', 't1', 'a1'))
        for odd in ({}, {'token': None}, {'token': []}, {'access': {}}, {'token': {'user': 'u'}},
                    {'token': {'user': {'id': 7}}}, {'token': {'user': {'id': 'x' * 300}}}):
            self.assertNotIn('user_id', event('PUT', '/v1/AUTH_p/c/o', keystone__token_info=odd))

    def test_roles_are_told_up_to_a_bound(self):
        def told(found):
            token = {'token': {'user': {'id': 'u'}, 'roles': found}}
            return look('PUT', '/v1/AUTH_p/c/o', keystone__token_info=token).roles
        self.assertEqual(told([{'name': 'member'}, {'name': 7}, None, {'name': ''}]), ['member'])
        self.assertEqual(told('member'), [])
        self.assertEqual(len(told([{'name': 'r' * 256}] * 100)), 8)
        self.assertEqual(look('PUT', '/v1/AUTH_p/c/o', HTTP_X_ROLES='admin').roles, [])

    def test_what_is_not_about_an_object_of_a_project_makes_no_event(self):
        for method, path in [('GET', '/v1/AUTH_p/c/o'), ('HEAD', '/v1/AUTH_p/c/o'), ('PUT', '/v1/AUTH_p/c'),
                             ('PUT', '/v1/AUTH_p/c/'), ('POST', '/v1/AUTH_p'), ('PUT', '/v2/AUTH_p/c/o'),
                             ('PUT', '/v1/.expiring_objects/c/o'), ('PUT', '/v1/TEMP_p/c/o'), ('PUT', '/'),
                             ('PUT', '/v1/AUTH_/c/o'), ('PUT', '/v1/AUTH_p/\0versions/o'), ('PUT', ''),
                             ('PUT', '/v1/AUTH_p/c/\xff'), ('OPTIONS', '/v1/AUTH_p/c/o'),
                             ('COPY', '/v1/AUTH_p/c/o'), ('PUT', '/v1/AUTH_p/up?extract-archive=tar'),
                             ('PUT', '/v1/AUTH_p/c/up?extract-archive=tar')]:
            self.assertIsNone(look(method, path), (method, path))

    def test_objects_of_bulk_requests_count_each(self):
        self.assertIsNotNone(look('PUT', '/v1/AUTH_p/c/o?extract-archive=tar', swift__source='EA'))
        self.assertIsNotNone(look('DELETE', '/v1/AUTH_p/c/o?bulk-delete', swift__source='BD'))

    def test_projects_are_found_behind_any_configured_prefix(self):
        for account, prefixes, project in [('AUTH_p', ('AUTH_',), 'p'), ('SERVICE_p', ('AUTH_', 'SERVICE_'), 'p'),
                                           ('p', ('',), 'p'), ('AUTH_p', ('SERVICE_',), None)]:
            found = look('PUT', '/v1/%s/c/o' % account, prefixes=prefixes)
            self.assertEqual(found and found.project_id, project)

    def test_names_in_any_script_arrive_as_they_are(self):
        path = '/v1/AUTH_p/fotos/größe "1"\n猫'.encode().decode('latin-1')
        told = json.loads(json.dumps(event('PUT', path)))
        self.assertEqual(told['object'], 'größe "1"\n猫')

    def test_the_size_of_a_chunked_upload_is_what_proxy_logging_counted(self):
        class Counting:
            bytes_received = 7
        self.assertEqual(event('PUT', '/v1/AUTH_p/c/o', wsgi__input=Counting())['size'], 7)
        self.assertNotIn('size', event('PUT', '/v1/AUTH_p/c/o', wsgi__input=object()))


if __name__ == '__main__':
    unittest.main()
