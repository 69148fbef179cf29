"""plugins/web, the dashboard at /admin: who gets in, what others' pages cannot do, orders and what is told of them."""

import http.client
import json
import os
import re
import time

from base import one_process, smoke
from plugin_base import Console, PluginTest, SHIPPED_PLUGINS, check
from server import PATIENCE, Server

PASSWORD = "corvus-7781"
JSON = {"Content-Type": "application/json"}


class PasswordConsole(Console):
    """A console that has been told the password."""

    def __init__(self, server, password=PASSWORD):
        super().__init__(server)
        self("auth " + password)


class Admin(PluginTest):
    abstract = True
    path = SHIPPED_PLUGINS
    password = PASSWORD

    @classmethod
    def setUpClass(cls):
        cls.config = dict(cls.config, console={"password": cls.password} if cls.password else {})
        super().setUpClass()

    def setUp(self):
        super(PluginTest, self).setUp()
        self.consoles = [PasswordConsole(n) if self.password else Console(n) for n in self.server.nodes]
        self.console = self.consoles[0]
        for console in self.consoles[1:]:
            self.addCleanup(console.close)
        self.server.secrets.add(PASSWORD)

    def post(self, what, body, cookie=None, token=None, headers=None, source=None):
        """(status, headers, JSON) of a POST to the dashboard's API."""
        fields = dict(JSON, **(headers or {}))
        if cookie:
            fields["Cookie"] = cookie
        if token:
            fields["X-Magpie-Token"] = token
        c = http.client.HTTPConnection("127.0.0.1", self.server.websocket, timeout=20 * PATIENCE,
                                       source_address=(source, 0) if source else None)
        try:
            c.request("POST", "/admin/api/" + what, body if isinstance(body, (str, bytes)) else json.dumps(body),
                      {k: v for k, v in fields.items() if v is not None})
            r = c.getresponse()
            text = r.read()
            answer = json.loads(text) if text.startswith(b"{") else text
            return r.status, dict((k.lower(), v) for k, v in r.getheaders()), answer
        finally:
            c.close()

    def tail(self):
        """The newest lines of the log, of all nodes."""
        return "\n".join(line for console in self.consoles for line in console("log tail 200"))

    def limited(self, **more):
        """Whether no node looks at a password any more that comes from there."""
        return all(self.post("login", {"password": "guess"}, **more)[0] == 429 for _ in self.server.nodes)

    def await_limit(self, **more):
        """Five wrong ones have been given: one node knows at once, several within milliseconds."""
        if len(self.server.nodes) == 1:
            self.assertTrue(self.limited(**more))
        self.eventually(lambda: self.limited(**more))

    def log_in(self, password=PASSWORD, **more):
        """(cookie, token)"""
        status, headers, answer = self.post("login", {"password": password}, **more)
        self.assertEqual(status, 200, answer)
        cookie = headers["set-cookie"].split(";")[0]
        self.server.secrets.add(cookie.split("=")[1])
        self.server.secrets.add(answer["token"])
        return cookie, answer["token"]

    def run_order(self, who, *words):
        status, _, answer = self.post("run", {"words": words}, *who)
        self.assertEqual(status, 200, answer)
        return answer

    def answer_of(self, who, *words):
        answer = self.run_order(who, *words)
        self.assertIn("answer", answer)
        return answer["answer"]


