"""A cloud of recorded answers: Keystone's catalog names a service whose answers a test chooses."""

import logging
from dataclasses import dataclass, field

import pytest
import requests_mock as requests_mocking
from keystoneauth1 import fixture, session
from keystoneauth1.identity import v3
from openstackclient.shell import OpenStackShell
from osc_lib.clientmanager import ClientManager

import picassoclient

KEYSTONE = "http://keystone.test/v3"
API = "http://functions.test:10001"
FN = "http://functions.test:10002"
PROJECT = "968f523b6fec4a7694aaa27b300bb879"
TOKEN = "gAAAAAB-the-token-that-nobody-may-see"
PASSWORD = "the-password-that-nobody-may-see"


@dataclass
class Result:
    code: int
    out: str
    err: str


@dataclass
class Cloud:
    requests: requests_mocking.Mocker
    capsys: pytest.CaptureFixture
    asked: list = field(default_factory=list)

    def answers(self, method, path, json=None, status=200, base=API, **kwargs):
        """What the service answers; the path is below the project unless it begins with two slashes."""
        url = base + (path[1:] if path.startswith("//") else f"/v1/{PROJECT}{path}")
        if json is not None:
            kwargs["json"] = json
        if "exc" not in kwargs:
            kwargs["status_code"] = status
        return self.requests.register_uri(method, url, **kwargs)

    def fails(self, method, path, status, kind, message, **more):
        body = {"error": {"code": status, "message": message, "kind": kind, "request_id": "req-1", **more}}
        return self.answers(
            method, path, body, status, headers={"Picasso-Error-Kind": kind, "Content-Type": "application/json"}
        )

    def openstack(self, *words, env=None):
        """The real command line, in this process."""
        login = [
            "--os-auth-url", KEYSTONE, "--os-username", "ann", "--os-password", PASSWORD,
            "--os-project-name", "demo1", "--os-user-domain-name", "Default", "--os-project-domain-name", "Default",
            "--os-region-name", "RegionOne",
        ]  # fmt: skip
        self.capsys.readouterr()
        # The command line keeps its clients for its process, which here has many.
        vars(ClientManager)["functions"]._handle = None
        try:
            code = OpenStackShell().run([*login, *words])
        except SystemExit as stop:
            code = stop.code
        finally:
            # The command line sets up logging for its process.
            logging.getLogger().handlers.clear()
        said = self.capsys.readouterr()
        assert TOKEN not in said.out + said.err
        assert PASSWORD not in said.out + said.err
        return Result(code, said.out, said.err)

    def body(self, method, path):
        """What was sent there last."""
        url = f"{API}/v1/{PROJECT}{path}"
        sent = [
            each for each in self.requests.request_history if each.method == method and each.url.split("?")[0] == url
        ]
        assert sent, [f"{each.method} {each.url}" for each in self.requests.request_history]
        return sent[-1].json() if sent[-1].text else None


@pytest.fixture
def cloud(requests_mock, capsys, monkeypatch, tmp_path):
    for name in ("OS_CLOUD", "OS_FUNCTIONS_URL", "OS_CLIENT_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    # No clouds.yaml of whoever runs the tests.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    token = fixture.V3Token(project_id=PROJECT, project_name="demo1")
    for service, url in {"functions": API, "identity": KEYSTONE}.items():
        entry = token.add_service(service, name=service)
        entry.add_standard_endpoints(public=url, region="RegionOne")
    requests_mock.get(KEYSTONE, json={"version": fixture.V3Discovery(KEYSTONE)})
    requests_mock.post(f"{KEYSTONE}/auth/tokens", json=token, headers={"X-Subject-Token": TOKEN})
    links = [{"rel": "self", "href": f"{API}/v1/"}, {"rel": "functions", "href": FN}]
    requests_mock.get(f"{API}/v1", json={"version": {"id": "v1.0", "links": links}})
    return Cloud(requests_mock, capsys)


@pytest.fixture
def functions(cloud):
    """`conn.functions` of a session."""
    auth = v3.Password(
        KEYSTONE, username="ann", password=PASSWORD, project_name="demo1",
        user_domain_name="Default", project_domain_name="Default",
    )  # fmt: skip
    return picassoclient.connect(session=session.Session(auth), region_name="RegionOne").functions


@pytest.fixture
def route(cloud):
    """A route of the app `tour`, as the service shows it."""
    shown = {"id": "r-1", "path": "/hello", "is_public": True, "state": "ready", "version": 3, "type": "sync"}
    cloud.answers("GET", "/apps/tour/routes/hello", {"route": shown})
    return shown
