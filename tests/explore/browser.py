"""A headless Chromium driven over the pipe of its DevTools protocol: no library, no port."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page. Methods send real input events, at the middle of the element of a selector."""

    def __init__(self, folder, *, width=1280, height=900, dark=False):
        pipes = [*os.pipe(), *os.pipe()]
        theirs, self._out, self._in, back = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in pipes)
        for fd in pipes:
            os.close(fd)
        arguments = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--remote-debugging-pipe", f"--user-data-dir={folder}",
        ]  # fmt: skip
        self._process = subprocess.Popen(  # the protocol's pipes have these numbers
            ["bash", "-c", f'exec "$0" "$@" 3<&{theirs} 4>&{back}', CHROMIUM, *arguments],
            pass_fds=(theirs, back), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.close(back)
        self._held, self._number, self._session = b"", 0, None
        self.events = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.send(f"{domain}.enable")
        self.resize(width, height, dark=dark)

    def send(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")  # shorter than a pipe holds
        while True:
            got = self._next()
            if got.get("id") == self._number:
                assert "error" not in got, got
                return got["result"]
            self.events.append(got)

    def _next(self):
        while b"\0" not in self._held:
            part = os.read(self._in, 1 << 16)
            assert part, "the browser has gone"
            self._held += part
        message, self._held = self._held.split(b"\0", 1)
        return json.loads(message)

    def resize(self, width, height, *, dark=None):
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        if dark is not None:
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            self.send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address):
        self.send("Page.navigate", url=address)
        self.until("document.body && document.body.dataset.ready === 'yes'")

    def value(self, expression):
        found = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression, seconds=60):
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, f"never: {expression}"
            time.sleep(0.02)

    def middle(self, selector, x=0.5, y=0.5):
        return self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            f"return [b.left + b.width * {x}, b.top + b.height * {y}] }})()"
        )

    def click(self, selector, x=0.5, y=0.5):
        x, y = self.middle(selector, x, y)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def mouse(self, kind, x, y):
        self.send(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1
        )

    def drag(self, selector, points):
        places = [self.middle(selector, *point) for point in points]
        self.mouse("mousePressed", *places[0])
        for place in places[1:]:
            self.mouse("mouseMoved", *place)
        self.mouse("mouseReleased", *places[-1])

    def press(self, key):
        code = {" ": 32, "ArrowUp": 38, "ArrowRight": 39}[key]
        text = {"text": key} if key == " " else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text
            )

    def screenshot(self, path):
        width, height = self.value("[innerWidth, document.documentElement.scrollHeight]")
        self.resize(width, height)
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def close(self):
        try:
            self._session = None
            self.send("Browser.close")
            self._process.wait(20)
        finally:
            self._process.kill()
            os.close(self._out)
            os.close(self._in)
