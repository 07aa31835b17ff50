"""`openstack function trigger …`."""

import argparse
import re

from osc_lib import exceptions

from picassoclient.osc import conditions, output, values
from picassoclient.osc.base import Command, Lister, ShowOne, each
from picassoclient.osc.columns import Time, shown, table

KINDS = ("schedule", "notification", "webhook", "object", "queue")

#: Of each kind: its options, the fields they fill, and how they are read.
OPTIONS = {
    "schedule": {
        "--cron": ("cron", {"help": "When: 5 fields, 6 with seconds first, @hourly, or @every 90s"}),
        "--at": ("at", {"help": "Once, at this time (RFC 3339)"}),
        "--time-zone": ("time_zone", {"help": "Of the fields of --cron, like Europe/Berlin (default: UTC)"}),
        "--jitter": ("jitter_s", {"type": int, "help": "Up to so many seconds later, by chance"}),
        "--first-at": ("first_at", {"help": "Not before this time"}),
        "--last-at": ("last_at", {"help": "Not after this time"}),
        "--count": ("count", {"type": values.positive, "help": "So many times"}),
        "--missed": (
            "missed",
            {"choices": ["skip", "once", "all"], "help": "What of times at which the service was not there"},
        ),
    },
    "notification": {
        "--event-type": ("event_types", {"action": "append", "help": "compute.instance.* (may be repeated)"}),
        "--exchange": ("exchange", {"help": "Exchange of the message bus"}),
        "--topic": ("topic", {"help": "Topic of the message bus"}),
        "--scope": ("scope", {"choices": ["project", "all"], "help": "all: of all projects; for administrators"}),
    },
    "webhook": {
        "--sender": (
            "sender",
            {"choices": ["any", "aodh", "zaqar", "cloudevents", "github"], "help": "Who posts, and so in which form"},
        ),
        "--signature": ("signature", {"choices": ["none", "github"], "help": "How the sender signs"}),
        "--require-token": (
            "require_token",
            {"action": "store_const", "const": True, "help": "The sender also needs a token of the project"},
        ),
        "--wait-for-answer": (
            "wait",
            {"action": "store_const", "const": True, "help": "The sender gets the function's answer"},
        ),
        "--allowed-origin": (
            "allowed_origins",
            {"action": "append", "help": "Where it may be posted from (may be repeated)"},
        ),
    },
    "object": {
        "--container": ("container", {"help": "The container of Swift"}),
        "--object-prefix": ("prefix", {"help": "Only objects whose names begin so"}),
        "--object-suffix": ("suffix", {"help": "Only objects whose names end so"}),
        "--operation": (
            "operations",
            {
                "action": "append",
                "choices": ["put", "copy", "post", "delete", "segments_completed"],
                "help": "What was done to the object (may be repeated)",
            },
        ),
        "--allow-self": (
            "allow_self",
            {"action": "store_const", "const": True, "help": "Also objects that its own function wrote"},
        ),
        "--max-per-minute": ("max_per_minute", {"type": values.positive, "help": "More events in a minute stop it"}),
    },
    "queue": {
        "--queue": ("queue", {"help": "The queue of Zaqar; it is read in your name, see --identity-role"}),
        "--batch-size": ("batch_size", {"type": values.positive, "help": "Messages of one call"}),
        "--window": ("window_s", {"type": int, "help": "Seconds to wait for more messages of a call"}),
    },
}


def add_target(parser):
    """`<app> <path>` and which version."""
    parser.add_argument("app", metavar="<app>", help="The app's name, short or full")
    parser.add_argument("route", metavar="<path>", help="The path of the route it runs")
    selector = parser.add_mutually_exclusive_group()
    selector.add_argument(
        "--route-version",
        dest="version",
        metavar="<version>",
        type=values.positive,
        help="Run this version of the route",
    )
    selector.add_argument("--alias", metavar="<alias>", help="Run what this alias of the route stands for")


