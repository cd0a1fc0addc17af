#!/usr/bin/env python3
"""Opens pages in a headless Chromium and prints what it made of them, as JSON. Standard library only.

    browse.py CHROMIUM PROFILE SHOTS PAGE...

Chromium is spoken to over a pipe (--remote-debugging-pipe: file descriptors 3 and 4, messages end in a zero byte). Each
page is served by a server of this very process, which writes down what is asked for, and laid out in each look below.
SHOTS is a directory for pictures, or empty for none.
"""

import http.server, json, os, subprocess, sys, threading, base64, pathlib

LOOKS = [  # name, width, height, colour scheme, medium
    ("light", 1280, 900, "light", "screen"),
    ("dark", 1280, 900, "dark", "screen"),
    ("phone", 360, 740, "light", "screen"),
    ("phone-dark", 360, 740, "dark", "screen"),
    ("narrow", 320, 640, "light", "screen"),
    ("tablet", 768, 1024, "light", "screen"),
    ("print", 794, 1123, "dark", "print"),
]

MEASURE = r"""
(() => {
  const channel = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const parse = text => { const n = text.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const light = rgb => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2]);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const ground = el => {
    const layers = [];
    for (; el; el = el.parentElement) layers.push(parse(getComputedStyle(el).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const shown = el => { const r = el.getBoundingClientRect(); return r.width > 1 && r.height > 1 && getComputedStyle(el).visibility === 'visible'; };
  const texts = [...document.querySelectorAll('body *')].filter(el => !el.closest('svg') && shown(el)
    && [...el.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
  const contrasts = texts.map(el => {
    const under = ground(el);
    return [ratio(over(parse(getComputedStyle(el).color), under), under), el.className || el.tagName, el.textContent.slice(0, 40)];
  }).sort((a, b) => a[0] - b[0]);
  const lines = [...document.querySelectorAll('.spark .line')].map(el =>
    ratio(parse(getComputedStyle(el).stroke), ground(el.closest('svg').parentElement)));
  const wide = document.documentElement.clientWidth;
  const out = [...document.querySelectorAll('body *')].filter(el => shown(el) && !el.closest('.wide table') && !el.matches('.skip'))
    .filter(el => { const r = el.getBoundingClientRect(); return r.right > wide + 0.5 || r.left < -0.5; })
    .map(el => `${el.tagName}.${el.getAttribute('class')} ${el.getBoundingClientRect().right}`);
  const cut = [...document.querySelectorAll('td, th, h1, h2, h3, h4, dd, code, .badge')].filter(shown)
    .filter(el => el.scrollWidth > el.clientWidth + 1 && getComputedStyle(el).display !== 'inline').map(el => `${el.tagName}: ${el.textContent.slice(0, 40)}`);
  const headings = [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(el => Number(el.tagName[1]));
  const ids = [...document.querySelectorAll('[id]')].map(el => el.id);
  const named = [...document.querySelectorAll('[aria-labelledby]')].flatMap(el => el.getAttribute('aria-labelledby').split(' '));
  const heads = [...document.querySelectorAll('th')];
  return {
    title: document.title, lang: document.documentElement.lang, scripts: document.scripts.length,
    page: [document.documentElement.scrollWidth, wide], out, cut,
    contrast: contrasts.slice(0, 3), spark: Math.min(...lines, 99), texts: texts.length,
    headings, twice: ids.filter((id, i) => ids.indexOf(id) !== i), lost: named.filter(id => !ids.includes(id)),
    links: [...document.links].map(a => a.getAttribute('href')).filter(href => href !== '#main' && !document.querySelector(href)),
    unscoped: heads.filter(th => !th.scope).length, heads: heads.length,
    ground: getComputedStyle(document.body).backgroundColor, motion: getComputedStyle(document.documentElement).scrollBehavior,
    collapsed: getComputedStyle(document.querySelector('tbody tr') || document.body).display,
  };
})()
"""

FOCUS = """
(() => { const el = document.activeElement, s = getComputedStyle(el), r = el.getBoundingClientRect();
  return { tag: el.tagName, text: (el.getAttribute('aria-labelledby') || el.textContent).slice(0, 30),
    outline: s.outlineStyle === 'none' ? 0 : parseFloat(s.outlineWidth), seen: r.left >= 0 && r.top >= 0 }; })()
"""


