import os
import tempfile
import unittest

from picasso_swift.settings import Settings, SettingsError

CONF = {'endpoint': 'http://127.0.0.1:10001/', 'auth_url': 'http://k/v3', 'username': 'swift',
        'password': 's3cr3t', 'project_name': 'service'}


class SettingsTests(unittest.TestCase):
    def test_the_defaults_are_what_the_readme_says(self):
        made = Settings.from_conf(CONF)
        self.assertEqual(made.endpoint, 'http://127.0.0.1:10001')
        self.assertEqual(made.function_url_endpoints, ['http://127.0.0.1:10001'])
        self.assertEqual(made.reseller_prefixes, ['AUTH_'])
        self.assertEqual(made.auth['user_domain_id'], 'default')
        self.assertFalse(made.only_subscribed)

    def test_what_cannot_work_is_told_by_name_and_without_secrets(self):
        for change, name in [({'endpoint': ''}, 'endpoint'), ({'endpoint': 'ftp://x'}, 'endpoint'),
                             ({'endpoint': 'http://u:s3cr3t@h'}, 'endpoint'), ({'endpoint': 'http://h:x'}, 'endpoint'),
                             ({'function_url_endpoints': 'nonsense'}, 'function_url_endpoints'),
                             ({'spool_dir': 'here'}, 'spool_dir'), ({'spool_max_bytes': '1'}, 'spool_max_bytes'),
                             ({'timeout': 'x'}, 'timeout'), ({'only_subscribed': 'maybe'}, 'only_subscribed'),
                             ({'spool_write': 'never'}, 'spool_write'), ({'password': ''}, 'password'),
                             ({'username': ''}, 'username'), ({'auth_url': ''}, 'auth_url'),
                             ({'password_file': '/nonexistent'}, 'password_file')]:
            with self.assertRaisesRegex(SettingsError, name) as told:
                Settings.from_conf(dict(CONF, **change))
            self.assertNotIn('s3cr3t', str(told.exception))

    def test_the_password_may_lie_in_a_file(self):
        with tempfile.NamedTemporaryFile('w') as file:
            file.write('from-file\n')
            file.flush()
            conf = {name: value for name, value in CONF.items() if name != 'password'}
            made = Settings.from_conf(dict(conf, password_file=file.name))
        self.assertEqual(made.auth['password'], 'from-file')
        self.assertFalse(os.path.exists(file.name))

    def test_settings_never_show_their_secrets(self):
        self.assertNotIn('s3cr3t', repr(Settings.from_conf(CONF)))

    def test_several_prefixes_of_accounts_can_be_ours(self):
        made = Settings.from_conf(dict(CONF, reseller_prefix="AUTH, SERVICE_, ''"))
        self.assertEqual(made.reseller_prefixes, ['AUTH_', 'SERVICE_', ''])


if __name__ == '__main__':
    unittest.main()
