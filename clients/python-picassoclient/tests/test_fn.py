"""`openstack fn …`: the commands of 2017, their bugs mended."""

import json

import pytest

from tests.conftest import API, KEYSTONE, PROJECT, TOKEN

APP = {"name": "tour-968f", "config": {"A": "1"}, "description": "d"}
ROUTE = {"path": "/hello", "type": "sync", "image": "i:1", "memory": 128, "timeout": 30, "max_concurrency": 1,
         "is_public": False, "config": {}}  # fmt: skip


def test_apps_have_the_columns_they_had(cloud):
    cloud.answers("GET", "/apps", {"apps": [APP], "message": "m"})
    assert json.loads(cloud.openstack("fn", "apps", "list", "-f", "json").out) == [APP]
    assert "OpenStack-API-Version" not in cloud.requests.last_request.headers


@pytest.mark.parametrize("config", ['{"A": "2"}', json.dumps('{"A": "2"}')], ids=["once", "twice"])
@pytest.mark.parametrize("words", [[], ["--config"]], ids=["argument", "option"])
def test_an_app_is_updated_however_often_its_config_was_encoded(cloud, config, words):
    cloud.answers("PUT", "/apps/tour", {"app": APP, "message": "m"})
    result = cloud.openstack("fn", "apps", "update", "tour", *words, config, "-f", "json")
    assert result.code == 0, result.err
    assert cloud.body("PUT", "/apps/tour") == {"config": {"A": "2"}}
    assert json.loads(result.out) == APP


def test_an_update_without_anything_is_told_so(cloud):
    assert "Nothing to update" in cloud.openstack("fn", "apps", "update", "tour").err
    assert "Nothing to update" in cloud.openstack("fn", "routes", "update", "tour", "/hello").err


def test_a_route_is_made_as_it_was(cloud):
    cloud.answers("POST", "/apps/tour/routes", {"route": ROUTE, "message": "m"})
    result = cloud.openstack("fn", "routes", "create", "tour", "/hello", "sync", "i:1", "--is-public", "--config", "{}")
    assert result.code == 0, result.err
    sent = {**ROUTE, "is_public": "true"}
    assert cloud.body("POST", "/apps/tour/routes") == {"route": sent}


def test_an_update_of_a_route_sends_its_type_and_values_of_zero(cloud):
    cloud.answers("PUT", "/apps/tour/routes/hello", {"route": ROUTE, "message": "m"})
    words = ["--type", "async", "--memory", "0"]
    assert cloud.openstack("fn", "routes", "update", "tour", "/hello", *words).code == 0
    assert cloud.body("PUT", "/apps/tour/routes/hello") == {"type": "async", "memory": 0}


@pytest.mark.parametrize("data", ['{"name": "Ada"}', json.dumps('{"name": "Ada"}')], ids=["once", "twice"])
def test_a_function_is_run_with_json_that_was_encoded_once(cloud, data):
    cloud.answers("POST", f"//v1/r/{PROJECT}/tour/hello", {"result": "Hello Ada", "message": "m"})
    result = cloud.openstack("fn", "routes", "execute", "tour", "/hello", "--data", data, "-f", "json")
    assert json.loads(result.out) == {"result": "Hello Ada", "message": "m"}
    assert cloud.requests.last_request.json() == {"name": "Ada"}


def test_auth_properties_reach_the_function_and_no_output(cloud):
    cloud.answers("POST", f"//v1/r/{PROJECT}/tour/hello", {"result": "", "message": "m"})
    words = ["fn", "routes", "execute", "tour", "/hello", "--supply-auth-properties"]
    assert cloud.openstack("--debug", *words).code == 0
    assert cloud.requests.last_request.json() == {
        "OS_AUTH_URL": KEYSTONE, "OS_TOKEN": TOKEN, "OS_PROJECT_ID": PROJECT,
    }  # fmt: skip


def test_the_url_of_a_public_route_has_the_full_name(cloud):
    cloud.answers("GET", "/apps/tour", {"app": APP})
    cloud.answers("GET", "/apps/tour/routes/hello", {"route": {**ROUTE, "is_public": True}})
    assert cloud.openstack("fn", "routes", "expose-url", "tour", "/hello").out == f"{API}/r/tour-968f/hello\n"
    cloud.answers("GET", "/apps/tour/routes/hello", {"route": ROUTE})
    assert cloud.openstack("fn", "routes", "expose-url", "tour", "/hello").out == f"{API}/v1/r/{PROJECT}/tour/hello\n"


@pytest.mark.parametrize("words", [["apps", "delete", "tour"], ["routes", "delete", "tour", "/hello"]])
def test_a_delete_says_nothing(cloud, words):
    cloud.answers("DELETE", "/apps/tour", {"message": "m"})
    cloud.answers("DELETE", "/apps/tour/routes/hello", {"message": "m"})
    result = cloud.openstack("fn", *words)
    assert (result.code, result.out, result.err) == (0, "", "")
