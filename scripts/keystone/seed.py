"""Fills a bootstrapped Keystone with the demo projects, users and the catalog entry.

Runs inside Keystone's Python environment and speaks to the application in process, so that the
data folder is at rest before and after. Everything is looked up before it is made: running it
again changes nothing, and brings a folder of an older checkout up to date.

usage: OS_KEYSTONE_CONFIG_DIR=… seed.py CREDENTIALS_FILE
"""

import json
import sys

CREDENTIALS = sys.argv[1]

import keystone_wsgi  # noqa: E402
from werkzeug.test import Client  # noqa: E402

# user, project, roles in that project
USERS = [
    ("demo1-member", "demo1", "member"),
    ("demo1-reader", "demo1", "reader"),
    ("demo1-admin", "demo1", "admin"),
    ("demo1-nobody", "demo1", "observer"),
    ("demo2-member", "demo2", "member"),
    # Only `service`: enough to validate tokens, and nothing more.
    ("picasso", "service", "service"),
]


class Api:
    """Keystone's HTTP API, in process, as the administrator."""

    def __init__(self, admin_password):
        self.client = Client(keystone_wsgi.application)
        self.headers = {}
        answer = self.request(
            "POST",
            "/v3/auth/tokens",
            {
                "auth": {
                    "identity": {
                        "methods": ["password"],
                        "password": {
                            "user": {
                                "name": "admin",
                                "domain": {"id": "default"},
                                "password": admin_password,
                            }
                        },
                    },
                    "scope": {"system": {"all": True}},
                }
            },
        )
        self.headers = {"X-Auth-Token": answer.headers["X-Subject-Token"]}

    def request(self, method, path, body=None):
        answer = self.client.open(path, method=method, json=body, headers=self.headers)
        if answer.status_code >= 300:
            sys.exit(f"seed: {method} {path} answered {answer.status_code}: {answer.text}")
        return answer

    def named(self, collection, name, **fields):
        """The id of the member of `collection` called `name`, made where it is missing."""
        found = self.request("GET", f"/v3/{collection}?name={name}").json[collection]
        if found:
            return found[0]["id"]
        singular = collection[:-1]
        body = {singular: {"name": name, **fields}}
        return self.request("POST", f"/v3/{collection}", body).json[singular]["id"]

    def endpoints(self, service_id, url):
        known = self.request("GET", f"/v3/endpoints?service_id={service_id}").json["endpoints"]
        known = {endpoint["interface"] for endpoint in known}
        for interface in ("public", "internal", "admin"):
            if interface not in known:
                body = {"service_id": service_id, "interface": interface, "url": url, "region_id": "RegionOne"}
                self.request("POST", "/v3/endpoints", {"endpoint": body})


def main():
    with open(CREDENTIALS, encoding="utf-8") as file:
        passwords = json.load(file)
    api = Api(passwords["admin"])
    for user, project, role in USERS:
        project_id = api.named("projects", project, domain_id="default")
        user_id = api.named("users", user, domain_id="default", password=passwords[user])
        role_id = api.named("roles", role)
        api.request("PUT", f"/v3/projects/{project_id}/users/{user_id}/roles/{role_id}")
    service_id = api.named("services", "picasso", type="functions", description="Functions as a Service")
    api.endpoints(service_id, "http://127.0.0.1:10001")


main()
