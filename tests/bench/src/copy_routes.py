"""Copies the only route of a database with its app and version until there are so many."""

import sqlite3
import sys
import uuid

path, wanted = sys.argv[1], int(sys.argv[2])
ROUTES_OF_AN_APP = 100
base = sqlite3.connect(path)
base.execute("PRAGMA synchronous = OFF")
base.row_factory = sqlite3.Row


def one(table):
    return dict(base.execute(f"SELECT * FROM {table}").fetchone())


def add(table, row):
    names = ", ".join(row)
    base.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))


app, route, version = one("apps"), one("routes"), one("route_versions")
for n in range(1, wanted):
    if n % ROUTES_OF_AN_APP == 1:
        app |= {"id": str(uuid.uuid4()), "short_name": f"copy{n}", "full_name": f"copy{n}-{n}"}
        add("apps", app)
    route |= {"id": str(uuid.uuid4()), "app_id": app["id"], "pattern": f"/copy{n}", "shape": f"/copy{n}"}
    add("routes", route)
    version |= {"id": str(uuid.uuid4()), "route_id": route["id"]}
    add("route_versions", version)
base.commit()
