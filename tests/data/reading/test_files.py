import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from narrows.data.reading.files import cache_folder, download, find

CONTENT = bytes(range(256)) * 4000
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


class _Publisher(BaseHTTPRequestHandler):
    """Serves CONTENT, honouring ranges, and hangs up after `limit` bytes of each answer."""

    limit = None
    ranges: list = []  # noqa: RUF012

    def do_GET(self):
        wanted = self.headers.get("Range")
        type(self).ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if self.path.startswith("/gone"):
            self.send_error(404)
            return
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:][: type(self).limit])

    def log_message(self, *args):
        pass


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    _Publisher.limit, _Publisher.ranges = None, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Publisher)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_a_download_lands_in_the_cache_and_is_found_there(publisher):
    path = download([publisher + "set.bin"], "set", known_hash=MD5)
    assert path.read_bytes() == CONTENT
    assert path == cache_folder() / "set" / "set.bin"
    assert find(["set.bin"], ["set"], None) == path


@pytest.mark.parametrize("place", [0, 500_000, len(CONTENT) - 1])
@pytest.mark.parametrize("of_known_content", [True, False])
def test_a_damaged_download_is_put_aside_and_fetched_again(
    publisher, place, of_known_content, caplog
):
    def load():
        known = MD5 if of_known_content else None
        return find(["set.bin"], ["set"], None) or download(
            [publisher + "set.bin"], "set", known_hash=known
        )

    path = load()
    flipped = bytearray(CONTENT)
    flipped[place] ^= 4
    path.write_bytes(flipped)
    assert load().read_bytes() == CONTENT
    assert "set.bin is not what was downloaded" in caplog.text
    assert (path.parent / "set.bin.damaged").read_bytes() == flipped
    assert load().read_bytes() == CONTENT
    assert len(_Publisher.ranges) == 2


def test_a_broken_download_is_continued_where_it_stopped(publisher):
    _Publisher.limit = 100_000
    with pytest.raises(FileNotFoundError, match="closed after 100000 of 1024000 bytes"):
        download([publisher + "set.bin"], "set", known_hash=MD5)
    assert find(["set.bin"], ["set"], None) is None
    _Publisher.limit = None
    assert download([publisher + "set.bin"], "set", known_hash=MD5).read_bytes() == CONTENT
    assert _Publisher.ranges == [None, "bytes=100000-"]


def test_a_file_with_the_wrong_checksum_is_refused_and_not_kept(publisher):
    wrong = "md5:" + "0" * 32
    with pytest.raises(FileNotFoundError, match=r"set.bin is not here and could not be"):
        download([publisher + "set.bin"], "set", known_hash=wrong)
    assert find(["set.bin"], ["set"], None) is None


def test_a_file_with_the_wrong_content_is_refused_and_not_kept(publisher):
    with pytest.raises(FileNotFoundError, match="not the published one"):
        download([publisher + "set.bin"], "set", check=lambda path: path.read_bytes() != CONTENT)
    assert find(["set.bin"], ["set"], None) is None


def test_the_second_address_serves_where_the_first_does_not(publisher):
    urls = [publisher + "gone/set.bin", publisher + "set.bin"]
    assert download(urls, "set", known_hash=MD5).read_bytes() == CONTENT


def test_offline_and_absent_says_where_to_put_which_file(tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWS_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(FileNotFoundError) as caught:
        download(["http://127.0.0.1:9/set.bin"], "set")
    message = str(caught.value)
    assert "set.bin is not here" in message
    assert str(tmp_path / "data" / "set") in message
    assert "NARROWS_DATA" in message
    assert "\n" not in message


def test_the_users_folder_comes_before_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWS_CACHE", str(tmp_path / "cache"))
    for base in (tmp_path / "cache" / "data", tmp_path / "mine"):
        (base / "set").mkdir(parents=True)
        (base / "set" / "a").write_text("")
    assert find(["a"], ["set"], tmp_path / "mine") == tmp_path / "mine" / "set" / "a"
    assert find(["a"], ["set"], None) == tmp_path / "cache" / "data" / "set" / "a"
