"""Downloads, against a server of our own on 127.0.0.1 that can do what bad ones do."""

import dataclasses
import hashlib
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from amg_cli.cli.main import main
from amg_cli.core.errors import ConfigError, WeightsError
from amg_cli.weights import cache, download, zoo
from amg_cli.weights.cache import cached_path, is_present, verify
from amg_cli.weights.download import pull
from tests.disks import tmpfs

CONTENT = hashlib.shake_256(b"amg").digest(300_000)
OTHER = hashlib.shake_256(b"other").digest(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KNOWN = dataclasses.replace(
    zoo.ZOO["vit_t"],
    url="http://models.invalid/weights/tiny.pt",
    size_bytes=len(CONTENT),
    sha256=SHA256,
)


@dataclass
class Answer:
    """How the server answers one request.

    cut:     break the connection after that many bytes of the body
    hang:    wait for `server.release` before the body
    stated:  Content-Length, or "" for none at all
    shifted: a range begins that many bytes before what was asked
    """

    status: int = 200
    content: bytes = CONTENT
    etag: str = ""
    ranges: bool = True
    cut: int | None = None
    hang: bool = False
    stated: str | None = None
    shifted: int = 0
    location: str = ""


@dataclass
class Server:
    """What was asked of it, and how it answers: each of `answers` once, then `otherwise`."""

    url: str
    base: str
    answers: list[Answer] = field(default_factory=list)
    otherwise: Answer = field(default_factory=Answer)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def asked(self, header: str) -> list[str | None]:
        """That header of each request."""
        return [headers.get(header) for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server.state
        server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        answer = server.answers.pop(0) if server.answers else server.otherwise
        body, start = answer.content, 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        unchanged = self.headers.get("If-Range") in (None, answer.etag)
        if answer.status == 200 and wanted and answer.ranges and unchanged:
            start = int(wanted[1]) - answer.shifted
            if start >= len(body):
                answer = dataclasses.replace(answer, status=416, content=b"")
                body = b""
            else:
                answer = dataclasses.replace(answer, status=206)
                body = body[start:]
        self.send_response(answer.status)
        if answer.status == 206:
            total = len(answer.content)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if answer.etag:
            self.send_header("ETag", answer.etag)
        if answer.location:
            self.send_header("Location", answer.location)
        stated = str(len(body)) if answer.stated is None else answer.stated
        if stated:
            self.send_header("Content-Length", stated)
        self.end_headers()
        if answer.hang:
            server.release.wait(10)
        self.wfile.write(body[: answer.cut])
        self.close_connection = True

    def do_CONNECT(self):
        self.server.state.requests.append((f"CONNECT {self.path}", {}))
        self.send_error(502)

    def log_message(self, *args):
        pass


@contextmanager
def serving() -> Iterator[Server]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    base = f"http://127.0.0.1:{http.server_port}"
    http.state = Server(f"{base}/tiny.pt", base)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield http.state
    finally:
        http.state.release.set()
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache, no proxy, and hardly any pause between tries. -> the cache's folder."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "AMG_MIRROR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("AMG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "WAITS_S", (0.01,) * len(download.WAITS_S))
    return tmp_path / "cache"


def get(server, known=KNOWN):
    return pull(known, progress=False, url=server.url)


def failure(server, known=KNOWN):
    """The line of the error that pulling ends with."""
    with pytest.raises(WeightsError) as caught:
        get(server, known)
    line = str(caught.value)
    assert line.startswith(f"{server.url}: ")
    assert str(cached_path(known)) in line
    assert line.endswith("`checkpoint`")
    assert "\n" not in line
    return line


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def leave_part(folder, content, etag=None):
    """What an earlier run left behind."""
    folder.mkdir()
    (folder / "tiny.pt.part").write_bytes(content)
    if etag:
        (folder / "tiny.pt.part.etag").write_text(etag)


# --- what goes well


def test_a_missing_file_is_downloaded_once_and_then_found(server, folder):
    assert not is_present(KNOWN)
    path = get(server)
    assert path == folder / "tiny.pt" == cached_path(KNOWN)
    assert path.read_bytes() == CONTENT
    assert names(folder) == ["tiny.pt"]
    assert is_present(KNOWN)
    assert verify(KNOWN)
    assert get(server) == path
    assert len(server.requests) == 1
    assert server.asked("user-agent")[0].startswith("amg/")


def test_a_redirected_address_is_followed_with_its_range(server, folder):
    leave_part(folder, CONTENT[:100])
    server.answers = [Answer(status=302, location="/elsewhere/tiny.pt")]
    assert get(server).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/tiny.pt", "/elsewhere/tiny.pt"]
    assert server.asked("range") == ["bytes=100-"] * 2


def test_a_body_without_a_length_is_taken(server):
    server.answers = [Answer(stated="")]
    assert get(server).read_bytes() == CONTENT


def test_the_bar_counts_bytes_on_stderr_only_if_asked_for(server, capsys):
    get(server)
    assert capsys.readouterr() == ("", "")
    cached_path(KNOWN).unlink()
    pull(KNOWN, progress=True, url=server.url)
    out, err = capsys.readouterr()
    assert out == ""
    assert "vit_t: 100%" in err
    assert "300k/300k" in err


# --- breaks, and going on


def test_after_a_break_only_the_rest_is_asked_for(server):
    server.answers = [Answer(cut=100_000)]
    assert get(server).read_bytes() == CONTENT
    assert server.asked("range") == [None, "bytes=100000-"]


def test_many_breaks_are_survived_as_long_as_there_is_progress(server, monkeypatch):
    monkeypatch.setattr(download, "PROGRESS_BYTES", 10_000)
    server.otherwise = Answer(cut=15_000)
    assert get(server).read_bytes() == CONTENT
    assert len(server.requests) == 20


def test_without_progress_the_tries_end_and_what_came_is_kept(server, folder):
    server.answers = [Answer(cut=1000)]
    server.otherwise = Answer(cut=0)
    line = failure(server)
    assert "stopped at 1000 of 300000 bytes (the server closed the connection)" in line
    assert "run again to go on from there" in line
    assert len(server.requests) == 1 + download.WAITS_UNREACHED
    assert names(folder) == ["tiny.pt.part"]
    assert not is_present(KNOWN)


def test_a_later_run_goes_on_from_what_an_earlier_one_left(server, folder):
    leave_part(folder, CONTENT[:123_456])
    assert get(server).read_bytes() == CONTENT
    assert server.asked("range") == ["bytes=123456-"]
    assert names(folder) == ["tiny.pt"]


def test_a_part_that_is_whole_needs_no_network(server, folder):
    leave_part(folder, CONTENT)
    assert get(server).read_bytes() == CONTENT
    assert server.requests == []


def test_a_part_that_is_too_long_is_thrown_away(server, folder):
    leave_part(folder, CONTENT + b"more")
    assert get(server).read_bytes() == CONTENT
    assert server.asked("range") == [None]


def test_a_server_that_ignores_ranges_sends_all_from_the_start(server, folder):
    leave_part(folder, OTHER[:100_000])
    server.otherwise = Answer(ranges=False)
    assert get(server).read_bytes() == CONTENT
    assert server.asked("range") == ["bytes=100000-"]


def test_a_server_that_ignores_ranges_and_always_breaks_is_given_up(server):
    server.otherwise = Answer(ranges=False, cut=1000)
    assert "stopped at 1000 of 300000 bytes" in failure(server)
    assert len(server.requests) == 1 + download.WAITS_UNREACHED


def test_a_range_that_begins_elsewhere_is_not_appended(server):
    server.answers = [Answer(cut=100_000), Answer(shifted=10)]
    assert get(server).read_bytes() == CONTENT
    assert server.asked("range") == [None, "bytes=100000-", None]


def test_a_range_that_the_server_has_not_starts_over(server, folder):
    leave_part(folder, CONTENT[:100_000])
    server.answers = [Answer(status=416, content=b"")]
    assert get(server).read_bytes() == CONTENT
    assert server.asked("range") == ["bytes=100000-", None]


def test_a_file_that_changed_meanwhile_is_not_mixed_with_the_old_one(server, folder):
    server.answers = [Answer(content=OTHER, etag='"old"', cut=100_000)]
    server.otherwise = Answer(etag='"new"')
    assert get(server).read_bytes() == CONTENT
    assert server.asked("if-range") == [None, '"old"']
    assert names(folder) == ["tiny.pt"]


def test_the_servers_tag_is_remembered_from_run_to_run(server, folder):
    server.answers = [Answer(etag='"same"', cut=1000), *[Answer(status=500)] * 3]
    failure(server)
    server.requests.clear()
    server.otherwise = Answer(etag='"same"')
    assert get(server).read_bytes() == CONTENT
    assert server.asked("if-range") == ['"same"']
    assert server.asked("range") == ["bytes=1000-"]


def test_a_weak_tag_is_not_relied_on(server):
    server.answers = [Answer(etag='W/"weak"', cut=1000)]
    assert get(server).read_bytes() == CONTENT
    assert server.asked("if-range") == [None, None]


def test_an_old_part_of_another_file_costs_a_second_start_not_an_error(server, folder):
    leave_part(folder, OTHER[:100_000])
    assert get(server).read_bytes() == CONTENT
    assert server.asked("range") == ["bytes=100000-", None]


def test_errors_that_pass_are_tried_again(server):
    server.answers = [Answer(status=503), Answer(status=500, content=b"")]
    assert get(server).read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_a_server_that_hangs_is_left_after_the_time_out_and_asked_again(server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    server.answers = [Answer(hang=True)]
    start_s = time.monotonic()
    assert get(server).read_bytes() == CONTENT
    assert 0.2 <= time.monotonic() - start_s < 5
    assert len(server.requests) == 2


# --- what goes wrong


def test_wrong_bytes_are_refused_and_leave_nothing(server, folder):
    server.otherwise = Answer(content=OTHER)
    line = failure(server)
    assert f"has SHA-256 {hashlib.sha256(OTHER).hexdigest()}, not {SHA256}" in line
    assert "deleted; run again, or" in line
    assert names(folder) == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"<html>log in</html>"])
def test_a_wrong_length_is_refused_before_anything_is_saved(content, server, folder):
    server.otherwise = Answer(content=content)
    line = failure(server)
    assert f"has {len(content)} bytes, not 300000: it is another file, or a login page" in line
    assert names(folder) == []
    assert len(server.requests) == 1


def test_a_range_of_a_file_of_another_length_is_refused(server, folder):
    leave_part(folder, CONTENT[:1000])
    server.otherwise = Answer(content=CONTENT + b"x")
    assert "has 300001 bytes, not 300000" in failure(server)
    assert (folder / "tiny.pt.part").read_bytes() == CONTENT[:1000]


def test_a_file_that_is_not_there_is_not_asked_for_again(server):
    server.otherwise = Answer(status=404)
    path = cached_path(KNOWN)
    assert failure(server) == (
        f"{server.url}: answers HTTP 404 Not Found; "
        f"get the file elsewhere and save it as {path}, or give it with `checkpoint`"
    )
    assert len(server.requests) == 1


def test_a_server_that_always_fails_is_given_up_after_some_tries(server):
    server.otherwise = Answer(status=500)
    assert "answers HTTP 500 Internal Server Error; try later, or get" in failure(server)
    assert len(server.requests) == 1 + download.WAITS_UNREACHED


def test_an_answer_that_is_no_file_is_named(server):
    server.otherwise = Answer(status=204, content=b"")
    assert "answers HTTP 204 No Content" in failure(server)


def test_a_redirect_in_a_circle_is_one_line(server):
    server.otherwise = Answer(status=302, location="/tiny.pt")
    line = failure(server)
    assert "answers HTTP 302 The HTTP server returned a redirect error" in line
    assert r"\n" not in line


def test_without_a_network_the_line_says_what_to_do(folder):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/tiny.pt"
        with pytest.raises(WeightsError) as caught:
            pull(KNOWN, progress=False, url=url)
    assert str(caught.value) == (
        f"{url}: cannot be reached (Connection refused); check the network and the proxy, "
        f"or get the file elsewhere and save it as {folder / 'tiny.pt'}, "
        "or give it with `checkpoint`"
    )


def test_a_server_that_no_authority_vouches_for_is_not_trusted(tmp_path, server, monkeypatch):
    if not shutil.which("openssl"):
        pytest.skip("needs openssl, to make a certificate")
    pem = tmp_path / "own.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout {pem} -out {tmp_path}/c"
    )
    made = subprocess.run(shlex.split(command), capture_output=True)
    assert made.returncode == 0, made.stderr
    with pem.open("ab") as file:
        file.write((tmp_path / "c").read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    https = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    https.state = server
    https.handle_error = lambda *args: None
    https.socket = context.wrap_socket(https.socket, server_side=True)
    thread = threading.Thread(target=https.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        server.url = f"https://127.0.0.1:{https.server_port}/tiny.pt"
        pauses = []
        monkeypatch.setattr(download.time, "sleep", pauses.append)
        line = failure(server)
        assert pauses == []
        assert "has a certificate that cannot be verified (" in line
        assert "set SSL_CERT_FILE to the certificates of your network, or get" in line
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "c"))
        assert get(server).read_bytes() == CONTENT
    finally:
        https.shutdown()
        thread.join()
        https.server_close()


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "tiny.pt", "http://", "http://a:b/c", "http://a b/c", "http://[/"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(WeightsError, match="is no http or https address; get the file elsewhere"):
        pull(KNOWN, progress=False, url=url)


