"""Filters as people write them."""

import argparse

import pytest

from picassoclient.osc.conditions import condition

WRITTEN = {
    "type=compute.instance.create.end": {"field": "type", "equals": "compute.instance.create.end"},
    "type=compute.*": {"field": "type", "glob": "compute.*"},
    "data.payload.state!=active": {"field": "data.payload.state", "not_equals": "active"},
    "subject^=photos/": {"field": "subject", "prefix": "photos/"},
    "subject$=.jpg": {"field": "subject", "suffix": ".jpg"},
    "data.size>=1024": {"field": "data.size", "at_least": 1024},
    "data.size<=0.5": {"field": "data.size", "at_most": 0.5},
    "data.n=5": {"field": "data.n", "equals": 5},
    'data.n="5"': {"field": "data.n", "equals": "5"},
    "data.ok=true": {"field": "data.ok", "equals": True},
    "data.a[0].b=x": {"field": "data.a[0].b", "equals": "x"},
    "data.url=http://a/?b=c": {"field": "data.url", "equals": "http://a/?b=c"},
    "subject=": {"field": "subject", "equals": ""},
    "data.error": {"field": "data.error", "exists": True},
    "!data.error": {"field": "data.error", "exists": False},
    '{"field": "type", "one_of": ["a", "b"]}': {"field": "type", "one_of": ["a", "b"]},
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_condition_is_what_its_text_says(text):
    assert condition(text) == WRITTEN[text]


@pytest.mark.parametrize("text", ["", "=x", "a b=c", "data.n>=x", "data.n>=true", "a~b", "{", "[1]"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        condition(text)
