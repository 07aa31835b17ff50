"""`openstack function route …`."""

import argparse
import time

from osc_lib import exceptions

from picassoclient.osc import values
from picassoclient.osc.base import Command, Lister, ShowOne, each
from picassoclient.osc.columns import Time, shown, table

#: Seconds that `--wait` waits for an image at most.
LONGEST_WAIT = 900
#: Fields of options that take a value as it is.
PLAIN = (
    "type", "network", "memory", "timeout", "max_concurrency", "concurrency", "idle_timeout",
    "min_instances", "queue_timeout", "is_public", "rate_limit", "retry", "max_age", "delay", "priority",
    "on_success", "on_failure",
)  # fmt: skip
#: What `unset` takes away, and what the field becomes.
NOTHING = {
    "rate-limit": None, "jwt-key": None, "retry": None, "max-age": None, "on-success": None, "on-failure": None,
    "allowed-sources": [], "callback-urls": [], "methods": [], "invoke": [],
}  # fmt: skip
#: Options that may be repeated, and the fields they fill.
LISTS = {"method": "methods", "allowed_source": "allowed_sources", "callback_url": "callback_urls", "invoke": "invoke"}


def add_route(parser):
    """`<app> <path>`."""
    parser.add_argument("app", metavar="<app>", help="The app's name, short or full")
    parser.add_argument("route", metavar="<path>", help="The route's path, like /hello or /users/:id")


def rate_limit(value: str) -> dict[str, int]:
    """`CALLS[/SECONDS][:BURST]`."""
    rate, _, burst = value.partition(":")
    calls, _, seconds = rate.partition("/")
    try:
        limit = {"calls": int(calls)}
        if seconds:
            limit["seconds"] = int(seconds)
        if burst:
            limit["burst"] = int(burst)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is not CALLS[/SECONDS][:BURST], like 10/60:5") from None
    return limit


def add_fields(parser):
    """The settings of a route."""
    parser.add_argument("--type", choices=["sync", "async"], help="Whether callers wait for the answer (default: sync)")
    public = parser.add_mutually_exclusive_group()
    public.add_argument("--public", dest="is_public", action="store_const", const=True, help="Callers need no token")
    public.add_argument(
        "--private", dest="is_public", action="store_const", const=False, help="Callers need a token (default)"
    )
    parser.add_argument(
        # `--format` is the command line's own: how the answer is printed.
        "--function-format",
        dest="format_of_route",
        metavar="<format>",
        help="How a request reaches the function: default, http, json, http-stream, lambda or http-server",
    )
    for name, what in {
        "memory": "Memory, MiB",
        "timeout": "Time of one call, seconds",
        "max-concurrency": "Calls at one time, on each node",
        "concurrency": "Calls at one time in one sandbox (format http-server)",
        "idle-timeout": "Seconds that a warm sandbox is kept",
        "min-instances": "Warm sandboxes that are always kept, on each node",
        "queue-timeout": "Seconds that a call may wait for a place",
        "max-age": "Seconds after which an asynchronous call does not begin any more",
        "delay": "Seconds that an asynchronous call waits",
        "priority": "0 to 2: asynchronous calls of a higher one run first",
    }.items():
        parser.add_argument(f"--{name}", metavar="<number>", type=int, help=what)
    parser.add_argument("--network", choices=["none", "egress"], help="What the function can reach (default: none)")
    parser.add_argument(
        "--method",
        metavar="<method>",
        action="append",
        help="HTTP method that it takes (may be repeated; default: any)",
    )
    parser.add_argument(
        "--rate-limit", metavar="CALLS[/SECONDS][:BURST]", type=rate_limit, help="Of callers without a token"
    )
    parser.add_argument(
        "--allowed-source",
        metavar="<network>",
        action="append",
        help="Where callers without a token may come from (may be repeated; default: anywhere)",
    )
    parser.add_argument(
        "--jwt-key",
        metavar="@FILE",
        type=values.secret_text,
        help="Key that callers without a token sign JSON Web Tokens with",
    )
    parser.add_argument(
        "--retry",
        metavar="<json>",
        type=retry,
        help='Attempts of an asynchronous call: a number, or {"max_attempts": 5, "backoff": {...}, "on": [...]}',
    )
    for name, what in {"on-success": "the result", "on-failure": "the report on a failure"}.items():
        parser.add_argument(
            f"--{name}",
            metavar="<destination>",
            help=f"Where {what} of an asynchronous call goes: route:APP/PATH, a URL, or zaqar:QUEUE",
        )
    parser.add_argument(
        "--callback-url", metavar="<url>", action="append", help="URL that strangers may name (may be repeated)"
    )
    parser.add_argument(
        "--invoke",
        choices=["sync", "async"],
        action="append",
        help="Type that callers may choose beside the route's own (may be repeated)",
    )
    values.add_config(parser)
    parser.add_argument("--wait", action="store_true", help="Wait until its image is ready")


def retry(value: str):
    """How often, or the whole policy."""
    if value.isdigit():
        return {"max_attempts": int(value)}
    return values.json_object(value)