# --- the disk


def test_a_disk_that_is_too_small_is_noticed_before_the_download(server, folder):
    with tmpfs(folder, "128k"):
        line = failure(server)
        assert f"cannot be saved as {folder / 'tiny.pt'} (needs 300 kB, and 131 kB is free)" in line
        assert "make room or set AMG_CACHE to another folder" in line
        assert server.requests == []


def test_a_disk_that_fills_meanwhile_keeps_what_came_and_goes_on_later(server, folder, monkeypatch):
    with tmpfs(folder, "512k"):
        monkeypatch.setattr(download, "_check_space", lambda job: (folder / "f").write_bytes(OTHER))
        line = failure(server)
        assert f"cannot be saved as {folder / 'tiny.pt'} (No space left on device)" in line
        assert names(folder) == ["f", "tiny.pt.part"]
        part = (folder / "tiny.pt.part").read_bytes()
        assert 0 < len(part) < len(CONTENT)
        (folder / "f").unlink()
        monkeypatch.setattr(download, "_check_space", lambda job: None)
        assert get(server).read_bytes() == CONTENT
        # On a machine that is busy it may be asked for once more.
        assert server.asked("range")[:2] == [None, f"bytes={len(part)}-"]


def test_a_file_that_may_not_grow_is_not_taken_for_a_broken_network(server, folder):
    resource = pytest.importorskip("resource", reason="needs limits of a file's size")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        line = failure(server)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"cannot be saved as {folder / 'tiny.pt'} (File too large)" in line
    assert len(server.requests) == 1
    assert (folder / "tiny.pt.part").read_bytes() == CONTENT[:100_000]


