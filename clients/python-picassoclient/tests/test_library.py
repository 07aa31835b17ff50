"""The library: what is sent, what is refused before it is sent, and how answers are read."""

import json

import openstack
import pytest
import requests
from openstack import exceptions

from picassoclient import client
from picassoclient.errors import ClientError, FunctionError
from tests.conftest import API, FN, KEYSTONE, PROJECT, TOKEN


def test_requests_carry_the_token_and_the_version_of_the_api(cloud, functions):
    cloud.answers("POST", "/apps", {"app": {"name": "a-1", "short_name": "a"}}, 201)
    app = functions.create_app("a", config={"A": "1"})
    assert (app.name, app["short_name"]) == ("a-1", "a")
    sent = cloud.requests.last_request
    assert sent.headers["X-Auth-Token"] == TOKEN
    assert sent.headers["OpenStack-API-Version"] == "functions 1.1"
    assert sent.json() == {"app": {"name": "a", "config": {"A": "1"}}}


def test_a_field_that_is_not_there_is_told_with_those_that_are(cloud, functions):
    cloud.answers("GET", "/apps/a", {"app": {"name": "a-1"}})
    with pytest.raises(AttributeError, match=r"no field 'nam'; there are: name"):
        _ = functions.get_app("a").nam


def test_all_pages_of_a_list_are_followed_whatever_host_their_links_name(cloud, functions):
    pages = [
        {"apps": [{"name": "a"}], "apps_links": [{"rel": "next", "href": "https://evil.test/x?marker=a&limit=1"}]},
        {"apps": [{"name": "b"}]},
    ]
    cloud.requests.get(f"{API}/v1/{PROJECT}/apps", [{"json": page} for page in pages])
    assert [app.name for app in functions.apps()] == ["a", "b"]
    assert cloud.requests.last_request.url == f"{API}/v1/{PROJECT}/apps?marker=a&limit=1"


def test_a_list_whose_next_page_is_itself_ends(cloud, functions):
    link = [{"rel": "next", "href": "/x?marker=a"}]
    cloud.answers("GET", "/apps", {"apps": [{"name": "a"}], "apps_links": link})
    assert len(list(functions.apps())) == 2


def test_a_limit_bounds_a_list_over_its_pages(cloud, functions):
    link = [{"rel": "next", "href": "/x?marker=b"}]
    cloud.answers("GET", "/calls", {"calls": [{"id": "a"}, {"id": "b"}], "calls_links": link})
    assert len(list(functions.calls(limit=2))) == 2
    assert "limit=2" in cloud.requests.last_request.url


@pytest.mark.parametrize("path", ["/../../other", "/a/./b", "/%2e%2e/x", ".."])
def test_a_path_that_leads_elsewhere_is_not_sent(functions, path):
    with pytest.raises(ClientError, match="segment"):
        functions.delete_route("a", path)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_is_none_is_not_sent(functions, name):
    with pytest.raises(ClientError, match="app: "):
        functions.delete_app(name)


def test_names_and_paths_are_encoded(cloud, functions):
    cloud.answers("GET", "/apps/a%2Fb/routes/users/:id%3Fx", {"route": {"id": "1"}})
    assert functions.get_route("a/b", "/users/:id?x").id == "1"


def test_errors_are_those_of_openstacksdk(cloud, functions):
    cloud.fails("GET", "/apps/a", 404, "app_not_found", "App a not found")
    with pytest.raises(exceptions.NotFoundException, match="App a not found"):
        functions.get_app("a")
    cloud.fails("POST", "/apps", 409, "app_exists", "App a already exists")
    with pytest.raises(exceptions.ConflictException, match="App a already exists"):
        functions.create_app("a")


def test_a_redirect_is_not_followed_with_a_token(cloud, functions):
    elsewhere = cloud.requests.get("http://evil.test/", json={})
    cloud.answers("GET", "/limits", status=302, headers={"Location": "http://evil.test/"})
    with pytest.raises(ClientError, match=r"redirects to evil\.test"):
        functions.get_limits()
    assert not elsewhere.called


def test_an_answer_of_something_else_is_told(cloud, functions):
    cloud.answers("GET", "/limits", text="<html>")
    with pytest.raises(ClientError, match="not a JSON object"):
        functions.get_limits()


def test_a_change_is_not_sent_twice_when_no_answer_comes(cloud, functions):
    broken = cloud.answers("POST", "/apps", exc=requests.exceptions.ConnectionError("reset"))
    with pytest.raises(Exception, match="Unable to establish connection"):
        functions.create_app("a")
    assert broken.call_count == 1


def test_a_function_gets_the_bytes_and_its_answer_comes_as_it_is(cloud, functions):
    url = f"{FN}/v1/f/{PROJECT}/a@live/x%20y"
    cloud.requests.put(url, content=b"\x00\xff", headers={"X-Mine": "1"}, status_code=201)
    answer = functions.call("a", "/x y?q=1", b"in", method="PUT", alias="live", headers={"Content-Type": "a/b"})
    assert (answer.status_code, answer.content, answer.headers["X-Mine"]) == (201, b"\x00\xff", "1")
    sent = cloud.requests.last_request
    assert (sent.body, sent.headers["Content-Type"], sent.query) == (b"in", "a/b", "q=1")
    assert sent.headers["X-Auth-Token"] == TOKEN


def test_a_redirect_of_a_function_is_its_answer(cloud, functions):
    cloud.requests.post(f"{FN}/v1/f/{PROJECT}/a/x", status_code=302, headers={"Location": "http://evil.test/"})
    assert functions.call("a", "/x").status_code == 302


