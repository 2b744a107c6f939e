"""How long does somebody who opens the dashboard wait for the chart of the trade-offs page?

`edge-bench dashboard` serves made-up stores of 2,000 and of 200,000 candidates on one device, and a
headless Chromium opens the page. Of 1,000 candidates 400 are files with a result of their own, fp32 and
int8, ONNX and TFLite; the rest are networks without a file, whose latency is predicted. So 200,000
candidates are 80,000 networks, 80,000 files and 80,000 results in SQLite, and all of them are on the chart.

- *first chart*: from the start of a navigation until points stand in the chart, in a browser that has been
  there before (its cache holds Streamlit's program), at a server that has shown this store before. Told
  beside it: the first navigation after the server's start, the first after one more result was stored, and
  the first of a browser that is new, program and all.
- *slider*: from the press of a key on the budget's slider until the chart shows that budget.
- *sent*: bytes of the page's own data, by websocket and HTTP, up to the drawn chart and table, and for one
  move of the slider. Streamlit's program, the same for every page and cached by the browser, is apart.

Times are medians of several tries; every one is in the JSON, with the processor time of the server and
the load of the machine. The browser is told what to do by its debugger's protocol without the part called
Runtime: where that is on, as with Playwright, V8 writes down the whole stack at each exception, caught or
not, and reading plotly takes half as long again.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import made_up_store
import psutil
import report
from websockets.sync.client import ClientConnection, connect

from edge_bench.files import Home

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update"
    " --disable-sync --disable-dev-shm-usage --window-size=1280,900"
    " --remote-debugging-port=0"
).split()
PATIENCE_S = 900
# Nothing more is computed, sent or drawn for this view.
READY = """
document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]')
&& !document.querySelector('[data-stale=true]')
&& document.querySelector('[data-testid=stDataFrame] [role=grid]')
"""
# When the chart first holds points, and when the budget beside its line first differs from that at the last
# press of a key; each is told by the picture that the browser draws next.
WATCH = """
const speed = window.speed = {drawn: null, pressed: null, redrawn: null, before: null};
const budget = () => document.querySelector('.js-plotly-plot .annotation-text')?.textContent;
const drawn = () => document.querySelector('.js-plotly-plot .scatterlayer .points path');
const tell = (what) => requestAnimationFrame(() => { speed[what] ??= performance.now(); });
addEventListener('keydown', () => {
  Object.assign(speed, {pressed: performance.now(), redrawn: null, before: budget()});
}, true);
new MutationObserver(() => {
  if (speed.drawn === null && drawn()) tell('drawn');
  const waited = speed.pressed !== null && speed.redrawn === null;
  if (waited && budget() && budget() !== speed.before) tell('redrawn');
}).observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many candidates, how often each is tried, and the bars in seconds."""

    candidates: int
    tries: int
    first_s: float
    slider_s: float


SETTINGS = {
    "smoke": (Size(candidates=200, tries=2, first_s=3.0, slider_s=0.5),),
    "cpu": (
        Size(candidates=2_000, tries=9, first_s=3.0, slider_s=0.5),
        Size(candidates=200_000, tries=9, first_s=5.0, slider_s=1.5),
    ),
}
SENT_MB = 1.0


def main() -> int:
    options = report.arguments(
        __doc__,
        stores={
            "default": "",
            "metavar": "FOLDER",
            "help": "keep made-up stores there, and use those that are there (default: a temporary folder)",
        },
    )
    sizes, begun = SETTINGS.get(options.size, SETTINGS["cpu"]), time.perf_counter()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("no chromium on the PATH (Debian: apt-get install chromium fonts-dejavu-core)")
    figures, bars = {}, []
    with tempfile.TemporaryDirectory() as temporary:
        for size in sizes:
            home = made(size.candidates, Path(options.stores or temporary).absolute())
            figures[f"{size.candidates}"] = found = measured(home, size, partial(browser, chromium))
            bars += bars_of(size, found)
    for name, found in figures.items():
        told(name, found)
    return report.write(
        "dashboard_speed",
        options.size,
        figures,
        bars,
        settings=[vars(size) for size in sizes],
        seconds=time.perf_counter() - begun,
    )


def made(candidates: int, folder: Path) -> Home:
    """Return a home whose store holds that many candidates; makes it where it is not there."""
    home = Home(folder / str(candidates))
    if not home.has_store:
        begun = time.perf_counter()
        records = made_up_store.fill(home, candidates)
        print(
            f"{candidates} candidates of {records} records: {time.perf_counter() - begun:.0f} s", flush=True
        )
    return home


def measured(home: Home, size: Size, starts: Callable[[], AbstractContextManager[Opens]]) -> dict[str, Any]:
    """Return the seconds and bytes of every try, by what was tried."""
    found: dict[str, Any] = {"store_mb": (home.root / "store.sqlite").stat().st_size / 1e6}
    with served(home) as (address, server, found["server_answers_s"]):
        with starts() as opens:
            found["first_after_start"] = [opened(opens, address, server)]
            # The browser keeps the program in compiled form from its second use on.
            opened(opens, address, server)
            found["first"] = [opened(opens, address, server) for _ in range(size.tries)]
            found["slider"] = slid(opens, address, server, size.tries)
            found["first_after_growth"] = []
            for number in range(min(size.tries, 3)):
                made_up_store.measure_once_more(home, number)
                found["first_after_growth"].append(opened(opens, address, server))
        found["first_empty_browser"] = []
        for _ in range(min(size.tries, 3)):
            with starts() as opens:
                found["first_empty_browser"].append(opened(opens, address, server))
        found["server_memory_mb"] = sum(one.memory_info().rss for one in server) / 1e6
    return found


Events = Callable[[dict[str, Any]], None]


@dataclass(kw_only=True)
class Tab:
    """A tab of the browser."""

    socket: ClientConnection
    heard: list[Events] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """Return what the browser answers to a debugger's command; events before it are heard."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": given}))
        while True:
            told: dict[str, Any] = json.loads(self.socket.recv(timeout=PATIENCE_S))
            if told.get("id") == number:
                if "error" in told:
                    raise SystemExit(f"{method}: {told['error']}")
                return dict(told["result"])
            for hears in self.heard:
                hears(told)

    def value(self, expression: str) -> Any:
        """Return what an expression in the page comes to."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get(
            "value"
        )

    def wait_until(self, condition: str) -> None:
        # Asked now and then: more often would keep the page busy.
        until = time.monotonic() + PATIENCE_S
        while not self.value(f"!!({condition})"):
            if time.monotonic() > until:
                raise SystemExit(f"never came true: {condition}")
            time.sleep(0.1)

    def settle(self) -> None:
        """Wait until nothing more happens for this view."""
        time.sleep(0.5)
        self.wait_until(READY)

    def press_left(self) -> None:
        """Press a key in what has the focus."""
        key = {"key": "ArrowLeft", "code": "ArrowLeft", "windowsVirtualKeyCode": 37}
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, **key)


Opens = Callable[[], AbstractContextManager[Tab]]


@contextlib.contextmanager
def browser(path: str) -> Iterator[Opens]:
    """Run a browser of a profile of its own, empty and on disk, as people have; give what opens tabs."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        command = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        try:
            told = Path(profile, "DevToolsActivePort")
            while not told.exists() or not told.read_text():
                if command.poll() is not None:
                    raise SystemExit("the browser did not start")
                time.sleep(0.05)
            yield partial(tab, f"http://127.0.0.1:{told.read_text().split()[0]}/json")
        finally:
            command.terminate()
            command.wait()