def test_a_cache_that_cannot_be_made_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AMG_CACHE", str(tmp_path / "file/cache"))
    line = failure(server)
    assert f"cannot be saved as {tmp_path}/file/cache/tiny.pt (Not a directory)" in line
    assert server.requests == []


def test_a_cache_that_may_only_be_read_serves_what_is_in_it(server, monkeypatch):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        monkeypatch.setenv("AMG_CACHE", name)
        (folder / "there.pt").write_bytes(CONTENT)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # nobody
        try:
            there = dataclasses.replace(KNOWN, url="http://models.invalid/there.pt")
            assert get(server, there) == folder / "there.pt"
            assert pull(there, progress=False, recheck=True) == folder / "there.pt"
            line = failure(server)
        finally:
            os.seteuid(user)
            folder.chmod(0o755)
        assert f"cannot be saved as {folder}/tiny.pt (Permission denied)" in line
        assert server.requests == []


# --- two at once, proxies, mirrors

CHILD = f"""
import dataclasses, sys
from amg_cli.weights.download import pull
from tests.disks import tmpfs
from amg_cli.weights.zoo import ZOO
known = dataclasses.replace(
    ZOO["vit_t"], url={KNOWN.url!r}, size_bytes={len(CONTENT)}, sha256={SHA256!r}
)
print(pull(known, progress=True, url=sys.argv[1]))
"""


