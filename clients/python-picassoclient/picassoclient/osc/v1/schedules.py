"""`openstack function schedule …`: triggers of kind schedule in fewer words."""

from osc_lib import exceptions

from picassoclient.osc import values
from picassoclient.osc.base import Command, Lister, ShowOne, each
from picassoclient.osc.columns import Time, shown, table
from picassoclient.osc.v1 import triggers


def add_schedule(parser):
    """`<schedule>`."""
    parser.add_argument("trigger", metavar="<schedule>", help="Its name or id")


def add_every(parser):
    """`--every` beside the options of the kind."""
    parser.add_argument("--every", metavar="<time>", type=triggers.every, help="So often, like 90s, 5m or 1h30m")


def find(functions, name):
    """The trigger, if it is a schedule."""
    trigger = functions.get_trigger(name)
    if trigger["kind"] != "schedule":
        raise exceptions.CommandError(
            f"{name} is a trigger of kind {trigger['kind']}: `openstack function trigger …` is for it"
        )
    return trigger


def when(parsed):
    """The options that were given; at most one way to say when."""
    options = triggers.options_of(parsed)
    said = [name for name in ("cron", "at") if name in options] + (["every"] if parsed.every else [])
    if len(said) > 1:
        raise exceptions.CommandError("Say when by one of --cron, --at and --every")
    if parsed.every:
        options["cron"] = parsed.every
    return options, bool(said)


class CreateSchedule(ShowOne):
    """Run a function at times: again and again, or once"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="<name>", help="A lower-case letter, then letters, digits, - and _")
        triggers.add_target(parser)
        parser.add_argument("--paused", action="store_true", help="Do not fire until it is resumed")
        add_every(parser)
        triggers.add_options(parser, ["schedule"])
        return parser

    def take_action(self, parsed_args):
        options, said = when(parsed_args)
        if not said:
            raise exceptions.CommandError("Say when: --cron '*/5 * * * *', --every 5m, or --at 2026-12-31T23:59:00Z")
        return triggers.create(self.functions, parsed_args, "schedule", options)


class ListSchedules(Lister):
    """List the schedules of the project"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("--limit", metavar="<count>", type=values.positive, help="At most so many")
        return parser

    def take_action(self, parsed_args):
        rows = []
        for trigger in self.functions.triggers(limit=parsed_args.limit, kind="schedule"):
            options = trigger.get("options") or {}
            rows.append({**trigger, "when": options.get("cron") or options.get("at"), **_zone(options)})
        fields = {
            "Name": "name", "App": "app", "Route": "route", "When": "when", "Time Zone": "time_zone", "State": "state",
            "Next At": ("next_at", Time), "Last Fired At": ("last_fired_at", Time),
        }  # fmt: skip
        return table(rows, fields)


def _zone(options):
    return {"time_zone": options.get("time_zone") or "UTC"}


class ShowSchedule(ShowOne):
    """Show a schedule"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_schedule(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(find(self.functions, parsed_args.trigger))


class SetSchedule(ShowOne):
    """Change a schedule; what is not named stays"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_schedule(parser)
        triggers.add_changes(parser)
        add_every(parser)
        triggers.add_options(parser, ["schedule"])
        return parser

    def take_action(self, parsed_args):
        given, _ = when(parsed_args)
        if "at" in given:
            given["cron"] = None
        elif "cron" in given:
            given["at"] = None
        return triggers.change(self.functions, parsed_args, find(self.functions, parsed_args.trigger), given)


class DeleteSchedule(Command):
    """Delete schedules; calls they made go on"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("trigger", metavar="<schedule>", nargs="+", help="Names or ids")
        return parser

    def take_action(self, parsed_args):
        each(
            parsed_args.trigger,
            lambda name: self.functions.delete_trigger(find(self.functions, name)["id"]),
            "schedules",
        )


class PauseSchedule(ShowOne):
    """Keep a schedule from firing"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_schedule(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.pause_trigger(find(self.functions, parsed_args.trigger)["id"]))


class ResumeSchedule(ShowOne):
    """Let a schedule fire again"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_schedule(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.resume_trigger(find(self.functions, parsed_args.trigger)["id"]))
