"""`openstack function call`, `… logs`, `… url` and `… execution …`."""

import argparse
import mimetypes
import sys
from pathlib import Path

from osc_lib import exceptions

from picassoclient.errors import FunctionError
from picassoclient.osc import output, values
from picassoclient.osc.base import Command, Lister, ShowOne
from picassoclient.osc.columns import Time, shown, table
from picassoclient.osc.v1.routes import add_route


def header(value: str) -> tuple[str, str]:
    """`NAME: VALUE`."""
    name, colon, rest = value.partition(":")
    if not colon or not name.strip() or any(mark in value for mark in "\r\n"):
        raise argparse.ArgumentTypeError(f"{value!r} is not NAME: VALUE")
    return name.strip(), rest.strip()


def data_of(value: str) -> tuple[bytes, str]:
    """The bytes to send, and the content type they seem to have."""
    if value.startswith("@") and not value.startswith("@@"):
        name = value[1:]
        try:
            data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            raise argparse.ArgumentTypeError(f"cannot read {name}: {error.strerror}") from None
        kind = mimetypes.guess_type(name)[0]
        return data, kind or ("application/json" if _is_json(data) else "application/octet-stream")
    data = value.removeprefix("@").encode() if value.startswith("@@") else value.encode()
    return data, "application/json" if _is_json(data) else "text/plain; charset=utf-8"


def _is_json(data: bytes) -> bool:
    try:
        values.json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def add_selector(parser):
    """`--route-version` or `--alias`; `--version` is the command line's own wherever it stands."""
    selector = parser.add_mutually_exclusive_group()
    selector.add_argument(
        "--route-version", dest="version", metavar="<version>", type=values.positive, help="This version, by its number"
    )
    selector.add_argument("--alias", metavar="<alias>", help="A version that this alias of the route stands for")


