import unittest

from picasso_swift.function_url import FunctionUrlError, check

OURS = ['https://functions.example:10001', 'http://10.0.0.1/functions']


class FunctionUrl(unittest.TestCase):
    def test_urls_of_our_own_functions_count(self):
        for url in ('https://functions.example:10001/r/app/hello',
                    'https://FUNCTIONS.example:10001/r/app/a/b',
                    'https://functions.example:10001/v1/r/p1/app/hello',
                    'http://10.0.0.1:80/functions/r/app/hello'):
            self.assertEqual(check(url, OURS, 'p1'), url)

    def test_any_other_url_is_ignored(self):
        for url in ('http://functions.example:10001/r/app/hello', 'https://functions.example/r/app/hello',
                    'https://functions.example:10001.evil.example/r/app/hello',
                    'https://user@functions.example:10001/r/app/hello',
                    'https://functions.example:10001@evil.example/r/app/hello',
                    'https://functions.example:10001/r/app/hello?token=x',
                    'https://functions.example:10001/r/app/hello#x', 'https://functions.example:10001/r/app/',
                    'https://functions.example:10001/r/app', 'https://functions.example:10001/r/../v1/p/apps',
                    'https://functions.example:10001/r/app/%2e%2e/x', 'https://functions.example:10001/v1/p1/apps',
                    'http://10.0.0.1/r/app/hello', 'http://10.0.0.1/functionsr/app/hello',
                    'http://169.254.169.254/r/app/hello', 'file:///r/app/hello', '//functions.example/r/a/b',
                    'https://[::1/r/a/b', 'https://functions.example:99999/r/a/b', 'https://\r\nx/', 'ü' * 20,
                    'https://functions.example:10001/r/app/' + 'a' * 1024, ''):
            with self.assertRaises(FunctionUrlError, msg=url):
                check(url, OURS, 'p1')

    def test_private_functions_are_those_of_the_tokens_own_project(self):
        url = 'https://functions.example:10001/v1/r/p2/app/hello'
        for project in ('p1', None, ''):
            with self.assertRaises(FunctionUrlError):
                check(url, OURS, project)


if __name__ == '__main__':
    unittest.main()