class Dashboard(Admin):
    load = {"web": {"title": "Bird <b>"}}

    @smoke
    def test_in_and_out(self):
        status, headers, body = self.http("GET", "/admin/")
        self.assertEqual(status, 200)
        self.assertIn(b"<title>Bird &#60;b&#62;: dashboard</title>", body)
        self.assertNotIn("set-cookie", headers)
        self.assertEqual(self.post("session", {})[2], {"token": None})
        status, headers, answer = self.post("login", {"password": PASSWORD})
        flags = [f.strip() for f in headers["set-cookie"].split(";")]
        self.assertEqual(flags[1:], ["HttpOnly", "SameSite=Strict"])
        self.assertRegex(flags[0], r"^magpie-admin=([0-9]+-)?[0-9a-f]{64}$")
        self.assertRegex(answer["token"], r"^[0-9a-f]{64}$")
        self.assertEqual(headers["cache-control"], "no-store")
        who = flags[0], answer["token"]
        self.assertEqual(self.post("session", {}, who[0])[2], {"token": who[1]})
        self.assertEqual(self.answer_of(who, "status")["state"], "serving")
        status, headers, answer = self.post("logout", {}, *who)
        self.assertEqual((status, answer), (200, {"token": None}))
        self.assertIn("Max-Age=0", headers["set-cookie"])
        self.assertEqual(self.post("run", {"words": ["status"]}, *who)[0], 401)
        self.assertEqual(self.post("session", {}, who[0])[2], {"token": None})
        log = self.tail()
        self.assertRegex(log, r"web\.admin_in ip=127\.0\.0\.1 session=\d+")
        self.assertRegex(log, r"web\.admin_out ip=127\.0\.0\.1 session=\d+")

    def test_without_a_session(self):
        cookie, token = self.log_in()
        for who in ((None, None), (None, token), ("magpie-admin=" + "0" * 64, token), ("magpie-admin=", token)):
            for what in ("run", "logout", "anything"):
                self.assertEqual(self.post(what, {"words": ["status"]}, *who)[0], 401, who)
        # The other half is the page's own token.
        for wrong in (None, "", "0" * 64, token[:-1], token + "0", cookie.split("=")[1]):
            status, _, answer = self.post("run", {"words": ["status"]}, cookie, headers={"X-Magpie-Token": wrong})
            self.assertEqual((status, answer["error"]["code"]), (403, "forbidden"), wrong)
        self.assertEqual(self.post("run", {"words": ["status"]}, *self.log_in())[0], 200)
        other = self.log_in()
        self.assertEqual(self.post("run", {"words": ["status"]}, cookie, other[1])[0], 403)

    @one_process("a page of one node, by its address")
    def test_pages_of_others(self):
        """Whatever another site's page can make a browser send is refused, with the session's cookie as well."""
        who = self.log_in()
        host = "127.0.0.1:%d" % self.server.websocket
        refused = [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
                   {"Sec-Fetch-Site": "cross-site", "Origin": "http://" + host}, {"Origin": "http://evil.example"},
                   {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": "http://evil.example/://" + host},
                   {"Content-Type": "text/plain"}, {"Content-Type": None},
                   {"Content-Type": "application/x-www-form-urlencoded"}, {"Host": "evil.example"}]
        for headers in refused:
            for what, body in (("run", {"words": ["announce", "hacked"]}), ("login", {"password": PASSWORD}),
                               ("session", {}), ("logout", {})):
                with self.subTest(headers=headers, what=what):
                    status, got, answer = self.post(what, body, *who, headers=headers)
                    self.assertEqual(status, 403, answer)
                    self.assertNotIn("set-cookie", got)
                    self.assertNotIn("access-control-allow-origin", got)
                    self.assertNotIn(who[1], json.dumps(answer) if isinstance(answer, dict) else answer.decode())
        for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://" + host}, {}):
            self.assertEqual(self.post("run", {"words": ["status"]}, *who, headers=headers)[0], 200, headers)
        # GET gives no orders, and nobody's preflight is answered.
        self.assertEqual(self.http("GET", "/admin/api/run")[0], 404)
        self.assertEqual(self.http("OPTIONS", "/admin/api/run")[0], 405)
        self.assertIn("web.admin_forged", self.tail())

    def test_orders(self):
        who = self.log_in()
        ann, bob = self.user("Ann", wire="text"), self.user("Bob", wire="binary")
        name = self.channel(ann, bob)
        ann.say(name, "to be recalled")
        users = self.answer_of(who, "list", "users", "Ann", "limit", "5")
        self.assertIn(ann.id, [u["user"] for u in users])
        self.assertEqual(self.answer_of(who, "show", "channel", name)["members"], 2)
        self.assertEqual(self.answer_of(who, "channel", name, "tier", "large")["tier"], "large")
        self.answer_of(who, "recall", "channel", name, "1")
        self.assertIsNone(self.answer_of(who, "history", "channel", name)[0]["content"])
        self.answer_of(who, "mute", "user", bob.id)
        self.refused("forbidden", bob, 4, channel=name, content="x")
        self.answer_of(who, "unmute", "user", bob.id)
        self.assertEqual(self.answer_of(who, "kick", "user", bob.id, 'go "home" \\ now\n')["connections"], 1)
        self.assertEqual(bob.push(105)["message"], 'go "home" \\ now\n')
        self.assertEqual(self.run_order(who, "kick", "user", "nobody-here")["error"]["code"], "not_found")
        self.assertEqual(self.run_order(who, "why", ann.id, "12")["error"]["code"], "bad_request")
        self.assertIn("usage", self.run_order(who, "kick", "user")["error"]["message"])
        self.assertEqual(self.answer_of(who, "channel", name, "delete"), {"members": 2})
        top = self.answer_of(who, "top")
        self.assertEqual({"rates", "shards", "storage", "memory", "hottest", "slow"} - set(top), set())
        log = self.tail()
        for command in ("kick user", "channel", "recall channel", "mute user"):
            self.assertRegex(log, r'console\.command who="web 127\.0\.0\.1 session \d+( of node \d+)?" command="?%s"?' %
                             command)
        self.assertNotIn("to be recalled", log)

    def test_words_stay_words(self):
        """Nothing in a word becomes another command, argument or line."""
        who = self.log_in()
        name = "a b\" kick \\ limit"
        cy = self.user("Cy")
        cy.subscribe(name)
        self.assertEqual(self.answer_of(who, "channel", name, "members")[0]["user"], cy.id)
        for word in ("x\nshutdown", "x\r\nshutdown", "\u0000", "json", '"', "limit"):
            self.post("run", {"words": ["show", "user", word]}, *who)
        self.assertEqual(self.answer_of(who, "status")["state"], "serving")

    def test_what_is_for_the_console(self):
        who = self.log_in()
        for words in (["shutdown"], ["drain"], ["set", "log.level", "debug"], ["user", "token", "x"], ["quit"],
                      ["auth", PASSWORD], ["trace", "user", "x", "on"], ["plugin", "unload", "web"], ["log", "debug"],
                      ["storage", "checkpoint", "/tmp/x"], ["config", "reload"], ["show", "config"], ["list"],
                      ["json", "status"], ["json status"], ["kick"], [""], ["send", "user", "x", "y"]):
            status, _, answer = self.post("run", {"words": words}, *who)
            self.assertEqual((status, answer["error"]["code"]), (403, "forbidden"), words)

    def test_wrong_requests(self):
        who = self.log_in()
        for body in ("", "{", "[]", "7", '"x"', '{"words":"status"}', '{"words":[]}', '{"words":[1]}', "{}",
                     '{"words":[["status"]]}', json.dumps({"words": ["status"] * 19})):
            self.assertEqual(self.post("run", body, *who)[0], 400, body)
        self.assertEqual(self.post("run", {"words": ["x" * 20000]}, *who)[0], 413)
        for body in ("{}", '{"password":7}', '{"password":null}'):
            self.assertEqual(self.post("login", body)[0], 400, body)
        self.assertEqual(self.post("nothing", {}, *who)[0], 404)

    def test_files(self):
        for path in ("", "index.html", "admin.js", "admin.css", "style.css", "dom.js", "icon.svg"):
            status, headers, _ = self.http("GET", "/admin/" + path)
            self.assertEqual(status, 200, path)
            self.assertIn("default-src 'none'", headers["content-security-policy"])
            self.assertNotIn("unsafe", headers["content-security-policy"])
        status, headers, _ = self.http("GET", "/admin")
        self.assertEqual((status, headers["location"]), (308, "/admin/"))
        for path in ("app.js", "sw.js", "admin/admin.js", "client/index.js", "../style.css", "x" * 500, "api/",
                     "README.md", "manifest.webmanifest"):
            self.assertIn(self.http("GET", "/admin/" + path)[0], (404, 414), path)
        text = self.http("GET", "/admin/")[2].decode()
        self.assertEqual(re.findall(r"<script(?! type=\"module\" src=)|<style|\sstyle=|\son\w+=", text), [])
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "plugins", "web", "admin")
        named = set(re.findall(r'(?:modulepreload" href|module" src)="([^"]+)"', text))
        self.assertEqual(named, {f for f in os.listdir(folder) if f.endswith(".js")} | {"dom.js"})

    def test_lists_by_pages(self):
        who = self.log_in()
        people = [self.user("Paged %d" % i) for i in range(7)]
        for all in ([], ["all"]):
            def page(skip, limit):
                words = ["list", "users"] + all + ([] if all else ["Paged"]) + ["limit", str(limit), "skip", str(skip)]
                return [u["user"] for u in self.answer_of(who, *words)]
            whole = page(0, 1000)
            self.assertEqual({p.id for p in people} - set(whole), set())
            self.assertEqual(page(0, 3) + page(3, 3) + page(6, 1000), whole)
            self.assertEqual(page(len(whole), 5), [])
        hooks = self.console("list hooks skip 1")
        self.assertEqual(hooks, self.console("list hooks")[1:])
        for bad in ("list users x limit 0", "list users x y", "list users x skip z y",
                    "list users a limit 1 limit 2 b"):
            self.assertIn("usage", self.console.refused(bad))