@contextlib.contextmanager
def tab(debugger: str) -> Iterator[Tab]:
    """Open a tab that watches each page from its start."""
    asked = urllib.request.Request(f"{debugger}/new?about:blank", method="PUT")
    found = json.loads(direct(asked))
    with connect(found["webSocketDebuggerUrl"], max_size=None, max_queue=None, proxy=None) as socket:
        opened = Tab(socket=socket)
        opened.call("Page.enable")
        opened.call("Page.bringToFront")
        opened.call("Emulation.setFocusEmulationEnabled", enabled=True)
        opened.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        yield opened
    direct(urllib.request.Request(f"{debugger}/close/{found['id']}"))


def direct(asked: urllib.request.Request) -> bytes:
    """Return the answer of this machine, asked by no proxy."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked) as answer:
        body: bytes = answer.read()
    return body


def opened(opens: Opens, address: str, server: list[psutil.Process]) -> dict[str, float]:
    """Return how long a navigation took until points stood in the chart, and what was sent in all."""
    with opens() as page:
        traffic = Traffic.of(page)
        core_s, browser_s = processor_seconds(server), browser_seconds()
        page.call("Page.navigate", url=address)
        page.wait_until("window.speed?.drawn")
        page.settle()
        return {
            "seconds": page.value("speed.drawn") / 1e3,
            "server_core_s": processor_seconds(server) - core_s,
            "browser_core_s": browser_seconds() - browser_s,
            "sent_mb": traffic.data / 1e6,
            "program_mb": traffic.program / 1e6,
        }


def slid(opens: Opens, address: str, server: list[psutil.Process], tries: int) -> list[dict[str, float]]:
    """Return how long each move of the budget by one stop took until the chart showed it."""
    found = []
    with opens() as page:
        page.call("Page.navigate", url=address)
        page.wait_until("window.speed?.drawn")
        page.settle()
        traffic = Traffic.of(page)
        page.value("document.querySelector('input[type=range]').focus()")
        for _ in range(tries + 1):
            core_s, browser_s, before = processor_seconds(server), browser_seconds(), traffic.data
            # From any to ever less, so that no chart is one that was sent before.
            page.press_left()
            page.wait_until("speed.redrawn")
            seconds = page.value("speed.redrawn - speed.pressed") / 1e3
            page.settle()
            found.append(
                {
                    "seconds": seconds,
                    "server_core_s": processor_seconds(server) - core_s,
                    "browser_core_s": browser_seconds() - browser_s,
                    "sent_mb": (traffic.data - before) / 1e6,
                }
            )
    # The first press finds code that the browser has not run yet.
    return found[1:]


@dataclass
class Traffic:
    """Bytes that a page was sent: its own data, and Streamlit's program."""

    data: int = 0
    program: int = 0

    @classmethod
    def of(cls, page: Tab) -> Traffic:
        traffic, paths = cls(), {}

        def heard(event: dict[str, Any]) -> None:
            told = event.get("params", {})
            match event.get("method"):
                case "Network.responseReceived":
                    paths[told["requestId"]] = urlsplit(told["response"]["url"]).path
                case "Network.webSocketFrameReceived":
                    frame = told["response"]
                    data = frame["payloadData"]
                    traffic.data += len(base64.b64decode(data) if frame["opcode"] == 2 else data)
                case "Network.loadingFinished":
                    path, size = paths.get(told["requestId"], ""), int(told["encodedDataLength"])
                    if path.startswith(("/static/", "/favicon")) or path in ("", "/"):
                        traffic.program += size
                    else:
                        traffic.data += size

        page.heard.append(heard)
        page.call("Network.enable")
        return traffic


