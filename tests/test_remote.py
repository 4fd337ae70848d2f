"""Addresses: which text is one, what of it is secret, and what its errors say."""

import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from amg_cli.batch.cloud.remote import (
    errors_of,
    file_system,
    is_url,
    path_in,
    retried,
    without_secrets,
)
from amg_cli.cli.options import InputPath
from amg_cli.core.errors import InputError
from tests.object_store import one_object_store, store  # noqa: F401 - fixtures


@pytest.mark.parametrize(
    "url",
    [
        *("s3://b/a.jpg", "gs://b", "az://c/a", "abfs://c@account.dfs.core.windows.net/a"),
        *("hf://datasets/u/n", "https://h/a.jpg", "zip://a.jpg::s3://b/x.zip", "memory://a"),
    ],
)
def test_addresses(url):
    assert is_url(url)
    assert without_secrets(url) == url


@pytest.mark.parametrize(
    "path", ["a.jpg", "/a/b.jpg", "C:\\a.jpg", "C://a.jpg", "s3:/b", "://", "-"]
)
def test_paths_are_no_addresses(path):
    assert not is_url(path)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@host/a.jpg", "https://host/a.jpg"),
        ("https://ghp_token@host/a.jpg", "https://host/a.jpg"),
        ("abfs://user:pass@c/a.jpg", "abfs://c/a.jpg"),
        (
            "https://h/a.jpg?size=3&X-Amz-Credential=c&X-Amz-Signature=s&X-Amz-Security-Token=t",
            "https://h/a.jpg?size=3",
        ),
        ("https://h/a.jpg?sv=2024&se=2026&sr=b&sp=r&sig=abc%3D", "https://h/a.jpg"),
        ("https://h/get?id=4&access_token=abc&se=kept", "https://h/get?id=4&se=kept"),
        ("zip://a.jpg::https://u:p@h/x.zip?token=t", "zip://a.jpg::https://h/x.zip"),
        ("cannot open https://u:p@h/a?sig=1 now", "cannot open https://h/a now"),
    ],
)
def test_secrets_are_not_shown(url, shown):
    assert without_secrets(url) == shown


def test_where_outputs_of_an_address_lie():
    assert path_in("s3://bucket/a b/c.jpg") == "bucket/a b/c.jpg"
    assert path_in("https://u:p@host/a%20b.jpg?sig=1#x") == "host/a b.jpg"
    assert path_in("zip://in/a.jpg::s3://bucket/x.zip") == "in/a.jpg"


def said(url, call):
    with pytest.raises(InputError) as raised, errors_of(url):
        retried(url, call)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_server_answers_in_one_line_each(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr("amg_cli.batch.cloud.remote.FIRST_WAIT_S", 0.01)
    store.bucket("photos")
    store.put("photos", "a.jpg", b"abc" * 1000)
    fs, path = file_system("s3://photos/a.jpg")
    assert fs.cat_file(path) == b"abc" * 1000
    url = "s3://nowhere/a.jpg"
    assert said(url, lambda: fs.ls("nowhere")).startswith(f"{url}: no such bucket")
    assert "no such object" in said("s3://photos/b", lambda: fs.cat_file("photos/b"))
    http = f"{store.endpoint}/photos/a.jpg"
    web, path = file_system(http)
    store.network.share_503 = 0.5
    assert retried(http, lambda: web.cat_file(path)) == b"abc" * 1000
    store.network.share_503 = 1
    assert "the server answers 503; try again later" in said(http, lambda: web.cat_file(path))
    store.network.be_well()
    store.network.share_cut = 1
    assert "the connection broke off" in said(http, lambda: web.cat_file(path))
    store.network.be_well()
    store.refuse_strangers()
    assert "access is denied" in said(url, lambda: fs.cat_file("photos/a.jpg"))


def test_without_credentials_one_line_says_so(store, monkeypatch):  # noqa: F811
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    fs, path = file_system("s3://photos/b")
    assert "no credentials" in said("s3://photos/b", lambda: fs.ls(path))


def test_an_endpoint_may_be_fsspecs_own(store, monkeypatch):  # noqa: F811
    store.bucket("photos")
    store.put("photos", "a.jpg", b"abc")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setattr(fsspec.config, "conf", {})
    fsspec.config.set_conf_env(fsspec.config.conf, {"FSSPEC_S3_ENDPOINT_URL": store.endpoint})
    monkeypatch.setattr("fsspec.spec.conf", fsspec.config.conf, raising=False)
    fs, path = file_system("s3://photos/a.jpg")
    assert fs.cat_file(path) == b"abc"


def test_an_unknown_kind_of_address_is_said():
    with pytest.raises(InputError, match=r"^xyz://a: xyz:// is no kind of address"):
        file_system("xyz://u:p@a")


@pytest.mark.parametrize("package", ["fsspec", "s3fs"])
def test_what_is_not_installed_is_named_with_its_extra(package):
    without = f"import sys; sys.modules['{package}'] = None"  # as Python has it where there is none
    code = f"{without}; from amg_cli.batch.cloud.remote import file_system; file_system('s3://b/a.jpg')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.splitlines()[-1] == (
        "amg_cli.core.errors.InputError: s3://b/a.jpg: addresses of s3:// need a library that is "
        "not installed; pip install 'amg-cli[cloud]'"
    )


def test_an_input_stays_an_address_and_a_file_of_this_machine_is_its_path():
    def given(text):
        return InputPath(path_type=Path).convert(text, None, None)

    assert given("s3://bucket//a b.jpg") == "s3://bucket//a b.jpg"
    assert given("file:///photos/a%20b.jpg") == Path("/photos/a b.jpg")
    assert given("photos/a.jpg") == Path("photos/a.jpg")
