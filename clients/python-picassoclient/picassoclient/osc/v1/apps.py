"""`openstack function app …`."""

from picassoclient.osc import values
from picassoclient.osc.base import Command, Lister, ShowOne, each
from picassoclient.osc.columns import Time, shown, table


class CreateApp(ShowOne):
    """Make an app: a group of functions with a configuration in common"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="<name>", help="Letters, digits, - and _; unique in the project")
        parser.add_argument("--description", metavar="<text>", help="What it is for")
        values.add_config(parser)
        return parser

    def take_action(self, parsed_args):
        fields = values.config_fields(parsed_args)
        if parsed_args.description is not None:
            fields["description"] = parsed_args.description
        return shown(self.functions.create_app(parsed_args.name, **fields))


class ListApps(Lister):
    """List the apps of the project"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("--long", action="store_true", help="More columns")
        parser.add_argument("--limit", metavar="<count>", type=values.positive, help="At most so many")
        return parser

    def take_action(self, parsed_args):
        fields = {"Name": "short_name", "Full Name": "name", "Description": "description"}
        if parsed_args.long:
            fields = {"ID": "id", **fields, "Config": "config", "Created At": ("created_at", Time)}
            fields["Updated At"] = ("updated_at", Time)
        return table(self.functions.apps(limit=parsed_args.limit), fields)


class ShowApp(ShowOne):
    """Show an app"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("app", metavar="<app>", help="Its name, short or full")
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.get_app(parsed_args.app))


class SetApp(ShowOne):
    """Change an app; what is not named stays"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("app", metavar="<app>", help="Its name, short or full")
        parser.add_argument("--description", metavar="<text>", help="What it is for")
        parser.add_argument(
            "--cors",
            metavar="<json>",
            type=values.json_object,
            help='Which pages of other origins may call its public functions: {"allow_origins": [...]} or @FILE',
        )
        values.add_config(parser)
        return parser

    def take_action(self, parsed_args):
        fields = values.config_fields(parsed_args)
        for name in ("description", "cors"):
            if getattr(parsed_args, name) is not None:
                fields[name] = getattr(parsed_args, name)
        return shown(self.functions.update_app(parsed_args.app, **fields))


class UnsetApp(ShowOne):
    """Take settings of an app away"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("app", metavar="<app>", help="Its name, short or full")
        parser.add_argument(
            "--config", metavar="<key>", action="append", default=[], help="This variable (may be repeated)"
        )
        parser.add_argument(
            "--secret", metavar="<name>", action="append", default=[], help="This secret (may be repeated)"
        )
        parser.add_argument("--cors", action="store_true", help="The rules for pages of other origins")
        return parser

    def take_action(self, parsed_args):
        fields = {}
        if parsed_args.config:
            fields["config"] = dict.fromkeys(parsed_args.config, "")
        if parsed_args.secret:
            fields["secrets"] = dict.fromkeys(parsed_args.secret)
        if parsed_args.cors:
            fields["cors"] = None
        return shown(self.functions.update_app(parsed_args.app, **fields))


class DeleteApp(Command):
    """Delete apps that have no routes"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("app", metavar="<app>", nargs="+", help="Names, short or full")
        return parser

    def take_action(self, parsed_args):
        each(parsed_args.app, self.functions.delete_app, "apps")


class CreateSigningKey(ShowOne):
    """Give an app a new key that its callbacks are signed with; it is shown this once"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("app", metavar="<app>", help="Its name, short or full")
        return parser

    def take_action(self, parsed_args):
        return ["signing_key"], [self.functions.create_signing_key(parsed_args.app)]