class Browser:
    def __init__(self, program, profile):
        to_read, self.write = os.pipe()
        self.read, to_write = os.pipe()

        def descriptors():
            # High first: either may stand on 3 or 4 now.
            a, b = os.dup(to_read), os.dup(to_write)
            a2, b2 = (os.dup2(a, 30), os.dup2(b, 31))
            os.dup2(a2, 3)
            os.dup2(b2, 4)

        words = [
            program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--no-proxy-server", "--hide-scrollbars", f"--user-data-dir={profile}", "about:blank",
        ]
        self.log = open(os.path.join(profile, "log"), "wb")
        self.process = subprocess.Popen(words, preexec_fn=descriptors, close_fds=False, stdout=self.log, stderr=self.log)
        os.close(to_read)
        os.close(to_write)
        self.rest, self.number, self.heard, self.session = b"", 0, [], None

    def message(self):
        while b"\0" not in self.rest:
            more = os.read(self.read, 1 << 20)
            if not more:
                sys.exit("chromium has ended: " + pathlib.Path(self.log.name).read_text(errors="replace")[-2000:])
            self.rest += more
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, **params):
        self.number += 1
        words = {"id": self.number, "method": method, "params": params}
        if self.session:
            words["sessionId"] = self.session
        os.write(self.write, json.dumps(words).encode() + b"\0")
        while True:
            said = self.message()
            if said.get("id") == self.number:
                if "error" in said:
                    sys.exit(f"{method}: {said['error']}")
                return said["result"]
            self.heard.append(said)

    def wait_for(self, method):
        while not any(it.get("method") == method for it in self.heard):
            self.heard.append(self.message())

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            sys.exit(json.dumps(result["exceptionDetails"]))
        return result["result"]["value"]

    def tab(self):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)


class Server(http.server.ThreadingHTTPServer):
    """Serves one page, whatever is asked for, and writes down what was."""

    def __init__(self):
        self.page, self.asked = b"", []

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(answer):
                self.asked.append(answer.path)
                answer.send_response(200)
                answer.send_header("Content-Type", "text/html")
                answer.end_headers()
                answer.wfile.write(self.page)

            def log_message(answer, *_):
                pass

        super().__init__(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def roles(browser):
    """What is read out: each role with how many there are, and the names of pictures and tables."""
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    count, names = {}, []
    for node in nodes:
        if node.get("ignored"):
            continue
        role = node.get("role", {}).get("value", "")
        count[role] = count.get(role, 0) + 1
        if role in ("image", "img", "graphics-document", "table", "region"):
            names.append([role, node.get("name", {}).get("value", "")])
    return {"count": count, "names": names}


def main():
    program, profile, shots, pages = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    browser, server = Browser(program, profile), Server()
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    browser.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Network", "Runtime", "Log", "Accessibility"):
        browser.call(f"{domain}.enable")
    found = {}
    for page in pages:
        name = pathlib.Path(page).stem
        server.page = pathlib.Path(page).read_bytes()
        for look, width, height, scheme, medium in LOOKS:
            browser.heard, server.asked = [], []
            browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
            features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
            browser.call("Emulation.setEmulatedMedia", media=medium, features=features)
            browser.call("Page.navigate", url=f"http://127.0.0.1:{server.server_port}/{name}")
            browser.wait_for("Page.loadEventFired")
            it = browser.value(MEASURE)
            it["roles"] = roles(browser)
            if look in ("light", "dark"):
                it["focus"] = []
                for _ in range(3):
                    browser.tab()
                    it["focus"].append(browser.value(FOCUS))
            if shots:
                picture = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
                (pathlib.Path(shots) / f"{name}-{look}.png").write_bytes(base64.b64decode(picture))
            requests = [it["params"]["request"]["url"] for it in browser.heard if it.get("method") == "Network.requestWillBeSent"]
            it["requests"], it["asked"] = [url.rsplit("/", 1)[-1] for url in requests], server.asked
            it["complaints"] = [it["params"] for it in browser.heard if it.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")]
            found.setdefault(name, {})[look] = it
    browser.session = None
    browser.call("Browser.close")
    browser.process.wait(timeout=30)
    json.dump(found, sys.stdout)


main()
