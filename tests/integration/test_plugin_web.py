"""plugins/web: what is served, and what is not."""

import gzip
import json
import os
import re
import socket

from base import one_process, smoke
from plugin_base import PluginTest, SHIPPED_PLUGINS, check
from server import PATIENCE, ROOT, Server

PAGE = os.path.join(ROOT, "plugins", "web", "page")
CLIENT = os.path.join(ROOT, "plugins", "web", "client")
TYPES = {".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8",
         ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json"}


def files():
    """path → bytes of all that is to be served."""
    found = {"/" + name: os.path.join(PAGE, name) for name in os.listdir(PAGE)
             if not name.endswith(".md")}
    found.update({"/client/" + name: os.path.join(CLIENT, name) for name in os.listdir(CLIENT) if name.endswith(".js")})
    out = {}
    for path, name in found.items():
        with open(name, "rb") as f:
            out[path] = f.read()
    return out


class Web(PluginTest):
    path = SHIPPED_PLUGINS
    load = {"web": {"title": "Bird & \"Co\" <b>"}}

    @smoke
    def test_the_page(self):
        status, headers, body = self.http("GET", "/")
        self.assertEqual(status, 200)
        self.assertEqual(headers["content-type"], "text/html; charset=utf-8")
        self.assertIn(b"<title>Bird &#38; &#34;Co&#34; &#60;b&#62;</title>", body)
        self.assertNotIn(b"@TITLE@", body)
        self.assertEqual(self.http("GET", "/index.html")[2], body)
        self.assertEqual(self.http("GET", "/?from=there")[2], body)

    def test_every_file(self):
        for path, content in files().items():
            with self.subTest(path):
                status, headers, body = self.http("GET", path)
                self.assertEqual(status, 200)
                self.assertEqual(headers["content-type"], TYPES[os.path.splitext(path)[1]])
                if b"@TITLE@" not in content:
                    self.assertEqual(body, content)
                self.assertNotIn("content-encoding", headers)

    def test_the_manifest_is_json_with_any_title(self):
        manifest = json.loads(self.http("GET", "/manifest.webmanifest")[2])
        self.assertEqual(manifest["name"], "Bird & \"Co\" <b>")
        for i in manifest["icons"]:
            self.assertEqual(self.http("GET", "/" + i["src"])[1]["content-type"], i["type"])

    def test_gzip_for_who_reads_it(self):
        plain = files()["/style.css"]
        for accept, packed in [("gzip", True), ("GZIP;q=0.5, br", True), ("br, *", True), ("x-gzip", True),
                               ("gzip;q=0", False), ("gzip; q=0.000", False), ("*;q=0", False), ("br", False),
                               ("", False), ("*;q=0, gzip", True), ("gzipped", False)]:
            with self.subTest(accept):
                _, headers, body = self.http("GET", "/style.css", headers={"Accept-Encoding": accept})
                self.assertEqual(headers.get("content-encoding"), "gzip" if packed else None)
                self.assertEqual(gzip.decompress(body) if packed else body, plain)
                self.assertEqual(headers["vary"], "Accept-Encoding")
                if packed:
                    self.assertLess(len(body), len(plain) // 2)

    def test_not_modified(self):
        for accept in ("", "gzip"):
            for path in ("/", "/app.js"):
                ask = {"Accept-Encoding": accept}
                _, headers, body = self.http("GET", path, headers=ask)
                tag = headers["etag"]
                self.assertRegex(tag, r'^"[0-9a-z-]+"$')
                for match in (tag, "W/" + tag, '"other", ' + tag, "*", '"a",W/%s ,"b"' % tag):
                    status, again, rest = self.http("GET", path, headers=dict(ask, **{"If-None-Match": match}))
                    self.assertEqual((status, rest), (304, b""), match)
                    self.assertEqual((again["etag"], again["cache-control"]), (tag, "no-cache"))
                    self.assertNotIn("content-encoding", again)
                for match in ('"other"', tag.strip('"'), "", tag[:-2] + '"'):
                    status, _, rest = self.http("GET", path, headers=dict(ask, **{"If-None-Match": match}))
                    self.assertEqual((status, rest), (200, body), match)

    def test_each_encoding_has_its_tag(self):
        plain = self.http("GET", "/app.js")[1]["etag"]
        self.assertNotEqual(self.http("GET", "/app.js", headers={"Accept-Encoding": "gzip"})[1]["etag"], plain)

    def test_head(self):
        _, wanted, body = self.http("GET", "/app.js")
        status, headers, nothing = self.http("HEAD", "/app.js")
        self.assertEqual((status, nothing, headers["content-length"]), (200, b"", str(len(body))))
        self.assertEqual(headers["etag"], wanted["etag"])

    def test_what_the_browser_is_told(self):
        for path in ("/", "/app.js", "/icon.svg"):
            _, headers, _ = self.http("GET", path)
            rules = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
            self.assertEqual(rules["default-src"], "'none'")
            self.assertEqual((rules["script-src"], rules["style-src"]), ("'self'", "'self'"))
            self.assertEqual((rules["frame-ancestors"], rules["base-uri"], rules["form-action"]), ("'none'",) * 3)
            self.assertNotIn("unsafe", headers["content-security-policy"])
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["referrer-policy"], "no-referrer")
            self.assertEqual(headers["x-frame-options"], "DENY")

    def test_the_client_is_for_pages_of_others_too(self):
        for path in files():
            _, headers, _ = self.http("GET", path, headers={"Origin": "https://shop.example"})
            client = path.startswith("/client/")
            self.assertEqual(headers.get("access-control-allow-origin"), "*" if client else None, path)
            self.assertEqual(headers["cross-origin-resource-policy"], "cross-origin" if client else "same-origin", path)

    def test_the_page_has_no_inline_script_or_style(self):
        text = self.http("GET", "/")[2].decode()
        self.assertEqual(re.findall(r"<script(?! type=\"module\" src=)", text), [])
        self.assertEqual(re.findall(r"<style|\sstyle=|\son\w+=", text), [])

    def test_nothing_else(self):
        for path in ("/nothing", "/client", "/client/", "/client/index.d.ts", "/client/package.json", "/app.js/",
                     "//app.js", "/../web.c", "/%2e%2e/web.c", "/client/../app.js", "/README.md", "/sw.js.gz",
                     "/./app.js", "/app%2ejs",
                     "/client%2findex.js", "/..%2f..%2fetc%2fpasswd", "/APP.JS", "/app.js%00", "/page/app.js"):
            with self.subTest(path):
                self.assertEqual(self.raw(path)[:12], b"HTTP/1.1 404")

    def raw(self, path):
        with socket.create_connection(("127.0.0.1", self.server.websocket), 20 * PATIENCE) as s:
            s.sendall(("GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path).encode())
            return s.makefile("rb").read()

    def test_other_methods(self):
        status, headers, _ = self.http("POST", "/", body="x")
        self.assertEqual((status, headers["allow"]), (405, "GET, HEAD"))

    def test_the_worker_keeps_every_file(self):
        worker = files()["/sw.js"].decode()
        kept = set(json.loads(re.search(r"const SHELL = (\[.*?\]);", worker, re.S).group(1).replace(",\n]", "\n]")))
        wanted = {path[1:] for path in files()} - {"sw.js", "index.html"} | {"./"}
        self.assertEqual(kept, wanted)

    def test_the_page_names_every_module_at_once(self):
        """So that a browser need not read one module to know of the next."""
        page = files()["/index.html"].decode()
        named = set(re.findall(r'(?:modulepreload" href|module" src)="([^"]+)"', page))
        self.assertEqual(named, {path[1:] for path in files() if path.endswith(".js")} - {"sw.js"})

    def test_chat_goes_on_beside_it(self):
        ann, bob = self.user("Ann", wire="text"), self.user("Bob", wire="binary")
        name = self.channel(ann, bob)
        ann.say(name, "hello")
        self.assertEqual(bob.push(102)["content"], "hello")


@one_process("one process's port")
class WebElsewhere(PluginTest):
    path = SHIPPED_PLUGINS
    load = {"web": {"path": "/chat/"}, "metrics": {}}

    def test_it_is_there(self):
        self.assertIn(b"<title>Magpie</title>", self.http("GET", "/chat/")[2])
        self.assertEqual(self.http("GET", "/chat/client/index.js")[0], 200)
        status, headers, _ = self.http("GET", "/chat")
        self.assertEqual((status, headers["location"]), (308, "/chat/"))
        self.assertEqual(self.http("GET", "/")[0], 426)
        self.assertEqual(self.http("GET", "/app.js")[0], 426)
        self.assertEqual(self.http("GET", "/metrics")[0], 200)

    def test_it_comes_and_goes(self):
        self.console("plugin unload web")
        self.assertEqual(self.http("GET", "/chat/")[0], 426)
        self.console("plugin load web")
        self.assertEqual(self.http("GET", "/chat/")[0], 200)

    def test_wrong_options(self):
        for option, value, words in [("path", "chat/", "path: expected"), ("path", "/chat", "path: expected"),
                                     ("path", "/a//b/", "path: expected"), ("path", "/a*/", "path: expected"),
                                     ("title", "", "title"), ("titel", "x", "title")]:
            server = Server({"plugins": {"path": SHIPPED_PLUGINS, "load": {"web": {option: value}}}}, start=False)
            status, said = check(server)
            server.discard()
            self.assertEqual(status, 1, said)
            self.assertIn(words, said)