class Guessing(Admin):
    load = {"web": {}}

    def test_wrong_passwords(self):
        """Five a minute from an address, those at the console included; others get in all the same."""
        for i in range(5):
            status, headers, answer = self.post("login", {"password": "guess%d" % i}, source="127.0.0.7")
            self.assertEqual((status, answer["error"]["code"]), (401, "unauthorized"))
            self.assertNotIn("set-cookie", headers)
        self.await_limit(source="127.0.0.7")
        status, _, answer = self.post("login", {"password": PASSWORD}, source="127.0.0.7")
        self.assertEqual((status, answer["error"]["code"]), (429, "rate_limited"))
        self.log_in(source="127.0.0.8")
        for i in range(3):
            self.assertIn("unauthorized", self.console.refused("auth wrong%d" % i))
        for i in range(2):
            self.assertEqual(self.post("login", {"password": ""})[0], 401)
        self.await_limit()
        self.assertEqual(self.post("login", {"password": PASSWORD})[0], 429)
        self.assertIn("rate_limited", self.console.refused("auth " + PASSWORD))
        # Who is in stays in.
        log = self.tail()
        self.assertIn("console.auth_failed ip=127.0.0.7", log)
        self.assertIn("console.auth_limited", log)
        self.assertNotIn("guess3", log)


