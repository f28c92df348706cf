"""A URL as it is shown: whole, but for what is secret in it."""

from __future__ import annotations

import pytest

from search.errors import SearchError
from search.trial import Failure, FailureKind
from search.urls import fit_to_show, holds_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql+psycopg2://me:hunter2@db:5432/x?sslmode=require",
            "postgresql+psycopg2://me@db:5432/x?sslmode=require",
        ),
        ("postgresql://me:hunter2/with@more@db/x", "postgresql://me@db/x"),
        ("postgresql://me:@db/x", "postgresql://me@db/x"),
        ("postgresql://db/x?user=me&password=hunter2&sslmode=require", "postgresql://db/x?user=me&sslmode=require"),
        ("mysql://db/x?password=hunter2", "mysql://db/x"),
        ("http://me:hunter2@host:80/x", "http://host:80/x"),
        ("http://me:12345@host/x", "http://host/x"),
        ("https://hunter2@host/x", "https://host/x"),
        ("https://hunter2:x-oauth-basic@host/x", "https://host/x"),
        ("s3://AKIAKEY:hunter2/+a@bucket/a", "s3://bucket/a"),
        ("s3://AKIAKEY:123/hunter2@bucket/a", "s3://bucket/a"),
        ("url: /x?password=hunter2 (refused); try again", "url: /x (refused); try again"),
        ("https://h/x?sig=hunter2; is it up?", "https://h/x; is it up?"),
        ("simplecache::http://me:hunter2@host/x", "simplecache::http://host/x"),
        ("https://h/x?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2&page=2", "https://h/x?page=2"),
        ("https://h/x?sv=1&sig=hunter2#top", "https://h/x?sv=1#top"),
        ("https://h/x?api_key=hunter2&access_token=hunter2", "https://h/x"),
        ("cannot reach 'http://me:hunter2@h/a', is it up?", "cannot reach 'http://h/a', is it up?"),
    ],
)
def test_what_is_secret_is_left_out(url: str, shown: str) -> None:
    assert fit_to_show(url) == shown
    assert holds_password(url)
    assert not holds_password(shown)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////home/me@work/mlflow.db",
        "http://host:5000/a@b",
        "http://[::1]:5000/a@b",
        "[http://host:8080,hf:owner/name@config]",
        "postgresql://me@db/x",
        "abfs://container@account.dfs.core.windows.net/x",
        "s3://bucket/a@b?versionId=3",
        "https://host/x?page=2&tokens=5&key=title",
        "hf:owner/name@config",
        "who:what@where ",
        "why? because of a key=value & more",
    ],
)
def test_nothing_else_is(url: str) -> None:
    assert fit_to_show(url) == url
    assert not holds_password(url)


def test_errors_and_failures_show_no_password() -> None:
    error = SearchError("http://me:hunter2@host does not answer", hint="try http://me:hunter2@other")
    failure = Failure(FailureKind.ERROR, "at http://me:hunter2@host", traceback="raise X('http://me:hunter2@host')")
    assert "hunter2" not in f"{error} {error.message} {error.hint} {error!r} {failure}"
