"""`openstack fn …`: the commands of 2017, with the requests and columns they had."""

from osc_lib import exceptions

from picassoclient.osc import values
from picassoclient.osc.base import Command, Lister, ShowOne
from picassoclient.osc.columns import shown, table
from picassoclient.osc.output import write
from picassoclient.v1.client import Client


def _fields(*names):
    return {name: name for name in names}


class _Old:
    @property
    def client(self):
        """The client of 2017 with this login."""
        return Client(proxy=self.functions)


class ListApps(_Old, Lister):
    """List apps"""

    def take_action(self, parsed_args):
        return table(self.client.apps.list()["apps"], _fields("name", "config", "description"))


def _add_app(parser):
    parser.add_argument("name", metavar="<app-name>", help="The app's name")


def _add_route(parser):
    parser.add_argument("app", metavar="<app-name>", help="The app's name")
    parser.add_argument("route", metavar="<route-path>", help="The route's path")


class ShowApp(_Old, ShowOne):
    """Show an app"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        _add_app(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.client.apps.show(parsed_args.name)["app"])


class CreateApp(_Old, ShowOne):
    """Create an app"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        _add_app(parser)
        parser.add_argument("--config", metavar="<config>", type=values.json_object, help="A JSON object, or @FILE")
        return parser

    def take_action(self, parsed_args):
        return shown(self.client.apps.create(parsed_args.name, config=parsed_args.config)["app"])


class UpdateApp(_Old, ShowOne):
    """Update the configuration of an app"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        _add_app(parser)
        parser.add_argument(
            "config", metavar="<config>", nargs="?", type=values.json_object,
            help='A JSON object, or @FILE; the value "" deletes a key',
        )  # fmt: skip
        parser.add_argument("--config", metavar="<config>", dest="option", type=values.json_object, help="The same")
        return parser

    def take_action(self, parsed_args):
        config = parsed_args.config or parsed_args.option
        if not config:
            raise exceptions.CommandError("Nothing to update: no configuration was given")
        return shown(self.client.apps.update(parsed_args.name, config=config)["app"])


class DeleteApp(_Old, Command):
    """Delete an app"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        _add_app(parser)
        return parser

    def take_action(self, parsed_args):
        self.client.apps.delete(parsed_args.name)


class ListRoutes(_Old, Lister):
    """List the routes of an app"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("app", metavar="<app-name>", help="The app's name")
        return parser

    def take_action(self, parsed_args):
        columns = ("type", "path", "image", "memory", "timeout", "max_concurrency", "is_public", "config")
        return table(self.client.routes.list(parsed_args.app)["routes"], _fields(*columns))


class ShowRoute(_Old, ShowOne):
    """Show a route"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        _add_route(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.client.routes.show(parsed_args.app, parsed_args.route)["route"])


def _add_numbers(parser):
    parser.add_argument("--memory", metavar="<memory>", type=int, help="Memory, MiB")
    parser.add_argument("--timeout", metavar="<timeout>", type=int, help="How long the function may run, seconds")
    parser.add_argument("--max-concurrency", metavar="<max-concurrency>", type=int, help="Calls at one time")
    parser.add_argument("--config", metavar="<config>", type=values.json_object, help="A JSON object, or @FILE")


class CreateRoute(_Old, ShowOne):
    """Create a route"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        _add_route(parser)
        parser.add_argument("type", metavar="<execution-type>", choices=["async", "sync"], help="async or sync")
        parser.add_argument("image", metavar="<docker-image>", help="The image to run")
        parser.add_argument("--is-public", action="store_true", help="Callers need no token")
        _add_numbers(parser)
        return parser

    def take_action(self, parsed_args):
        route = self.client.routes.create(
            parsed_args.app,
            parsed_args.type,
            parsed_args.route,
            parsed_args.image,
            is_public=parsed_args.is_public,
            memory=parsed_args.memory,
            timeout=parsed_args.timeout,
            max_concurrency=parsed_args.max_concurrency,
            config=parsed_args.config,
        )["route"]
        return shown(route)


class UpdateRoute(_Old, ShowOne):
    """Update a route"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        _add_route(parser)
        parser.add_argument("--image", metavar="<docker-image>", help="The image to run")
        parser.add_argument("--type", metavar="<execution-type>", choices=["async", "sync"], help="async or sync")
        _add_numbers(parser)
        return parser

    def take_action(self, parsed_args):
        names = ("image", "memory", "max_concurrency", "timeout", "type", "config")
        data = {name: getattr(parsed_args, name) for name in names if getattr(parsed_args, name) is not None}
        if not data:
            raise exceptions.CommandError("Nothing to update: no option was given")
        return shown(self.client.routes.update(parsed_args.app, parsed_args.route, **data)["route"])


class DeleteRoute(_Old, Command):
    """Delete a route"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        _add_route(parser)
        return parser

    def take_action(self, parsed_args):
        self.client.routes.delete(parsed_args.app, parsed_args.route)


class ExecuteRoute(_Old, ShowOne):
    """Run a function"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        _add_route(parser)
        parser.add_argument(
            "--supply-auth-properties",
            action="store_true",
            help="Hand OS_AUTH_URL, OS_TOKEN and OS_PROJECT_ID over to the function: it can then do what you may",
        )
        parser.add_argument("--data", metavar="<data>", type=values.json_object, help="A JSON object, or @FILE")
        return parser

    def take_action(self, parsed_args):
        answer = self.client.routes.execute(
            parsed_args.app,
            parsed_args.route,
            supply_auth_properties=parsed_args.supply_auth_properties,
            **(parsed_args.data or {}),
        )
        return shown(answer, hidden=())


class ExposeUrl(_Old, Command):
    """Print the URL that runs a function"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        _add_route(parser)
        return parser

    def take_action(self, parsed_args):
        write([f"{self.client.routes.expose_url(parsed_args.app, parsed_args.route)}\n".encode()])