class Closed(Admin):
    load = {"web": {}}
    password = None

    def test_without_a_password_it_is_closed(self):
        for path in ("/admin/", "/admin/admin.js", "/admin/api/session"):
            status, _, body = self.http("GET", path)
            self.assertEqual(status, 404)
            self.assertIn(b"console.password", body)
        for what, body in (("login", {"password": ""}), ("login", {"password": PASSWORD}), ("session", {}),
                           ("run", {"words": ["status"]})):
            self.assertEqual(self.post(what, body)[0], 404)
        # A reload that sets one opens it; another one ends what was begun; without one it is closed again.
        self.server.rewrite({"console": {"password": PASSWORD}})
        self.server.reload()
        self.eventually(lambda: self.http("GET", "/admin/")[0] == 200)
        who = self.log_in()
        self.assertEqual(self.post("run", {"words": ["status"]}, *who)[0], 200)
        self.server.rewrite({"console": {"password": PASSWORD}, "log": {"level": "debug"}})
        self.server.reload()
        self.eventually(lambda: "reload" in self.server.log())
        self.assertEqual(self.post("run", {"words": ["status"]}, *who)[0], 200)
        self.server.rewrite({"console": {"password": "another-one-9"}})
        self.server.reload()
        self.eventually(lambda: self.post("run", {"words": ["status"]}, *who)[0] == 401)
        self.server.rewrite({"console": {"password": None}})
        self.server.reload()
        self.eventually(lambda: self.http("GET", "/admin/")[0] == 404)