def add_options(parser, kinds):
    """Options of the kinds, and what all kinds have."""
    for kind in kinds:
        group = parser if len(kinds) == 1 else parser.add_argument_group(f"options of kind {kind}")
        for option, (field, how) in OPTIONS[kind].items():
            metavar = {} if {"const", "choices"} & how.keys() else {"metavar": f"<{option[2:]}>"}
            group.add_argument(option, dest=f"option_{field}", **metavar, **how)
    parser.add_argument(
        "--option", metavar="KEY=JSON", type=_option, action="append", default=[],
        help="Another option of its kind (may be repeated)",
    )  # fmt: skip
    parser.add_argument(
        "--filter", metavar="CONDITION", type=conditions.condition, action="append", help=conditions.HELP
    )
    parser.add_argument(
        "--input", metavar="<json>", type=values.json_value,
        help='What the function gets instead of the event\'s data: JSON or @FILE, in which "${data.a}" stands for '
        "that part of the event",
    )  # fmt: skip
    parser.add_argument(
        "--identity-role", metavar="<role>", action="append",
        help="A role of yours that the service uses in your name for this trigger (may be repeated)",
    )  # fmt: skip


def _option(value):
    key, text = values.pair(value)
    try:
        return key, values.json.loads(text)
    except ValueError:
        return key, text


def options_of(parsed):
    """The options that were given, by field."""
    given = vars(parsed)
    options = {name.removeprefix("option_"): value for name, value in given.items() if name.startswith("option_")}
    options = {name: value for name, value in options.items() if value is not None}
    return options | dict(parsed.option)


def fields_of(parsed):
    """The fields that all kinds have."""
    fields = {}
    for name in ("version", "alias", "filter"):
        if getattr(parsed, name, None) is not None:
            fields[name] = getattr(parsed, name)
    if parsed.input is not None:
        fields["input"] = {"template": parsed.input}
    if parsed.identity_role:
        fields["identity"] = {"type": "trust", "roles": parsed.identity_role}
    return fields


def check_kind(kind, options):
    """Options of another kind are a mistake that is told before anything is sent."""
    foreign = {
        field: option
        for other, all_options in OPTIONS.items()
        if other != kind
        for option, (field, _) in all_options.items()
    }
    for field in OPTIONS[kind].values():
        foreign.pop(field[0], None)
    for name in options:
        if name in foreign:
            raise exceptions.CommandError(f"{foreign[name]} is not for triggers of kind {kind}")


class CreateTrigger(ShowOne):
    """Make a trigger: events of a kind run a function"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="<name>", help="A lower-case letter, then letters, digits, - and _")
        add_target(parser)
        parser.add_argument("--kind", choices=KINDS, required=True, help="Where its events come from")
        parser.add_argument("--paused", action="store_true", help="Do not fire until it is resumed")
        add_options(parser, KINDS)
        return parser

    def take_action(self, parsed_args):
        options = options_of(parsed_args)
        check_kind(parsed_args.kind, options)
        return create(self.functions, parsed_args, parsed_args.kind, options)


def create(functions, parsed, kind, options):
    """Makes a trigger and shows it."""
    fields = fields_of(parsed)
    if parsed.paused:
        fields["enabled"] = False
    trigger = functions.create_trigger(parsed.name, parsed.app, parsed.route, kind, options=options, **fields)
    return shown_trigger(trigger)


def shown_trigger(trigger):
    """A trigger, with what senders of a new webhook need."""
    hook = trigger.get("webhook")
    if hook:
        output.note("What senders of this webhook need is shown this once: whoever has it can run the function")
        trigger = {**trigger, **{f"webhook_{name}": value for name, value in hook.items()}}
    return shown(trigger, hidden=("webhook",))


COLUMNS = {
    "Name": "name", "Kind": "kind", "App": "app", "Route": "route", "State": "state",
    "Fired": "fired", "Last Fired At": ("last_fired_at", Time),
}  # fmt: skip


class ListTriggers(Lister):
    """List the triggers of the project"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("--kind", choices=KINDS, help="Only those of this kind")
        parser.add_argument("--app", metavar="<app>", help="Only those of this app")
        parser.add_argument("--long", action="store_true", help="More columns")
        parser.add_argument("--limit", metavar="<count>", type=values.positive, help="At most so many")
        return parser

    def take_action(self, parsed_args):
        fields = COLUMNS
        if parsed_args.long:
            fields = {
                "ID": "id",
                **COLUMNS,
                "Next At": ("next_at", Time),
                "Reason": "state_reason",
                "Options": "options",
            }
        # The list knows apps by their full names.
        app = parsed_args.app and self.functions.get_app(parsed_args.app)["name"]
        triggers = self.functions.triggers(limit=parsed_args.limit, kind=parsed_args.kind, app=app)
        return table(triggers, fields)


def add_trigger(parser):
    """`<trigger>`."""
    parser.add_argument("trigger", metavar="<trigger>", help="Its name or id")


