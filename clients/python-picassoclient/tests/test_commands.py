"""`openstack function …`: what each command sends, prints and refuses."""

import json

import pytest

from tests.conftest import API, FN, PROJECT, TOKEN

APP = {"id": "a-1", "name": "tour-968f", "short_name": "tour", "description": "d", "config": {"A": "1"}}
TRIGGER = {
    "id": "t-1", "name": "nightly", "kind": "schedule", "app": "tour-968f", "route": "/hello", "state": "active",
    "options": {"cron": "0 3 * * *", "time_zone": "Europe/Berlin"}, "next_at": "2026-12-01T02:00:00.000000Z",
    "last_fired_at": None, "fired": 7,
}  # fmt: skip
ALIAS = {"name": "live", "versions": [{"version": 3, "weight": 95}, {"version": 4, "weight": 5}], "is_public": False}

#: The command, the request it makes, its body, and the answer's key and value.
SENT = [
    ("app create tour --description d --config A=1 --config B=x=y",
     "POST", "/apps", {"app": {"name": "tour", "description": "d", "config": {"A": "1", "B": "x=y"}}}, "app", APP),
    ("app create tour --secret KEY=s3 --config {\"A\":1}",
     "POST", "/apps", {"app": {"name": "tour", "config": {"A": "1"}, "secrets": {"KEY": "s3"}}}, "app", APP),
    ("app set tour --description x", "PUT", "/apps/tour", {"description": "x"}, "app", APP),
    ("app unset tour --config A --secret K --cors",
     "PUT", "/apps/tour", {"config": {"A": ""}, "secrets": {"K": None}, "cors": None}, "app", APP),
    ("route create tour /hello --image hello:1 --public --memory 64 --function-format json --method GET "
     "--method PUT --retry 5",
     "POST", "/apps/tour/routes",
     {"route": {"path": "/hello", "image": "hello:1", "is_public": True, "memory": 64, "format": "json",
                "methods": ["GET", "PUT"], "retry": {"max_attempts": 5}}}, "route", {"path": "/hello"}),
    ("route set tour /hello --private --rate-limit 10/60:5 --max-concurrency 0 --invoke async",
     "PUT", "/apps/tour/routes/hello",
     {"is_public": False, "rate_limit": {"calls": 10, "seconds": 60, "burst": 5}, "max_concurrency": 0,
      "invoke": ["async"]}, "route", {"path": "/hello"}),
    ("route unset tour /hello --config A --retry --allowed-sources",
     "PUT", "/apps/tour/routes/hello", {"config": {"A": ""}, "retry": None, "allowed_sources": []}, "route", {}),
    ("rollback tour /hello 2", "POST", "/routes/r-1/rollback", {"version": 2}, "route", {"path": "/hello"}),
    ("alias create tour /hello live --share 3=95 --share 4=5 --sticky-header X-User --public",
     "POST", "/routes/r-1/aliases",
     {"alias": {"name": "live", "versions": ALIAS["versions"], "is_public": True, "sticky": {"header": "X-User"}}},
     "alias", ALIAS),
    ("alias set tour /hello live --share 4 --no-sticky",
     "PUT", "/routes/r-1/aliases/live", {"versions": [{"version": 4, "weight": 1}], "sticky": None}, "alias", ALIAS),
    ("identity set tour /hello --role reader --role member", "PUT", "/routes/r-1/identity",
     {"identity": {"type": "trust", "roles": ["reader", "member"]}}, "identity", {"type": "trust"}),
    ("identity consent tour /hello", "POST", "/routes/r-1/identity/consent", None, "identity", {"type": "trust"}),
    ("trigger create hook tour /hello --kind webhook --sender github --signature github --filter type=push "
     "--paused",
     "POST", "/triggers",
     {"trigger": {"name": "hook", "app": "tour", "route": "/hello", "kind": "webhook", "enabled": False,
                  "options": {"sender": "github", "signature": "github"},
                  "filter": [{"field": "type", "equals": "push"}]}},
     "trigger", TRIGGER),
    ("trigger create up tour /hello --kind object --container photos --object-suffix .jpg --operation put --alias live "
     "--input {\"name\":\"${subject}\"}",
     "POST", "/triggers",
     {"trigger": {"name": "up", "app": "tour", "route": "/hello", "kind": "object", "alias": "live",
                  "options": {"container": "photos", "suffix": ".jpg", "operations": ["put"]},
                  "input": {"template": {"name": "${subject}"}}}},
     "trigger", TRIGGER),
    ("trigger create q tour /hello --kind queue --queue jobs --batch-size 5 --identity-role member --option x=2",
     "POST", "/triggers",
     {"trigger": {"name": "q", "app": "tour", "route": "/hello", "kind": "queue",
                  "options": {"queue": "jobs", "batch_size": 5, "x": 2},
                  "identity": {"type": "trust", "roles": ["member"]}}},
     "trigger", TRIGGER),
    ("trigger set nightly --cron @hourly --no-filter --active-version", "PUT", "/triggers/nightly",
     {"options": {"cron": "@hourly", "time_zone": "Europe/Berlin"}, "filter": None, "version": None, "alias": None},
     "trigger", TRIGGER),
    ("trigger pause nightly", "POST", "/triggers/nightly/pause", None, "trigger", TRIGGER),
    ("trigger resume nightly", "POST", "/triggers/nightly/resume", None, "trigger", TRIGGER),
    ("trigger fire nightly", "POST", "/triggers/nightly/fire", None, "firing", {"call_id": "c"}),
    ("trigger fire nightly --type t --data {\"a\":[1]}", "POST", "/triggers/nightly/fire",
     {"event": {"type": "t", "data": {"a": [1]}}}, "firing", {"call_id": "c"}),
    ("schedule create nightly tour /hello --every 5m --time-zone Europe/Berlin --missed once", "POST", "/triggers",
     {"trigger": {"name": "nightly", "app": "tour", "route": "/hello", "kind": "schedule",
                  "options": {"cron": "@every 5m", "time_zone": "Europe/Berlin", "missed": "once"}}},
     "trigger", TRIGGER),
    ("schedule set nightly --at 2027-01-01T00:00:00Z", "PUT", "/triggers/nightly",
     {"options": {"at": "2027-01-01T00:00:00Z", "time_zone": "Europe/Berlin"}}, "trigger", TRIGGER),
    ("schedule pause nightly", "POST", "/triggers/t-1/pause", None, "trigger", TRIGGER),
    ("execution cancel c", "POST", "/calls/c/cancel", None, "call", {"id": "c"}),
    ("execution retry c", "POST", "/calls/c/retry", None, "call", {"id": "c"}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "method", "path", "body", "key", "value"), SENT, ids=[each[0][:50] for each in SENT])