def fields_of(parsed):
    """The fields of a request that options named."""
    fields = values.config_fields(parsed)
    fields.update({name: getattr(parsed, name) for name in PLAIN if getattr(parsed, name) is not None})
    for option, field in LISTS.items():
        if getattr(parsed, option) is not None:
            fields[field] = getattr(parsed, option)
    if parsed.format_of_route is not None:
        fields["format"] = parsed.format_of_route
    if parsed.jwt_key is not None:
        fields["jwt_key"] = str(parsed.jwt_key)
    return fields


def ready(functions, app, route):
    """The route once its newest version is ready."""
    until = time.monotonic() + LONGEST_WAIT
    while route["state"] == "preparing":
        if time.monotonic() > until:
            raise exceptions.CommandError(f"The image of {route['path']} is not there after {LONGEST_WAIT} s")
        time.sleep(0.5)
        route = functions.get_route(app, route["path"])
    if route["state"] == "failed":
        raise exceptions.CommandError(f"Version {route['version']} of {route['path']} failed: {route['error']}")
    return route


class CreateRoute(ShowOne):
    """Make a route: a path of an app and the image that answers it"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        parser.add_argument(
            "--image", metavar="<image>", required=True, help="Image of the project, the operator, or a registry"
        )
        add_fields(parser)
        return parser

    def take_action(self, parsed_args):
        app = parsed_args.app
        route = self.functions.create_route(app, parsed_args.route, parsed_args.image, **fields_of(parsed_args))
        return shown(ready(self.functions, app, route) if parsed_args.wait else route)


class ListRoutes(Lister):
    """List the routes of an app"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("app", metavar="<app>", help="The app's name, short or full")
        parser.add_argument("--long", action="store_true", help="More columns")
        parser.add_argument("--limit", metavar="<count>", type=values.positive, help="At most so many")
        return parser

    def take_action(self, parsed_args):
        fields = {
            "Path": "path", "Type": "type", "Image": "image", "State": "state", "Public": "is_public",
            "Memory": "memory", "Timeout": "timeout", "Version": "version",
        }  # fmt: skip
        if parsed_args.long:
            fields = {"ID": "id", **fields, "Format": "format", "Network": "network", "Methods": "methods"}
            fields |= {"Config": "config", "Updated At": ("updated_at", Time)}
        return table(self.functions.routes(parsed_args.app, limit=parsed_args.limit), fields)


class ShowRoute(ShowOne):
    """Show a route"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.get_route(parsed_args.app, parsed_args.route))


class SetRoute(ShowOne):
    """Change a route; what is not named stays. Most changes make a new version"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        parser.add_argument("--image", metavar="<image>", help="Image of the project, the operator, or a registry")
        add_fields(parser)
        return parser

    def take_action(self, parsed_args):
        app, fields = parsed_args.app, fields_of(parsed_args)
        if parsed_args.image is not None:
            fields["image"] = parsed_args.image
        route = self.functions.update_route(app, parsed_args.route, **fields)
        return shown(ready(self.functions, app, route) if parsed_args.wait else route)


class UnsetRoute(ShowOne):
    """Take settings of a route away"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        parser.add_argument(
            "--config", metavar="<key>", action="append", default=[], help="This variable (may be repeated)"
        )
        parser.add_argument(
            "--secret", metavar="<name>", action="append", default=[], help="This secret (may be repeated)"
        )
        for name in NOTHING:
            parser.add_argument(f"--{name}", action="store_true", help=f"Its {name.replace('-', ' ')}")
        return parser

    def take_action(self, parsed_args):
        fields = {}
        if parsed_args.config:
            fields["config"] = dict.fromkeys(parsed_args.config, "")
        if parsed_args.secret:
            fields["secrets"] = dict.fromkeys(parsed_args.secret)
        for name, nothing in NOTHING.items():
            field = name.replace("-", "_")
            if getattr(parsed_args, field):
                fields[field] = nothing
        return shown(self.functions.update_route(parsed_args.app, parsed_args.route, **fields))


class DeleteRoute(Command):
    """Delete routes with their versions, aliases and triggers"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("app", metavar="<app>", help="The app's name, short or full")
        parser.add_argument("route", metavar="<path>", nargs="+", help="Paths of routes")
        return parser

    def take_action(self, parsed_args):
        each(parsed_args.route, lambda path: self.functions.delete_route(parsed_args.app, path), "routes")


class CreateWebhookSecret(ShowOne):
    """Give a route a new webhook secret that callers without a token must show; it is shown this once"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        add_kind(parser)
        return parser

    def take_action(self, parsed_args):
        secret = self.functions.create_webhook_secret(parsed_args.app, parsed_args.route, parsed_args.kind)
        return shown(secret)


class DeleteWebhookSecret(Command):
    """Take a webhook secret of a route away"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        add_kind(parser)
        return parser

    def take_action(self, parsed_args):
        self.functions.delete_webhook_secret(parsed_args.app, parsed_args.route, parsed_args.kind)


def add_kind(parser):
    """`--kind` of a webhook secret."""
    parser.add_argument(
        "--kind",
        choices=["signature", "path"],
        default="signature",
        help="signature: the sender signs the body; path: the URL has a token in it (default: signature)",
    )
