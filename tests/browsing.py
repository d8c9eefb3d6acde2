"""JupyterLab as `make lab` starts it, and Chromium, for all tests that look at a real page.

`lab` and `page` are JupyterLab; `mount` puts one widget into an empty page, its kernel's side in this process: quick,
and its Python object is at hand.
"""

from __future__ import annotations

import base64
import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import anywidget
import pytest

CHROMIUM = Path("/usr/bin/chromium")
# Ends the command when stdin closes, so also when the tests were killed; SIGTERM first, with which a server ends its kernels.
UNTIL_STDIN_CLOSES = """
import subprocess, sys, threading
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
threading.Thread(target=lambda: (sys.stdin.read(), process.terminate()), daemon=True).start()
sys.exit(process.wait())
"""


class Lab(NamedTuple):
    """A running server: its address with the token, its outputs folder, and the folder that it was started in."""

    address: str
    outputs: Path
    place: Path

    @property
    def base(self) -> str:
        """The address without the path."""
        return self.address.split("/lab")[0]

    @property
    def token(self) -> str:
        """What the server asks a browser for."""
        return self.address.split("token=")[1]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start the server from another folder, with outputs of its own."""
    if not CHROMIUM.is_file():
        pytest.skip("needs Debian's chromium; .ci/run installs it")
    place = tmp_path_factory.mktemp("lab")
    command = [str(Path(sys.executable).with_name("wanlab")), "lab", "--no-browser", "--port", "0"]
    own = {"WANLAB_OUTPUTS": str(place / "outputs"), "JUPYTER_CONFIG_DIR": str(place / "settings")}
    with server(command, place, {**os.environ, **own}) as address:
        yield Lab(address, place / "outputs", place)


@contextlib.contextmanager
def server(command: list[str], cwd: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Start JupyterLab, at any free port if its port is 0; yield its address with the token."""
    with subprocess.Popen(
        [sys.executable, "-c", UNTIL_STDIN_CLOSES, *command],
        cwd=cwd, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        lines = process.stderr
        addresses = (re.search(r"http://127\.0\.0\.1:\d+/lab\S*token=\S+", line) for line in lines)
        found = next(filter(None, addresses), None)
        assert found, "the server did not start"
        reader = threading.Thread(target=lines.read)  # what it says later must not fill the pipe
        reader.start()
        try:
            yield found.group()
        finally:
            process.stdin.close()
            reader.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium; not for the whole session, since playwright's event loop would be in the way of other tests."""
    if not CHROMIUM.is_file():
        pytest.skip("needs Debian's chromium; .ci/run installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(lab: Lab, browser: Any) -> Iterator[Any]:
    """Open JupyterLab, 1500 pixels wide; yield the page."""
    page = browser.new_page(viewport={"width": 1500, "height": 1100})
    page.goto(lab.address)
    page.get_by_role("heading", name="Newest runs").wait_for(timeout=60000)
    yield page
    page.close()


def open_notebook(page: Any, lab: Lab, path: str) -> Any:
    """Open a notebook below the server's root, without those that earlier tests had open; return its panel."""
    page.goto(f"{lab.base}/lab/tree/{path}?token={lab.token}&reset")
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")


def run_notebook(page: Any, lab: Lab, name: str, more: str) -> Any:
    """Open a notebook of the project, add lines to its `parameters` cell and run all cells; return its panel."""
    page.route("**/api/contents/**", save_nothing)
    panel = open_notebook(page, lab, f"notebooks/{name}.ipynb")
    panel.get_by_role("heading", name=name.replace("_", " ").title()).wait_for(timeout=60000)
    panel.locator(".jp-CodeCell").filter(has_text="# what you change first").locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.type(f"\n{more}")
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).first.click()
    return panel


def save_nothing(route: Any) -> None:
    """Answer that a notebook was saved, as JupyterLab and the widget at its top do: the project's own stays as it is."""
    if route.request.method == "PUT":
        route.fulfill(response=route.fetch(method="GET", url=f"{route.request.url.split('?')[0]}?content=0"))
    else:
        route.fallback()


class Clicks:
    """Clicks that a job may take, counted."""

    def __init__(self, most: int) -> None:
        self.left = most

    def __call__(self, what: Any, **how: Any) -> None:
        self.left -= 1
        assert self.left >= 0, "too many clicks"
        what.scroll_into_view_if_needed()
        what.click(**how)


def scroll_to(page: Any, panel: Any, what: Any) -> None:
    """Scroll a notebook until something is in it: JupyterLab puts only those cells into the page that are near its view."""
    panel.locator(".jp-Notebook").hover()
    for step in range(900):
        if what.count():
            break
        page.mouse.wheel(0, 800 if step // 15 % 2 == 0 else -800)  # down and up again: it may not be there yet
        page.wait_for_timeout(100)
    what.scroll_into_view_if_needed()


MOUNT = """
async ([code, state, dark, told]) => {
  const tell = window[told];
  document.body.style.background = dark ? '#111' : '#fff';
  const colours = dark
    ? { 'layout-color1': '#111', 'layout-color2': '#333', 'ui-font-color1': '#eee', 'ui-font-color2': '#bbb', 'border-color1': '#666' }
    : { 'layout-color1': '#fff', 'layout-color2': '#eee', 'ui-font-color1': '#212121', 'ui-font-color2': '#666', 'border-color1': '#bdbdbd' };
  for (const [name, value] of Object.entries(colours)) document.body.style.setProperty(`--jp-${name}`, value);
  const handlers = new Set();
  const followers = {};
  const changed = (name, value) => { state[name] = value; (followers[name] ?? []).forEach((follow) => follow()); };
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const deliver = (answers) => answers.forEach(([content, buffers]) => {
    if (content.kind === 'trait') changed(content.name, content.value);
    else handlers.forEach((h) => h(content, buffers.map(bytes)));
  });
  const model = {
    get: (name) => state[name], save_changes: () => {},
    set: (name, value) => {
      if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
      changed(name, value);
      tell({ kind: 'trait', name, value }).then(deliver);
    },
    on: (name, handler) => name === 'msg:custom' ? handlers.add(handler) : (followers[name.slice(7)] ??= []).push(handler),
    off: (_, handler) => handlers.delete(handler),
    send: async (content) => deliver(await tell(content)),
  };
  const poll = async () => { deliver(await tell(null)); setTimeout(poll, 30); };
  const url = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
  const { default: widget } = await import(url);
  const el = document.createElement('div');
  document.body.append(el);
  await widget.render({ model, el });
  poll();
}
"""


@pytest.fixture
def mount(browser: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Return what shows widgets, one below the other, in an empty page of their own and returns the page.

    Its arguments: the widgets; width, height (CSS pixels), ratio (device pixels per CSS pixel), dark (a dark page).
    """
    pages, faults = [], []

    def show(*widgets: Any, width: int = 1280, height: int = 900, ratio: float = 1, dark: bool = False) -> Any:
        page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=ratio)
        pages.append(page)
        page.on("pageerror", lambda error: faults.append(f"{error} {error.stack}"))
        page.goto("about:blank")
        for number, widget in enumerate(widgets):
            put(page, widget, dark, f"tell{number}")
        return page

    def put(page: Any, widget: Any, dark: bool, name: str) -> None:
        said: queue.Queue[tuple[Any, list[str]]] = queue.Queue()

        def send(content: Any, buffers: Any = None) -> None:
            said.put((content, [base64.b64encode(buffer).decode() for buffer in buffers or ()]))

        def tell(_: Any, content: Any) -> list[Any]:
            if content is not None and content["kind"] == "trait":
                setattr(widget, content["name"], content["value"])
            elif content is not None:
                widget._handle_custom_msg(content, [])
            return [said.get() for _ in range(said.qsize())]

        def follow(change: Any) -> None:
            said.put(({"kind": "trait", "name": change.name, "value": change.new}, []))

        monkeypatch.setattr(widget, "send", send)
        own = set(widget.traits(sync=True)) - set(anywidget.AnyWidget.class_traits(sync=True))
        traits = [name for name in own if not name.startswith("_")]
        widget.observe(follow, names=traits)
        state = {name: getattr(widget, name) for name in traits}
        page.expose_binding(name, tell)
        page.evaluate(MOUNT, [widget._esm, state, dark, name])

    yield show
    for page in pages:
        page.close()
    assert not faults


@pytest.fixture
def shoot() -> Callable[[Any, str], None]:
    """Return what keeps an image of a page or a part of it in the folder WANLAB_SCREENSHOTS, for someone to look at."""
    folder = os.environ.get("WANLAB_SCREENSHOTS")

    def keep(what: Any, name: str) -> None:
        if folder:
            what.screenshot(path=Path(folder) / f"{name}.png")

    return keep
