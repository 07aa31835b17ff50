"""A filter for Swift's proxy that tells Picasso what happened to objects.

    [filter:picasso]
    use = egg:picasso-swift#picasso
    endpoint = https://picasso.example:10001
    auth_url = https://keystone.example/v3
    username = swift
    password_file = /etc/swift/picasso-password
    project_name = service

README.md has every option and what is promised.
"""


def filter_factory(global_conf, **local_conf):
    """The factory of paste.deploy. Settings that cannot work stop the proxy's start with a clear line."""
    # Here and not above: most modules of this package do not need Swift.
    from picasso_swift.filter import PicassoFilter
    from picasso_swift.settings import Settings
    from swift.common.registry import register_swift_info

    conf = dict(global_conf)
    conf.update(local_conf)
    settings = Settings.from_conf(conf)
    register_swift_info('picasso', only_subscribed=settings.only_subscribed)

    def picasso_filter(app):
        return PicassoFilter(app, conf, settings)

    return picasso_filter