def test_each_command_sends_what_it_says(cloud, route, line, method, path, body, key, value):
    cloud.answers("GET", "/triggers/nightly", {"trigger": TRIGGER})
    cloud.answers(method, path, {key: value, "message": "m"})
    result = cloud.openstack("function", *line.split(" "), "-f", "json")
    assert result.code == 0, result.err
    assert cloud.body(method, path) == body
    assert json.loads(result.out).keys() <= value.keys()


DELETED = [
    ("app delete tour", ["/apps/tour"]),
    ("route delete tour /hello", ["/apps/tour/routes/hello"]),
    ("alias delete tour /hello live", ["/routes/r-1/aliases/live"]),
    ("image delete a:1 team/b:2", ["/images/a:1", "/images/team/b:2"]),
    ("trigger delete nightly", ["/triggers/nightly"]),
    ("schedule delete nightly", ["/triggers/t-1"]),
    ("identity unset tour /hello", ["/routes/r-1/identity"]),
    ("webhook secret delete tour /hello --kind path", ["/routes/r-1/webhook-secrets/path"]),
]


@pytest.mark.parametrize(("line", "paths"), DELETED, ids=[each[0] for each in DELETED])
def test_each_delete_says_nothing_when_it_is_done(cloud, route, line, paths):
    cloud.answers("GET", "/triggers/nightly", {"trigger": TRIGGER})
    deletes = [cloud.answers("DELETE", path, status=204) for path in paths]
    result = cloud.openstack("function", *line.split(" "))
    assert (result.code, result.out, result.err) == (0, "", "")
    assert all(delete.call_count == 1 for delete in deletes)


