"""What oslo.policy decides: cases from standard input, a JSON document a line, verdicts to standard
output. The first line is a list of sets of rules; the others name one of those, a rule in any form,
a target and credentials. A verdict is true, false, or the name of what was raised."""

import json
import logging
import sys

import requests
from oslo_config import cfg
from oslo_policy import _parser
from oslo_policy import policy


class Answer:
    """Of a policy server, which says yes where its URL does."""

    def __init__(self, url):
        self.text = "True" if url.endswith("/yes") else "False"

    def close(self):
        pass


def post(url, **_):
    return Answer(url)


def enforcer(rules):
    conf = cfg.ConfigOpts()
    conf([])
    made = policy.Enforcer(conf, use_conf=False, default_rule="default")
    made.set_rules(policy.Rules.from_dict(rules, "default"), use_conf=False)
    return made


def verdict(made, case):
    check = _parser.parse_rule(case["rule"])
    try:
        return bool(made.enforce(check, case["target"], case["credentials"]))
    except RecursionError:
        return "RecursionError"
    except Exception as error:
        return type(error).__name__


# Of each rule that is not understood.
logging.disable()
requests.post = post
lines = iter(sys.stdin)
enforcers = [enforcer(rules) for rules in json.loads(next(lines))]
for line in lines:
    case = json.loads(line)
    print(json.dumps(verdict(enforcers[case["set"]], case)))