class ShowTrigger(ShowOne):
    """Show a trigger"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_trigger(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.get_trigger(parsed_args.trigger))


def add_changes(parser):
    """What `set` has beside the options."""
    parser.add_argument("--name", dest="new_name", metavar="<new-name>", help="Its new name")
    selector = parser.add_mutually_exclusive_group()
    selector.add_argument(
        "--route-version",
        dest="version",
        metavar="<version>",
        type=values.positive,
        help="Run this version of the route",
    )
    selector.add_argument("--alias", metavar="<alias>", help="Run what this alias of the route stands for")
    selector.add_argument("--active-version", action="store_true", help="Run the version that the route runs")
    parser.add_argument("--no-filter", action="store_true", help="All events fire it")
    parser.add_argument("--no-input", action="store_true", help="The function gets the event's data as it is")
    parser.add_argument("--no-identity", action="store_true", help="The service does nothing in your name")


def change(functions, parsed, trigger, given):
    """Sends what options named; options of the kind that were not named stay."""
    fields = fields_of(parsed)
    if given:
        fields["options"] = {
            key: value for key, value in ((trigger["options"] or {}) | given).items() if value is not None
        }
    if parsed.active_version:
        fields |= {"version": None, "alias": None}
    if parsed.no_filter:
        fields["filter"] = None
    if parsed.no_input:
        fields["input"] = None
    if parsed.no_identity:
        fields["identity"] = {"type": "none"}
    if parsed.new_name is not None:
        fields["name"] = parsed.new_name
    # What was read above is what is changed, or nothing is.
    return shown_trigger(functions.update_trigger(parsed.trigger, if_match=trigger.etag, **fields))


class SetTrigger(ShowOne):
    """Change a trigger; what is not named stays"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_trigger(parser)
        add_changes(parser)
        add_options(parser, KINDS)
        return parser

    def take_action(self, parsed_args):
        trigger, given = self.functions.get_trigger(parsed_args.trigger), options_of(parsed_args)
        check_kind(trigger["kind"], given)
        return change(self.functions, parsed_args, trigger, given)


class DeleteTrigger(Command):
    """Delete triggers; calls they made go on"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("trigger", metavar="<trigger>", nargs="+", help="Names or ids")
        return parser

    def take_action(self, parsed_args):
        each(parsed_args.trigger, self.functions.delete_trigger, "triggers")


class PauseTrigger(ShowOne):
    """Keep a trigger from firing"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_trigger(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.pause_trigger(parsed_args.trigger))


class ResumeTrigger(ShowOne):
    """Let a trigger fire again"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_trigger(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.resume_trigger(parsed_args.trigger))


class FireTrigger(ShowOne):
    """Fire a trigger now, to try it"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_trigger(parser)
        parser.add_argument("--type", metavar="<type>", help="The event's type")
        parser.add_argument("--subject", metavar="<subject>", help="The event's subject")
        parser.add_argument("--data", metavar="<json>", type=values.json_value, help="The event's data: JSON or @FILE")
        return parser

    def take_action(self, parsed_args):
        event = {name: getattr(parsed_args, name) for name in ("type", "subject", "data")}
        event = {name: value for name, value in event.items() if value is not None}
        return shown(self.functions.fire_trigger(parsed_args.trigger, event or None))


class ListFirings(Lister):
    """List what became of a trigger's last events, newest first"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_trigger(parser)
        parser.add_argument(
            "--limit", metavar="<count>", type=values.positive, default=50, help="At most so many (default: 50)"
        )
        return parser

    def take_action(self, parsed_args):
        fields = {
            "At": ("at", Time), "Outcome": "outcome", "Reason": "reason", "Call ID": "call_id", "Event ID": "event_id",
        }  # fmt: skip
        return table(self.functions.firings(parsed_args.trigger, limit=parsed_args.limit), fields)


class CreateTriggerSecret(ShowOne):
    """Give a webhook a new URL and signing key, shown this once; those before it end"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_trigger(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.create_trigger_secret(parsed_args.trigger))


def every(value: str) -> str:
    """`90`, `90s` or `1h30m` as an expression of cron."""
    text = f"{value}s" if value.isdigit() else value
    if not re.fullmatch(r"(\d+[hms])+", text) or not re.search("[1-9]", text):
        raise argparse.ArgumentTypeError(f"{value!r} is not a time like 90s, 5m or 1h30m")
    return f"@every {text}"