def test_of_several_deletes_the_others_are_done_and_the_failed_ones_told(cloud):
    cloud.answers("DELETE", "/apps/a", status=204)
    cloud.fails("DELETE", "/apps/b", 403, "app_not_empty", "Unable to delete app b with routes")
    last = cloud.answers("DELETE", "/apps/c", status=204)
    result = cloud.openstack("function", "app", "delete", "a", "b", "c")
    assert result.code == 1
    assert "1 of 3 apps failed:\nb: Unable to delete app b with routes (HTTP 403" in result.err
    assert last.called


def test_an_error_says_what_happened_and_which_request_it_was(cloud):
    cloud.fails("GET", "/apps/x", 404, "app_not_found", "App x not found")
    result = cloud.openstack("function", "app", "show", "x")
    assert (result.code, result.out) == (1, "")
    assert result.err == "App x not found (HTTP 404, app_not_found, request req-1)\n"


def test_a_cloud_without_the_service_is_told_so(cloud):
    result = cloud.openstack("--os-interface", "internal", "function", "app", "list")
    assert result.code == 1
    assert "no service of type functions here" in result.err


def test_a_service_that_does_not_answer_is_told_with_its_address(cloud):
    result = cloud.openstack("function", "app", "list")
    assert result.code == 1
    assert API in result.err


def test_lists_are_tables_for_people(cloud):
    cloud.answers("GET", "/apps", {"apps": [APP]})
    result = cloud.openstack("function", "app", "list")
    assert [cell.strip() for cell in result.out.splitlines()[1].split("|")[1:-1]] == [
        "Name",
        "Full Name",
        "Description",
    ]
    assert "| tour | tour-968f | d           |" in result.out
    cloud.answers("GET", "/routes/r-1/aliases", {"aliases": [ALIAS]})


def test_an_alias_shows_its_shares_in_per_cent(cloud, route):
    cloud.answers("GET", "/routes/r-1/aliases/live", {"alias": ALIAS})
    assert "3 (95 %), 4 (5 %)" in cloud.openstack("function", "alias", "show", "tour", "/hello", "live").out


def test_versions_are_listed(cloud, route):
    version = {"version": 3, "state": "ready", "is_active": True, "aliases": ["live"], "image": "hello:1"}
    cloud.answers("GET", "/routes/r-1/versions", {"versions": [version]})
    result = cloud.openstack("function", "version", "list", "tour", "/hello", "-f", "json")
    assert json.loads(result.out)[0]["Version"] == 3


def test_limits_are_a_table_in_which_minus_one_is_no_limit(cloud):
    cloud.answers("GET", "/limits", {"limits": {"functions_apps": {"limit": -1, "usage": 3, "source": "default"}}})
    assert "| functions_apps | unlimited |     3 | default |" in cloud.openstack("function", "limits", "show").out
    rows = json.loads(cloud.openstack("function", "limits", "show", "-f", "json").out)
    assert rows == [{"Resource": "functions_apps", "Limit": -1, "Usage": 3, "Set By": "default"}]


def test_an_image_is_sent_as_it_lies_in_its_file(cloud, tmp_path):
    (tmp_path / "hello.tar").write_bytes(b"\x00tar")
    sent = []
    image = {"name": "team/hello:1", "size_bytes": 5 * 1024 * 1024, "digest": "sha256:0"}

    def taken(request, _context):
        sent.append(request.body.read())
        return {"image": image}

    cloud.answers("PUT", "/images/team/hello:1", taken)
    result = cloud.openstack("function", "image", "create", "team/hello:1", "--file", str(tmp_path / "hello.tar"))
    assert (result.code, sent) == (0, [b"\x00tar"])
    assert "5.0 MiB" in result.out
    result = cloud.openstack("function", "image", "create", "a:1", "--file", "/nowhere")
    assert "Cannot read /nowhere: No such file or directory" in result.err