def test_two_processes_at_once_download_once_and_both_succeed(server, folder):
    server.otherwise = Answer(hang=True)
    command = [sys.executable, "-c", CHILD, server.url]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, **pipes) for _ in range(2)]
    waiting = threading.Event()
    errors = ["", ""]

    def listen(i):
        for line in children[i].stderr:
            errors[i] += line
            if "waiting for another amg" in line:
                waiting.set()

    listeners = [threading.Thread(target=listen, args=(i,)) for i in range(2)]
    for listener in listeners:
        listener.start()
    assert waiting.wait(30), errors
    server.release.set()
    for listener in listeners:
        listener.join(30)
    results = [(child.wait(30), child.stdout.read()) for child in children]
    assert results == [(0, f"{folder / 'tiny.pt'}\n")] * 2, errors
    assert len(server.requests) == 1
    assert cached_path(KNOWN).read_bytes() == CONTENT


def test_a_process_that_is_killed_leaves_a_part_and_no_lock_that_lasts(server, folder):
    server.answers = [Answer(cut=5000)]
    folder.mkdir()
    script = "\n".join(
        [
            "import os; from amg_cli.weights import download",
            "download.time.sleep = lambda seconds: os.kill(os.getpid(), 9)",
            CHILD,
        ]
    )
    child = subprocess.run([sys.executable, "-c", script, server.url], capture_output=True)
    assert child.returncode == -9, child.stderr
    assert (folder / "tiny.pt.part").read_bytes() == CONTENT[:5000]
    assert get(server).read_bytes() == CONTENT
    assert server.asked("range") == [None, "bytes=5000-"]


