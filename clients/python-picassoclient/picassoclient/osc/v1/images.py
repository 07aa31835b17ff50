"""`openstack function image …` and `openstack function limits show`."""

import sys

from osc_lib import exceptions

from picassoclient.osc import values
from picassoclient.osc.base import Command, Lister, ShowOne, each
from picassoclient.osc.columns import Size, Time, cell, shown, table


class CreateImage(ShowOne):
    """Upload an image: a tar of an OCI layout, or what `docker save` wrote"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="<name>", help="Its name and tag, like hello:1; an older one is replaced")
        parser.add_argument("--file", metavar="<file>", required=True, help="The tar, plain or gzip; - is stdin")
        return parser

    def take_action(self, parsed_args):
        if parsed_args.file == "-":
            return _shown(self.functions.upload_image(parsed_args.name, sys.stdin.buffer))
        try:
            file = open(parsed_args.file, "rb")  # noqa: SIM115 - closed below
        except OSError as error:
            raise exceptions.CommandError(f"Cannot read {parsed_args.file}: {error.strerror}") from error
        with file:
            return _shown(self.functions.upload_image(parsed_args.name, file))


def _shown(image):
    names, cells = shown(image)
    return names, [Size(image[name]) if name == "size_bytes" else one for name, one in zip(names, cells, strict=True)]


class ListImages(Lister):
    """List the images that routes of the project may name"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("--limit", metavar="<count>", type=values.positive, help="At most so many")
        return parser

    def take_action(self, parsed_args):
        fields = {
            "Name": "name", "Size": ("size_bytes", Size), "Shared": "shared", "Digest": "digest",
            "Created At": ("created_at", Time),
        }  # fmt: skip
        return table(self.functions.images(limit=parsed_args.limit), fields)


class DeleteImage(Command):
    """Remove names of images of the project; versions that use them keep them"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="<name>", nargs="+", help="Names with tags")
        return parser

    def take_action(self, parsed_args):
        each(parsed_args.name, self.functions.delete_image, "images")


class ShowLimits(Lister):
    """Show how much the project may have, and has"""

    def take_action(self, parsed_args):
        rows = []
        for resource, limit in sorted(self.functions.get_limits().items()):
            # People read -1 as a mistake; programs get it as it is.
            rows.append([resource, _Limit(limit["limit"]), cell(limit["usage"]), limit["source"]])
        return ["Resource", "Limit", "Usage", "Set By"], rows


class _Limit(Size):
    def human_readable(self):
        return "unlimited" if self._value == -1 else str(self._value)