def test_a_call_prints_the_answer_byte_for_byte(cloud, tmp_path):
    url = f"{FN}/v1/f/{PROJECT}/tour/hello"
    call = cloud.requests.post(url, content=b"Hello \xff", headers={"X-Mine": "1"})
    result = cloud.openstack(
        "function", "call", "tour", "/hello", "--data", '{"name": "Ada"}', "-o", str(tmp_path / "o")
    )
    assert (result.code, result.out) == (0, "")
    assert (tmp_path / "o").read_bytes() == b"Hello \xff"
    assert call.last_request.headers["Content-Type"] == "application/json"
    (tmp_path / "in.txt").write_text("from a file")
    cloud.requests.post(url, text="yes\n")
    result = cloud.openstack("function", "call", "tour", "/hello", "--data", f"@{tmp_path}/in.txt", "-i")
    assert result.out == "yes\n"
    assert "HTTP 200" in result.err
    sent = cloud.requests.last_request
    assert (sent.text, sent.headers["Content-Type"]) == ("from a file", "text/plain")


def test_a_function_that_fails_is_an_answer_and_an_exit_code(cloud):
    cloud.requests.post(f"{FN}/v1/f/{PROJECT}/tour/hello", text="no coffee", status_code=418)
    result = cloud.openstack("function", "call", "tour", "/hello")
    assert (result.code, result.out) == (1, "no coffee")
    assert result.err == "The function answered with status 418\n"


def test_a_call_that_fails_shows_the_end_of_its_stderr(cloud):
    fault = {"message": "The function exited with code 3", "kind": "function_failed", "request_id": "req-1",
             "call_id": "c-1", "stderr": "boom\n"}  # fmt: skip
    cloud.requests.post(
        f"{FN}/v1/f/{PROJECT}/tour/x", json={"error": fault}, status_code=502,
        headers={"Picasso-Error-Kind": "function_failed", "Content-Type": "application/json"},
    )  # fmt: skip
    result = cloud.openstack("function", "call", "tour", "/x")
    assert result.code == 1
    assert "exited with code 3 (HTTP 502, function_failed, request req-1)" in result.err
    assert "Call: c-1\nThe end of what the function wrote to stderr:\nboom" in result.err


def test_an_asynchronous_call_prints_its_id(cloud):
    accepted = {"json": {"call_id": "c-1", "message": "m"}, "status_code": 202, "headers": {"Picasso-Call-Id": "c-1"}}
    cloud.requests.post(f"{FN}/v1/f/{PROJECT}/tour/hello", [accepted])
    accepted["headers"]["Content-Type"] = "application/json"
    result = cloud.openstack("function", "call", "tour", "/hello", "--async", "--delay", "5", "--idempotency-key", "k")
    assert (result.code, result.out) == (0, "c-1\n")
    sent = cloud.requests.last_request.headers
    assert (sent["X-Picasso-Invoke"], sent["X-Picasso-Delay"], sent["Idempotency-Key"]) == ("async", "5", "k")
    cloud.answers("GET", "/calls/c-1", {"call": {"id": "c-1", "status": "succeeded"}})
    cloud.answers("GET", "/calls/c-1/result?raw=true", text="later")
    assert cloud.openstack("function", "call", "tour", "/hello", "--async", "--wait").out == "later"
    cloud.answers("GET", "/calls/c-1", {"call": {"id": "c-1", "status": "dead", "error": "no place"}})
    result = cloud.openstack("function", "call", "tour", "/hello", "--async", "--wait")
    assert (result.code, result.err) == (1, "Call c-1 ended as dead: no place\n")


def test_logs_are_printed_and_followed(cloud):
    lines = [{"time": "2026-01-31T12:00:00.000000Z", "stream": "stderr", "line": text} for text in ("one", "two")]
    cloud.answers("GET", "/calls/c/log", {"log": lines})
    assert cloud.openstack("function", "logs", "c").out == "one\ntwo\n"
    assert cloud.openstack("function", "logs", "-t", "c").out.startswith("2026-01-31T12:00:00.000000Z one\n")
    cloud.answers("GET", "/calls/c", {"call": {"id": "c", "attempt": 1, "status": "succeeded"}})
    stream = "".join(json.dumps(line) + "\n" for line in lines)
    cloud.answers("GET", "/calls/c/log", text=stream, headers={"Content-Type": "application/x-ndjson"})
    assert cloud.openstack("function", "logs", "-f", "c").out == "one\ntwo\n"