def test_a_proxy_of_the_environment_is_used(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.base)
    assert pull(KNOWN, progress=False).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == [KNOWN.url]


def test_no_proxy_is_used_for_what_no_proxy_names(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert get(server).read_bytes() == CONTENT


def test_a_proxy_that_fails_is_named_without_its_password(server, monkeypatch):
    host = server.base.removeprefix("http://")
    monkeypatch.setenv("https_proxy", f"http://user:secret@{host}/")
    with pytest.raises(WeightsError) as caught:
        pull(KNOWN, progress=False, url="https://models.invalid/tiny.pt")
    line = str(caught.value)
    assert f"cannot be reached through the proxy {host} (Tunnel connection failed: 502" in line
    assert "secret" not in line
    assert server.requests[0][0] == "CONNECT models.invalid:443"


@pytest.mark.parametrize("end", ["", "/"])
def test_a_mirror_takes_the_place_of_all_before_the_file_name(end, server, monkeypatch):
    monkeypatch.setenv("AMG_MIRROR", f"{server.base}/mirror{end}")
    assert download.address(KNOWN) == f"{server.base}/mirror/tiny.pt"
    assert pull(KNOWN, progress=False).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/mirror/tiny.pt"]


def test_a_mirror_that_is_no_address_is_a_setting_out_of_range(monkeypatch):
    monkeypatch.setenv("AMG_MIRROR", "/mnt/weights")
    with pytest.raises(ConfigError, match="AMG_MIRROR: /mnt/weights is no http or https address"):
        pull(KNOWN, progress=False)


def test_offline_the_error_names_path_address_and_option(folder):
    assert str(download.offline_error(KNOWN)) == (
        f"{folder / 'tiny.pt'}: not there, and not downloaded when offline; get it at {KNOWN.url} "
        "and save it there, or give it with `checkpoint`"
    )


# --- the cache and the table


def test_the_cache_follows_the_platforms_convention(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    assert cache.cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("AMG_CACHE", "~/models")
    assert cache.cache_folder() == Path("/home/me/models")
    monkeypatch.setenv("AMG_CACHE", "here")
    assert cache.cache_folder() == Path.cwd() / "here"
    monkeypatch.setenv("AMG_CACHE", "")
    for platform, place in [
        ("linux", "/home/me/.cache/amg"),
        ("darwin", "/home/me/Library/Caches/amg"),
        ("win32", "/home/me/AppData/Local/amg/Cache"),
    ]:
        monkeypatch.setattr(sys, "platform", platform)
        assert cache.cache_folder() == Path(place)
    monkeypatch.setenv("LOCALAPPDATA", "/appdata")
    assert cache.cache_folder() == Path("/appdata/amg/Cache")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert cache.cache_folder() == Path("/scratch/amg")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache.cache_folder() == Path("/home/me/.cache/amg")


def test_without_a_home_the_cache_asks_for_the_variable(monkeypatch):
    monkeypatch.setenv("AMG_CACHE", "~nobody-of-that-name/models")
    with pytest.raises(WeightsError, match="cache of weights: no home folder is known; set AMG_CA"):
        cached_path(KNOWN)


def test_present_goes_by_size_and_verify_by_every_byte(folder):
    folder.mkdir()
    path = cached_path(KNOWN)
    for content, present, whole in [
        (CONTENT[:-1], False, False),
        (OTHER, True, False),
        (CONTENT, True, True),
    ]:
        path.write_bytes(content)
        assert (is_present(KNOWN), verify(KNOWN)) == (present, whole)


def test_a_damaged_file_is_replaced_when_rechecked_and_not_before(server, folder):
    folder.mkdir()
    cached_path(KNOWN).write_bytes(OTHER)
    assert get(server).read_bytes() == OTHER
    assert pull(KNOWN, progress=False, url=server.url, recheck=True).read_bytes() == CONTENT
    pull(KNOWN, progress=False, url=server.url, recheck=True)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("nb_bytes", "text"),
    [(12, "12 bytes"), (999_499, "999 kB"), (999_500, "1 MB"), (40_728_226, "40.7 MB"),
     (2_564_550_879, "2.56 GB")],
)  # fmt: skip
def test_bytes_are_read_by_people(nb_bytes, text):
    assert cache.human_bytes(nb_bytes) == text


def test_models_go_by_several_names():
    assert zoo.find_known("vit_t") is zoo.ZOO["vit_t"]
    assert zoo.find_known("Mobile-SAM") is zoo.ZOO["vit_t"]
    assert zoo.find_known("vit_x") is None
    for alias, name in zoo.ALIASES.items():
        assert zoo.find_known(alias) is zoo.ZOO.get(name)
        assert alias not in zoo.ZOO
    assert zoo.ALIASES["default"] == "vit_h"
    assert zoo.ZOO["vit_t"].aliases == ("mobile_sam", "mobilesam")
    assert zoo.ZOO["vit_t"].filename == "mobile_sam.pt"


# --- the command


@pytest.fixture
def run(monkeypatch, server):
    """Run `amg models` with a zoo of one tiny row, which the server is a mirror of."""
    monkeypatch.setattr(zoo, "ZOO", {"vit_t": KNOWN})
    monkeypatch.setenv("AMG_MIRROR", server.base)
    return lambda *arguments: CliRunner().invoke(main, ["models", *arguments])


def test_the_table_is_aligned_and_says_where_each_file_is(run, server, folder):
    result = run()
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "name   parameters    size  licence     present  also called",
        "vit_t       9.8 M  300 kB  Apache-2.0  no       mobile_sam, mobilesam",
        "",
        f"vit_t  {server.base}/tiny.pt",
        "",
        f"Files are kept in {folder}; amg models pull NAME gets one.",
    ]
    folder.mkdir()
    cached_path(KNOWN).write_bytes(CONTENT)
    lines = run().stdout.splitlines()
    assert lines[1] == "vit_t       9.8 M  300 kB  Apache-2.0  yes      mobile_sam, mobilesam"
    assert lines[3] == f"vit_t  {folder / 'tiny.pt'}"