class Expiry(Admin):
    load = {"web": {"admin_idle": 2}}

    def test_a_session_that_nobody_uses_ends(self):
        who = self.log_in()
        for _ in range(6):
            time.sleep(0.5)
            self.assertEqual(self.post("run", {"words": ["status"]}, *who)[0], 200)
        time.sleep(2.1)
        self.assertEqual(self.post("run", {"words": ["status"]}, *who)[0], 401)

    def test_it_ends_with_the_plugin(self):
        who = self.log_in()
        self.console("plugin unload web")
        self.assertEqual(self.http("GET", "/admin/")[0], 426)
        self.console("plugin load web")
        self.assertEqual(self.post("run", {"words": ["status"]}, *who)[0], 401)


class NoDashboard(Admin):
    load = {"web": {"admin": False, "path": "/chat/"}}

    def test_it_can_be_left_out(self):
        for path in ("/admin/", "/admin"):
            self.assertEqual(self.http("GET", path)[0], 426)
        self.assertEqual(self.http("GET", "/chat/admin/index.html")[0], 404)

    def test_one_place_for_one_page(self):
        server = Server({"plugins": {"path": SHIPPED_PLUGINS, "load": {"web": {"path": "/admin/"}}}}, start=False)
        status, said = check(server)
        server.discard()
        self.assertEqual(status, 1)
        self.assertIn("the dashboard is at", said)


class BehindAProxy(Admin):
    load = {"web": {}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.stop()
        cls.server.config["listen"]["proxy"] = ["127.0.0.9"]
        cls.server.start()

    def flags(self, **more):
        return self.post("login", {"password": PASSWORD}, **more)[1].get("set-cookie", "")

    def test_secure_where_the_browser_spoke_tls(self):
        https = [{"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"},
                 {"Forwarded": "for=192.0.2.1;proto=https"}, {"Forwarded": 'for=192.0.2.1; Proto="https"'}]
        for headers in https:
            self.assertIn("; Secure", self.flags(headers=headers, source="127.0.0.9"), headers)
            self.assertNotIn("; Secure", self.flags(headers=headers))  # from one that is no proxy
        for headers in ({}, {"X-Forwarded-Proto": "http"}, {"Forwarded": "for=192.0.2.1;proto=http"},
                        {"Forwarded": "for=192.0.2.1;proto=https, for=127.0.0.9;proto=http"}):
            self.assertNotIn("; Secure", self.flags(headers=headers, source="127.0.0.9"), headers)

    def test_guesses_count_for_the_client(self):
        for i in range(6):
            self.post("login", {"password": "guess"}, source="127.0.0.9", headers={"X-Forwarded-For": "192.0.2.7"})
        self.await_limit(source="127.0.0.9", headers={"X-Forwarded-For": "192.0.2.7"})
        status = self.post("login", {"password": PASSWORD}, source="127.0.0.9",
                           headers={"X-Forwarded-For": "192.0.2.7"})[0]
        self.assertEqual(status, 429)
        self.log_in(source="127.0.0.9", headers={"X-Forwarded-For": "192.0.2.8"})