def test_a_synchronous_call_has_no_log_and_the_command_says_why(cloud):
    cloud.answers("GET", "/calls/c/log", {"log": []})
    cloud.answers("GET", "/calls/c", {"call": {"id": "c", "type": "sync"}})
    result = cloud.openstack("function", "logs", "c")
    assert (result.code, result.out) == (0, "")
    assert "asynchronous calls only" in result.err


def test_the_url_of_a_public_function_has_the_apps_full_name(cloud, route):
    cloud.answers("GET", "/apps/tour", {"app": APP})
    assert cloud.openstack("function", "url", "tour", "/hello").out == f"{FN}/f/tour-968f/hello\n"
    private = f"{FN}/v1/f/{PROJECT}/tour@3/hello\n"
    assert cloud.openstack("function", "url", "tour", "/hello", "--route-version", "3").out == private
    elsewhere = cloud.openstack("--os-functions-url", "https://fn.example.org/", "function", "url", "tour", "/hello")
    assert elsewhere.out == "https://fn.example.org/f/tour-968f/hello\n"


def test_secrets_are_in_no_debug_output(cloud, tmp_path):
    (tmp_path / "key").write_text("the-secret-of-mine\n")
    cloud.answers("POST", "/apps/tour/routes", {"route": {"path": "/x"}})
    at = f"@{tmp_path}/key"
    result = cloud.openstack(
        "--debug", "function", "route", "create", "tour", "/x", "--image", "i:1", "--secret", f"K={at}", "--jwt-key", at
    )
    assert result.code == 0, result.err
    sent = cloud.body("POST", "/apps/tour/routes")["route"]
    assert (sent["secrets"], sent["jwt_key"]) == ({"K": "the-secret-of-mine\n"}, "the-secret-of-mine")
    assert "the-secret-of-mine" not in result.out + result.err
    assert len(result.err) > 1000, "there is debug output"


def test_schedules_are_listed_with_when_they_run(cloud):
    cloud.answers("GET", "/triggers?kind=schedule", {"triggers": [TRIGGER]})
    rows = json.loads(cloud.openstack("function", "schedule", "list", "-f", "json").out)
    assert (rows[0]["When"], rows[0]["Time Zone"], rows[0]["State"]) == ("0 3 * * *", "Europe/Berlin", "active")


def test_firings_are_listed_with_their_outcome(cloud):
    firing = {
        "id": "f",
        "event_id": "e",
        "outcome": "filtered",
        "reason": "type",
        "call_id": None,
        "at": "2026-01-31T12:00:00.1Z",
    }
    cloud.answers("GET", "/triggers/nightly/firings", {"firings": [firing]})
    result = cloud.openstack("function", "trigger", "firings", "nightly")
    assert "| 2026-01-31T12:00:00Z | filtered | type   |" in result.out


def test_the_url_of_a_new_webhook_comes_with_a_word_about_it(cloud):
    cloud.answers(
        "POST", "/triggers", {"trigger": {"name": "h"}, "webhook": {"url": f"{FN}/t/~whp_0", "signing_key": "k"}}, 201
    )
    result = cloud.openstack("function", "trigger", "create", "h", "tour", "/x", "--kind", "webhook", "-f", "json")
    shown = json.loads(result.out)
    assert (shown["webhook_url"], shown["webhook_signing_key"]) == (f"{FN}/t/~whp_0", "k")
    assert "shown this once" in result.err