def test_what_a_function_says_is_told_from_what_the_service_says(cloud, functions):
    url = f"{FN}/v1/f/{PROJECT}/a/x"
    cloud.requests.post(url, status_code=404, json={"error": {"message": "mine", "kind": "k", "request_id": "r"}})
    with pytest.raises(FunctionError) as mine:
        functions.call("a", "/x")
    assert mine.value.answer.status_code == 404
    cloud.requests.post(
        url,
        status_code=404,
        json={"error": {"message": "Route /x not found"}},
        headers={"Picasso-Error-Kind": "route_not_found"},
    )
    with pytest.raises(exceptions.NotFoundException, match="Route /x not found"):
        functions.call("a", "/x")


def test_a_call_is_not_repeated_when_its_answer_does_not_come(cloud, functions):
    calls = cloud.requests.post(f"{FN}/v1/f/{PROJECT}/a/x", exc=requests.exceptions.ReadTimeout("late"))
    with pytest.raises(Exception, match="timed out"):
        functions.call("a", "/x", timeout=1)
    assert calls.call_count == 1


def test_no_token_goes_to_functions_without_tls_where_the_api_has_it(cloud, functions, monkeypatch):
    monkeypatch.setattr(functions, "get_endpoint", lambda: "https://functions.test:10001")
    with pytest.raises(ClientError, match="without TLS"):
        functions.call("a", "/x")


def test_a_service_that_does_not_say_where_functions_are_needs_a_setting(cloud, functions):
    cloud.requests.get(f"{API}/v1", json={"version": {"links": []}})
    with pytest.raises(ClientError, match="OS_FUNCTIONS_URL"):
        functions.call("a", "/x")


def test_a_log_is_followed_over_the_end_of_a_stream(cloud, functions, monkeypatch):
    monkeypatch.setattr("picassoclient.v1.calls.FOLLOW_PAUSE", 0)
    states = [{"id": "c", "attempt": 1, "status": status} for status in ["running", "running", "running", "succeeded"]]
    cloud.requests.get(f"{API}/v1/{PROJECT}/calls/c", [{"json": {"call": state}} for state in states])
    streams = [["one"], ["one", "two"]]
    texts = ["".join(json.dumps({"line": line}) + "\n" for line in stream) for stream in streams]
    headers = {"Content-Type": "application/x-ndjson"}
    cloud.requests.get(f"{API}/v1/{PROJECT}/calls/c/log", [{"text": text, "headers": headers} for text in texts])
    assert [line.line for line in functions.follow_log("c")] == ["one", "two"]


def test_the_log_of_a_repeated_run_begins_anew(cloud, functions, monkeypatch):
    monkeypatch.setattr("picassoclient.v1.calls.FOLLOW_PAUSE", 0)
    states = [(1, "running"), (1, "running"), (2, "running"), (2, "succeeded")]
    answers = [{"json": {"call": {"id": "c", "attempt": attempt, "status": status}}} for attempt, status in states]
    cloud.requests.get(f"{API}/v1/{PROJECT}/calls/c", answers)
    cloud.answers("GET", "/calls/c/log", text='{"line": "x"}\n', headers={"Content-Type": "application/x-ndjson"})
    assert [line.line for line in functions.follow_log("c")] == ["x", "x"]


def test_waiting_for_a_call_is_bounded(cloud, functions):
    cloud.answers("GET", "/calls/c", {"call": {"id": "c", "status": "queued"}})
    with pytest.raises(exceptions.ResourceTimeout, match=r"still queued after 0\.1 seconds"):
        functions.wait_for_call("c", timeout=0.1)


def test_the_library_of_2017_sends_what_it_sent(cloud, functions):
    old = client.Client("v1", session=functions.session, region_name="RegionOne")
    cloud.answers("POST", "/apps/a/routes", {"route": {"path": "/x"}, "message": "m"})
    assert old.routes.create("a", "async", "/x", "i:1")["route"]["path"] == "/x"
    assert cloud.requests.last_request.json() == {
        "route": {
            "type": "async", "path": "/x", "image": "i:1", "memory": 128, "timeout": 30, "max_concurrency": 1,
            "is_public": "false", "config": {},
        }
    }  # fmt: skip
    assert "OpenStack-API-Version" not in cloud.requests.last_request.headers
    cloud.answers("POST", f"//v1/r/{PROJECT}/a/x", {"result": "hi", "message": "m"})
    answer = old.routes.execute("a", "/x", supply_auth_properties=True, name="Ada")
    assert answer["result"] == "hi"
    assert cloud.requests.last_request.json() == {
        "name": "Ada", "OS_AUTH_URL": KEYSTONE, "OS_TOKEN": TOKEN, "OS_PROJECT_ID": PROJECT,
    }  # fmt: skip


def test_there_is_one_version_of_the_old_library(functions):
    with pytest.raises(ClientError, match="no version 'v2'"):
        client.Client("v2", session=functions.session)
    with pytest.raises(ClientError, match="session"):
        client.Client("v1")


def test_a_vendor_hook_gives_a_connection_its_functions(cloud, tmp_path, monkeypatch):
    monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", [str(tmp_path / "clouds.yaml")])
    (tmp_path / "clouds.yaml").write_text(f"""
clouds:
  test:
    auth: {{auth_url: "{KEYSTONE}", username: ann, password: x, project_name: demo1,
            user_domain_name: Default, project_domain_name: Default}}
    region_name: RegionOne
    vendor_hook: "picassoclient:register"
""")
    cloud.answers("GET", "/limits", {"limits": {"functions_apps": {"limit": 5}}})
    conn = openstack.connect(cloud="test")
    assert conn.functions.get_limits()["functions_apps"]["limit"] == 5