def test_the_real_table_fits_100_columns(monkeypatch):
    monkeypatch.setenv("AMG_CACHE", "/home/someone/.cache/amg")
    lines = CliRunner().invoke(main, ["models"]).stdout.splitlines()
    assert {line.split()[0] for line in lines[1 : 1 + len(zoo.ZOO)]} == set(zoo.ZOO)
    assert max(map(len, lines)) <= 100


def test_pull_prints_the_path_and_says_on_stderr_what_it_does(run, server, folder):
    result = run("pull", "mobile_sam")
    assert (result.exit_code, result.stdout) == (0, f"{folder / 'tiny.pt'}\n")
    assert result.stderr == f"amg: vit_t: 300 kB from {server.base}/tiny.pt\n"
    result = run("pull", "vit_t")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{folder / 'tiny.pt'}\n", "")


def test_pull_that_fails_is_one_line_and_exit_1(run, server):
    server.otherwise = Answer(status=404)
    result = run("pull", "vit_t", "--quiet")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"amg: {server.base}/tiny.pt: answers HTTP 404 Not Found; ")
    assert result.stderr.count("\n") == 1


def test_verify_tells_ok_from_damaged_from_missing_and_pull_repairs(run, folder):
    path = folder / "tiny.pt"
    result = run("verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"amg: no model is in {folder}\n"
    result = run("verify", "vit_t")
    assert (result.exit_code, result.stdout) == (1, f"vit_t  missing  {path}\n")
    folder.mkdir()
    path.write_bytes(OTHER)
    result = run("verify")
    assert (result.exit_code, result.stdout) == (1, f"vit_t  damaged  {path}\n")
    assert result.stderr == f"amg: {path}: damaged; amg models pull vit_t gets a good one\n"
    assert run("pull", "vit_t").exit_code == 0
    result = run("verify")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"vit_t  ok       {path}\n", "")


def test_path_prints_the_path_alone_and_makes_nothing(run, folder):
    result = run("path", "vit_t")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{folder / 'tiny.pt'}\n", "")
    assert not folder.exists()


@pytest.mark.parametrize("command", ["pull", "verify", "path"])
def test_a_name_that_is_not_known_is_a_usage_error(command, run):
    result = run(command, "vit_x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "amg: model type: vit_x is not known; known: vit_t\n"


def test_interrupting_says_that_it_can_go_on(run, monkeypatch):
    def interrupt(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    monkeypatch.setattr(download, "_transfer", interrupt)
    result = run("pull", "vit_t", "--quiet")
    assert result.exit_code == 130
    assert result.stderr == "amg: interrupted; amg models pull goes on from here\n"


@pytest.mark.parametrize("arguments", [["--help"], ["pull", "--help"]])
def test_help_of_models_loads_no_torch(arguments):
    script = (
        "import sys; from amg_cli.cli.main import main\n"
        f"try: main({['models', *arguments]})\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