def test_the_secret_of_an_application_credential_comes_from_a_file(cloud, route, tmp_path):
    (tmp_path / "secret").write_text("s3cret\n")
    cloud.answers("PUT", "/routes/r-1/identity", {"identity": {"type": "application_credential"}})
    words = ["function", "identity", "set", "tour", "/hello", "--application-credential-id", "ac-1"]
    result = cloud.openstack(*words, "--application-credential-secret", f"@{tmp_path}/secret")
    assert result.code == 0, result.err
    sent = cloud.body("PUT", "/routes/r-1/identity")["identity"]
    assert sent == {"type": "application_credential", "id": "ac-1", "secret": "s3cret"}


REFUSED = [
    ("route create tour /x", "--image"),
    ("route create tour /x --image i --rate-limit ten", "'ten' is not CALLS[/SECONDS][:BURST]"),
    ("app create tour --config novalue", "'novalue' is not KEY=VALUE"),
    ("app create tour --secret hidden", "write it as NAME=VALUE or NAME=@FILE"),
    ("app create tour --config K=@/nowhere", "cannot read /nowhere: No such file or directory"),
    ("alias create tour /x live --share three", "'three' is not VERSION or VERSION=WEIGHT"),
    ("version show tour /x 0", "'0' is not a whole number from 1"),
    ("call tour /x --header novalue", "'novalue' is not NAME: VALUE"),
    ("call tour /x --async --sync", "not allowed with argument"),
    ("schedule create s tour /x", "Say when: --cron"),
    ("schedule create s tour /x --every 5m --cron @hourly", "one of --cron, --at and --every"),
    ("schedule create s tour /x --every soon", "'soon' is not a time like 90s, 5m or 1h30m"),
    ("trigger create t tour /x --kind queue --cron @hourly", "--cron is not for triggers of kind queue"),
    ("trigger create t tour /x --kind webhook --filter a>b", "is not a condition"),
    ("trigger create t tour /x --kind webhook --filter data.n>=many", "'many' is not a number"),
    ("identity set tour /x", "one of the arguments --role --application-credential-id is required"),
    ("schedule show hook", "hook is a trigger of kind webhook"),
]


@pytest.mark.parametrize(("line", "said"), REFUSED, ids=[each[0] for each in REFUSED])
def test_mistakes_are_told_before_anything_is_changed(cloud, line, said):
    cloud.answers("GET", "/triggers/hook", {"trigger": {**TRIGGER, "kind": "webhook"}})
    result = cloud.openstack("function", *line.split(" "))
    assert result.code != 0
    assert said in result.err
    assert "hidden" not in result.err
    assert all(each.method == "GET" or "auth/tokens" in each.url for each in cloud.requests.request_history)


def test_no_command_shows_a_token(cloud):
    cloud.answers("GET", "/apps", {"apps": [APP]})
    result = cloud.openstack("--debug", "function", "app", "list")
    assert result.code == 0
    assert TOKEN not in result.err


def test_a_trigger_is_changed_only_in_the_state_that_was_read(cloud):
    cloud.answers("GET", "/triggers/nightly", {"trigger": TRIGGER}, headers={"ETag": '"1"'})
    cloud.fails("PUT", "/triggers/nightly", 412, "precondition_failed", "The trigger was changed meanwhile")
    result = cloud.openstack("function", "trigger", "set", "nightly", "--name", "daily")
    assert "changed meanwhile (HTTP 412" in result.err
    assert cloud.requests.last_request.headers["If-Match"] == '"1"'
    assert cloud.body("PUT", "/triggers/nightly") == {"name": "daily"}


def test_triggers_of_an_app_are_listed_by_its_short_name(cloud):
    cloud.answers("GET", "/apps/tour", {"app": APP})
    cloud.answers("GET", "/triggers?app=tour-968f", {"triggers": [TRIGGER]})
    assert "nightly" in cloud.openstack("function", "trigger", "list", "--app", "tour").out


def test_a_new_secret_of_a_webhook_is_shown(cloud):
    answer = {"trigger": TRIGGER, "webhook": {"url": f"{FN}/t/~whp_1"}}
    cloud.answers("POST", "/triggers/hook/secret", answer)
    result = cloud.openstack("--debug", "function", "trigger", "secret", "create", "hook", "-f", "json")
    assert json.loads(result.out) == {"url": f"{FN}/t/~whp_1"}
    assert "~whp_1" not in result.err
