"""Passwords in URLs, where they would be recorded: in a study's file, which MLflow and every report keep."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from search.urls import holds_password

# Where else the password can be given, by how the URL begins.
ELSEWHERE = (
    (r"(postgres|mysql|mariadb|mssql|oracle)", "give it in $MLFLOW_TRACKING_URI, which is recorded without it"),
    (r"ray", "remove it: a cluster takes a token, in RAY_AUTH_TOKEN"),
    (r"s3", "give it in ~/.aws/credentials, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (r"http", "give it in ~/.netrc; that of an MLflow server in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    (r"", "give it where that file system looks for it, such as ~/.config/fsspec"),
)


def remedy(text: str) -> str:
    """What to do about the password in the first URL of `text` that holds one."""
    url = next((word for word in text.split() if holds_password(word)), "")
    scheme = re.search(r"([\w+]+)://", url)
    return next(hint for start, hint in ELSEWHERE if re.match(start, scheme[1] if scheme else ""))


def passwords_in(root: yaml.Node, text: str) -> Iterator[tuple[tuple[str, ...], int, str]]:
    """Each password of a YAML file: the setting that holds it, none in a comment, its line from 0, and the remedy.

    Args:
        root: what `text` is composed to.
    """
    found: set[int] = set()
    for location, node in _scalars(root):
        if holds_password(node.value):
            found.update(range(node.start_mark.line, node.end_mark.line + 1))
            yield location, node.start_mark.line, remedy(node.value)
    for number, line in enumerate(text.splitlines()):
        if number not in found and holds_password(line):
            yield (), number, remedy(line)


def _scalars(node: yaml.Node, location: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], yaml.ScalarNode]]:
    """All texts in a file, the keys among them."""
    if isinstance(node, yaml.ScalarNode):
        yield location, node
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield location, key
            yield from _scalars(value, (*location, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item, location)