@contextlib.contextmanager
def served(home: Home) -> Iterator[tuple[str, list[psutil.Process], float]]:
    """Run `edge-bench dashboard`; give its address, its processes, and how long it took to answer."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    words = ["dashboard", "--port", str(port), "--no-browser", "--home", str(home.root)]
    begun = time.perf_counter()
    command = subprocess.Popen([sys.executable, "-m", "edge_bench", *words], stderr=subprocess.DEVNULL)
    try:
        health = urllib.request.Request(f"http://127.0.0.1:{port}/_stcore/health")
        while True:
            with contextlib.suppress(OSError):
                direct(health)
                break
            if command.poll() is not None or time.perf_counter() - begun > PATIENCE_S:
                raise SystemExit("the dashboard did not start")
            time.sleep(0.05)
        started = psutil.Process(command.pid)
        ready_s = time.perf_counter() - begun
        yield f"http://127.0.0.1:{port}", [started, *started.children(recursive=True)], ready_s
    finally:
        command.terminate()
        command.wait()


def processor_seconds(processes: list[psutil.Process]) -> float:
    return sum(one.cpu_times().user + one.cpu_times().system for one in processes)


def browser_seconds() -> float:
    """Return the processor time of the browser's processes that are there."""
    spent = 0.0
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            spent += processor_seconds([one]) if "chrom" in one.name() else 0.0
    return spent


def bars_of(size: Size, found: dict[str, Any]) -> list[report.Bar]:
    rows = f"{size.candidates:,} candidates"
    named = [
        ("first chart after navigation", size.first_s, median(found, "first"), "s"),
        ("slider to redrawn chart", size.slider_s, median(found, "slider"), "s"),
        ("sent for the view", SENT_MB, median(found, "first", "sent_mb"), "MB"),
    ]
    return [
        report.Bar(name=f"{name}, {rows}", floor=floor, figure=figure, unit=unit, at_most=True)
        for name, floor, figure, unit in named
    ]


def median(found: dict[str, Any], of: str, what: str = "seconds") -> float:
    return statistics.median(one[what] for one in found[of])


def told(name: str, found: dict[str, Any]) -> None:
    store, server = found["store_mb"], found["server_memory_mb"]
    print(f"\n{int(name):,} candidates, store {store:.0f} MB, server {server:.0f} MB")
    columns = ("seconds", "server_core_s", "browser_core_s", "sent_mb", "program_mb")
    print(f"{'':22}" + "".join(f"{column:>16}" for column in columns))
    for of, tries in found.items():
        if isinstance(tries, list):
            values = [median(found, of, column) for column in columns if column in tries[0]]
            print(f"{of:22}" + "".join(f"{value:16.3f}" for value in values))


if __name__ == "__main__":
    raise SystemExit(main())
