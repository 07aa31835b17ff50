"""`openstack function version …`, `… alias …` and `… rollback`."""

import argparse

from picassoclient.osc import values
from picassoclient.osc.base import Command, Lister, ShowOne
from picassoclient.osc.columns import Shares, Time, shown, table
from picassoclient.osc.v1.routes import add_route


def share(value: str) -> dict[str, int]:
    """`VERSION[=WEIGHT]`."""
    version, equals, weight = value.partition("=")
    if not version.isdigit() or (equals and not weight.isdigit()):
        raise argparse.ArgumentTypeError(f"{value!r} is not VERSION or VERSION=WEIGHT, like 3 or 3=95")
    return {"version": int(version), "weight": int(weight) if equals else 1}


class ListVersions(Lister):
    """List the versions of a route, newest first"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        parser.add_argument("--limit", metavar="<count>", type=values.positive, help="At most so many")
        return parser

    def take_action(self, parsed_args):
        versions = self.functions.versions(parsed_args.app, parsed_args.route, limit=parsed_args.limit)
        fields = {
            "Version": "version", "State": "state", "Active": "is_active", "Aliases": "aliases", "Image": "image",
            "Digest": "digest", "Rolled Back To": "rolled_back_to", "Created At": ("created_at", Time),
        }  # fmt: skip
        return table(versions, fields)


class ShowVersion(ShowOne):
    """Show a version of a route"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        parser.add_argument("version", metavar="<version>", type=values.positive, help="Its number")
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.get_version(parsed_args.app, parsed_args.route, parsed_args.version))


class RollBack(ShowOne):
    """Run again what an older version of a route ran"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        parser.add_argument("version", metavar="<version>", type=values.positive, help="The number to go back to")
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.roll_back(parsed_args.app, parsed_args.route, parsed_args.version))


def add_alias(parser):
    """`<app> <path> <alias>`."""
    add_route(parser)
    parser.add_argument("alias", metavar="<alias>", help="The alias's name")


def add_fields(parser):
    """The settings of an alias."""
    public = parser.add_mutually_exclusive_group()
    public.add_argument("--public", dest="is_public", action="store_const", const=True, help="Callers need no token")
    public.add_argument("--private", dest="is_public", action="store_const", const=False, help="Callers need a token")
    sticky = parser.add_mutually_exclusive_group()
    sticky.add_argument(
        "--sticky-header", metavar="<name>", help="Callers with the same value of this header get the same version"
    )
    sticky.add_argument("--sticky-cookie", metavar="<name>", help="The same by a cookie")


def fields_of(parsed):
    """The fields of a request that options named."""
    fields = {} if parsed.is_public is None else {"is_public": parsed.is_public}
    if parsed.sticky_header:
        fields["sticky"] = {"header": parsed.sticky_header}
    if parsed.sticky_cookie:
        fields["sticky"] = {"cookie": parsed.sticky_cookie}
    return fields


class CreateAlias(ShowOne):
    """Make an alias: a name for one version of a route, or several that share its calls"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_alias(parser)
        parser.add_argument(
            "--share",
            dest="version",
            metavar="VERSION[=WEIGHT]",
            type=share,
            action="append",
            required=True,
            help="A version and its part of the calls (may be repeated)",
        )
        add_fields(parser)
        return parser

    def take_action(self, parsed_args):
        at = (parsed_args.app, parsed_args.route, parsed_args.alias)
        return shown_alias(self.functions.create_alias(*at, parsed_args.version, **fields_of(parsed_args)))


class ListAliases(Lister):
    """List the aliases of a route"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        return parser

    def take_action(self, parsed_args):
        fields = {
            "Name": "name", "Versions": ("versions", Shares), "Public": "is_public", "Sticky": "sticky",
            "Updated At": ("updated_at", Time),
        }  # fmt: skip
        return table(self.functions.aliases(parsed_args.app, parsed_args.route), fields)


class ShowAlias(ShowOne):
    """Show an alias"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_alias(parser)
        return parser

    def take_action(self, parsed_args):
        return shown_alias(self.functions.get_alias(parsed_args.app, parsed_args.route, parsed_args.alias))


class SetAlias(ShowOne):
    """Change an alias; what is not named stays"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_alias(parser)
        parser.add_argument(
            "--share",
            dest="version",
            metavar="VERSION[=WEIGHT]",
            type=share,
            action="append",
            help="A version and its part of the calls; all that it is to stand for (may be repeated)",
        )
        add_fields(parser)
        parser.add_argument("--no-sticky", action="store_true", help="Each call is drawn on its own")
        return parser

    def take_action(self, parsed_args):
        fields = fields_of(parsed_args)
        if parsed_args.version:
            fields["versions"] = parsed_args.version
        if parsed_args.no_sticky:
            fields["sticky"] = None
        at = (parsed_args.app, parsed_args.route, parsed_args.alias)
        return shown_alias(self.functions.update_alias(*at, **fields))


class DeleteAlias(Command):
    """Delete an alias; its versions stay"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_alias(parser)
        return parser

    def take_action(self, parsed_args):
        self.functions.delete_alias(parsed_args.app, parsed_args.route, parsed_args.alias)


def shown_alias(alias):
    """An alias with its versions as people read them."""
    names, cells = shown(alias)
    return names, [
        Shares(alias["versions"]) if name == "versions" else cell for name, cell in zip(names, cells, strict=True)
    ]
