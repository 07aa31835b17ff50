"""`openstack function identity …`: in whose name a function acts in OpenStack."""

import getpass
import sys

from osc_lib import exceptions

from picassoclient.osc import values
from picassoclient.osc.base import Command, ShowOne
from picassoclient.osc.columns import shown
from picassoclient.osc.v1.routes import add_route


class SetIdentity(ShowOne):
    """Let a function act in OpenStack: in your name by a trust, or by an application credential"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        how = parser.add_mutually_exclusive_group(required=True)
        how.add_argument(
            "--role",
            metavar="<role>",
            action="append",
            help="A role of yours in this project that the function gets by a trust, and no other (may be repeated)",
        )
        how.add_argument(
            "--application-credential-id", metavar="<id>", help="Act by this application credential of yours"
        )
        parser.add_argument(
            "--application-credential-secret",
            metavar="@FILE",
            type=values.secret_text,
            help="Its secret: @FILE, or @- for standard input (default: asked for at the terminal)",
        )
        return parser

    def take_action(self, parsed_args):
        if parsed_args.role:
            if parsed_args.application_credential_secret is not None:
                raise exceptions.CommandError("--application-credential-secret needs --application-credential-id")
            identity = {"type": "trust", "roles": parsed_args.role}
        else:
            secret = parsed_args.application_credential_secret
            if secret is None:
                if not sys.stdin.isatty():
                    raise exceptions.CommandError("The secret is needed: --application-credential-secret @FILE")
                secret = getpass.getpass("Secret of the application credential: ")
            identity = {
                "type": "application_credential",
                "id": parsed_args.application_credential_id,
                "secret": str(secret),
            }
        return shown(self.functions.set_identity(parsed_args.app, parsed_args.route, **identity))


class ShowIdentity(ShowOne):
    """Show in whose name a function acts"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.get_identity(parsed_args.app, parsed_args.route))


class UnsetIdentity(Command):
    """Take a function's identity away: it acts as nobody"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        return parser

    def take_action(self, parsed_args):
        self.functions.delete_identity(parsed_args.app, parsed_args.route)


class ConsentIdentity(ShowOne):
    """Agree to what somebody else changed in a function that acts in your name; it was suspended until now"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.consent_identity(parsed_args.app, parsed_args.route))