class CallFunction(Command):
    """Call a function and print what it answers, byte for byte"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("app", metavar="<app>", help="The app's name, short or full")
        parser.add_argument("route", metavar="<path>", help="The path to call, like /users/42?verbose=1")
        parser.add_argument(
            "--data", metavar="<data>", type=data_of, help="What it gets: text, @FILE, or @- for standard input"
        )
        parser.add_argument("--content-type", metavar="<type>", help="Of the data (default: what it looks like)")
        parser.add_argument("--method", metavar="<method>", default="POST", help="HTTP method (default: POST)")
        parser.add_argument(
            "--header", metavar="'NAME: VALUE'", type=header, action="append", default=[],
            help="A header (may be repeated)",
        )  # fmt: skip
        add_selector(parser)
        invoke = parser.add_mutually_exclusive_group()
        invoke.add_argument(
            "--async", dest="invoke", action="store_const", const="async",
            help="Do not wait for the answer: print the id of the call (the route must be async or allow it)",
        )  # fmt: skip
        invoke.add_argument(
            "--sync", dest="invoke", action="store_const", const="sync",
            help="Wait for the answer of an asynchronous route (the route must allow it)",
        )  # fmt: skip
        parser.add_argument(
            "--wait", action="store_true", help="Of an asynchronous call: wait for its end and print its result"
        )
        parser.add_argument("--delay", metavar="<delay>", help="Of an asynchronous call: seconds, or a time (RFC 3339)")
        parser.add_argument(
            "--priority", choices=["0", "1", "2"], help="Of an asynchronous call: higher ones run first"
        )
        parser.add_argument(
            "--idempotency-key", metavar="<key>", help="Of an asynchronous call: the same key makes one call only"
        )
        parser.add_argument(
            "--timeout", metavar="<seconds>", type=values.seconds,
            help="How long to wait for the answer, or with --wait for the end of the call",
        )  # fmt: skip
        parser.add_argument("--include", "-i", action="store_true", help="Print status and headers, too (to stderr)")
        parser.add_argument("--output", "-o", metavar="<file>", help="Write the answer to this file")
        return parser

    def take_action(self, parsed_args):
        headers = dict(parsed_args.header)
        data, kind = parsed_args.data or (None, None)
        if parsed_args.content_type or kind:
            headers.setdefault("Content-Type", parsed_args.content_type or kind)
        for name, value in {
            "X-Picasso-Delay": parsed_args.delay,
            "X-Picasso-Priority": parsed_args.priority,
            "Idempotency-Key": parsed_args.idempotency_key,
        }.items():
            if value is not None:
                headers[name] = value
        try:
            answer = self.functions.call(
                parsed_args.app,
                parsed_args.route,
                data,
                method=parsed_args.method.upper(),
                headers=headers,
                version=parsed_args.version,
                alias=parsed_args.alias,
                invoke=parsed_args.invoke,
                timeout=parsed_args.timeout,
                stream=True,
            )
        except FunctionError as error:
            # What a function says of its failure is an answer, too.
            self._head(parsed_args, error.answer)
            output.save(error.answer, parsed_args.output)
            raise
        self._head(parsed_args, answer)
        call_id = accepted(answer)
        if call_id is None:
            output.save(answer, parsed_args.output)
        elif parsed_args.wait:
            self._await(parsed_args, call_id)
        else:
            output.write([f"{call_id}\n".encode()])
            if sys.stderr.isatty():
                output.note(f"Accepted. Its log: openstack function logs -f {call_id}")

    def _await(self, parsed_args, call_id):
        call = self.functions.wait_for_call(call_id, parsed_args.timeout)
        if call["status"] != "succeeded":
            reason = call.get("error") or "no reason was given"
            raise exceptions.CommandError(f"Call {call_id} ended as {call['status']}: {reason}")
        output.save(self.functions.get_result(call_id, stream=True), parsed_args.output)

    @staticmethod
    def _head(parsed_args, answer):
        if parsed_args.include:
            lines = [f"HTTP {answer.status_code} {answer.reason or ''}".rstrip()]
            lines += [f"{name}: {value}" for name, value in answer.headers.items()]
            output.note("\n".join([*lines, ""]))


def accepted(answer):
    """The id of the call, where the answer is that it was accepted, and not a function's own."""
    if answer.status_code != 202 or "json" not in answer.headers.get("Content-Type", ""):
        return None
    try:
        call_id = answer.json()["call_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return call_id if call_id == answer.headers.get("Picasso-Call-Id", call_id) else None


class ShowLogs(Command):
    """Print the log of an asynchronous call: what the function wrote to stderr"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("call", metavar="<call-id>", help="The call's id")
        parser.add_argument(
            "--follow", "-f", action="store_true", help="Print lines as they are written, until it ends"
        )
        parser.add_argument("--timestamps", "-t", action="store_true", help="Begin lines with their time")
        return parser

    def take_action(self, parsed_args):
        functions, call_id = self.functions, parsed_args.call
        lines = functions.follow_log(call_id) if parsed_args.follow else functions.get_log(call_id)
        written = False
        for line in lines:
            written = True
            text = f"{line['time']} {line['line']}" if parsed_args.timestamps else line["line"]
            output.write([f"{text}\n".encode(errors="replace")])
        if not written and functions.get_call(call_id).get("type") == "sync":
            output.note("Logs are kept of asynchronous calls only; this one was synchronous")


class ShowUrl(Command):
    """Print the URL of a function: the public one of a public route, else the one for callers with a token"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_route(parser)
        add_selector(parser)
        return parser

    def take_action(self, parsed_args):
        functions, app, path = self.functions, parsed_args.app, parsed_args.route
        if parsed_args.alias:
            public = functions.get_alias(app, path, parsed_args.alias)["is_public"]
        else:
            route = functions.get_route(app, path)
            public = route["is_public"] and parsed_args.version is None
        if public:
            # Strangers do not know the project: only the full name is unique.
            app = functions.get_app(app)["name"]
        url = functions.function_url(app, path, public=public, version=parsed_args.version, alias=parsed_args.alias)
        output.write([f"{url}\n".encode()])


class ListExecutions(Lister):
    """List the calls of the project's functions, newest first"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("--app", metavar="<app>", help="Only calls of this app")
        parser.add_argument("--route", metavar="<path>", help="Only calls of routes with this path")
        parser.add_argument(
            "--status",
            choices=["queued", "running", "succeeded", "failed", "timed_out", "cancelled", "dead"],
            help="Only calls in this state",
        )
        parser.add_argument("--since", metavar="<time>", help="Only calls accepted at this time or later (ISO 8601)")
        parser.add_argument(
            "--limit", metavar="<count>", type=values.positive, default=50, help="At most so many (default: 50)"
        )
        parser.add_argument("--long", action="store_true", help="More columns")
        return parser

    def take_action(self, parsed_args):
        query = {name: getattr(parsed_args, name) for name in ("app", "route", "status", "since")}
        fields = {
            "ID": "id", "App": "app", "Route": "route", "Version": "version", "Type": "type", "Status": "status",
            "Created At": ("created_at", Time), "Run (ms)": "run_ms",
        }  # fmt: skip
        if parsed_args.long:
            fields |= {"Trigger": "trigger", "Attempt": "attempt", "Queued (ms)": "queue_ms", "Error": "error"}
        return table(self.functions.calls(limit=parsed_args.limit, **query), fields)


def add_call(parser):
    """`<call-id>`."""
    parser.add_argument("call", metavar="<call-id>", help="The call's id")


class ShowExecution(ShowOne):
    """Show a call"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_call(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.get_call(parsed_args.call))


class CancelExecution(ShowOne):
    """End a call that waits or runs"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_call(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.cancel_call(parsed_args.call))


class RetryExecution(ShowOne):
    """Run an asynchronous call again that did not succeed"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_call(parser)
        return parser

    def take_action(self, parsed_args):
        return shown(self.functions.retry_call(parsed_args.call))


class ShowResult(Command):
    """Print what a function answered to an asynchronous call, byte for byte"""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        add_call(parser)
        parser.add_argument("--wait", action="store_true", help="Wait for the end of the call")
        parser.add_argument("--timeout", metavar="<seconds>", type=values.seconds, help="How long to wait")
        parser.add_argument("--output", "-o", metavar="<file>", help="Write it to this file")
        return parser

    def take_action(self, parsed_args):
        if parsed_args.wait:
            self.functions.wait_for_call(parsed_args.call, parsed_args.timeout)
        answer = self.functions.get_result(parsed_args.call, stream=True)
        if answer.headers.get("Picasso-Result-Truncated") == "true":
            output.note("The result was longer than what is kept; this is its beginning")
        output.save(answer, parsed_args.output)
