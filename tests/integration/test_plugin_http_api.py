"""The plugins http_api, metrics and filter, from outside: what another server, a scraper and a user see."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.parse

import scrape
from base import Test, one_process
from openapi import Description
from plugin_base import Console, check
from server import CLUSTER, PATIENCE, ROOT, Server, merged

KEY = "0123456789abcdef-api"
HERE = os.path.dirname(os.path.abspath(__file__))
OPENAPI_FILE = os.path.join(ROOT, "plugins", "http_api", "openapi.json")
OPENAPI = Description(OPENAPI_FILE)


class Http(Test):
    """Helpers for requests to the WebSocket port."""

    abstract = True

    def http(self, method, path, body=None, key=KEY, headers=None):
        """(status, headers, text)"""
        c = http.client.HTTPConnection("127.0.0.1", self.server.websocket, timeout=30)
        h = dict(headers or {})
        if key is not None:
            h["Authorization"] = "Bearer " + key
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body, ensure_ascii=False).encode()
        c.request(method, path, body=data, headers=h)
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        if path.startswith("/api/v1/"):
            OPENAPI.check(method, path[len("/api/v1"):], r.status, r.headers["Content-Type"], text)
        return r.status, r.headers, text

    def api(self, method, path, body=None, status=200, **options):
        got, _, text = self.http(method, "/api/v1/" + path, body, **options)
        self.assertEqual(got, status, text)
        return json.loads(text)

    def api_refused(self, code, status, method, path, body=None, **options):
        error = self.api(method, path, body, status=status, **options)["error"]
        self.assertEqual(error["code"], code)
        return error


def quote(name):
    return urllib.parse.quote(name, safe="")


class HttpApi(Http):
    config = {"plugins": {"load": {"http_api": {"keys": [KEY, "another-key-0123456789"]}}}, "limits": {"content": 1000}}

    def test_needs_a_key(self):
        for key in (None, "", KEY + "x", KEY[:-1], KEY.upper()):
            self.api_refused("unauthorized", 401, "GET", "users/x", key=key)
        _, headers, _ = self.http("GET", "/api/v1/users/x", key=None)
        self.assertEqual(headers["WWW-Authenticate"], "Bearer")
        self.api_refused("not_found", 404, "GET", "users/x", key="another-key-0123456789")
        self.assertNotIn(KEY, self.server.whole_log())

    def test_sends_to_a_user(self):
        ada = self.user("Ada")
        r = self.api("POST", "users/%s/messages" % ada.id, {"content": "from the system", "as": "system"}, status=201)
        push = ada.push(101)
        self.assertEqual((push["id"], push["content"], push["sender"], push["seq"]),
                         (r["id"], "from the system", {"id": "system", "name": "system"}, r["seq"]))
        self.assertEqual(ada.request(7)["messages"][0]["id"], r["id"])
        self.api_refused("not_found", 404, "POST", "users/nobody/messages", {"content": "x", "as": "system"})

    def test_sends_as_a_user_by_its_rules(self):
        ada, bob = self.users("Ada", "Bob")
        self.api("POST", "users/%s/messages" % bob.id, {"content": "hi", "sender": ada.id}, status=201)
        self.assertEqual(bob.push(101)["sender"], {"id": ada.id, "name": "Ada"})
        bob.request(15, id=ada.id, blocked=True)
        self.api_refused("forbidden", 403, "POST", "users/%s/messages" % bob.id, {"content": "hi", "sender": ada.id})
        name = self.channel(bob)
        self.api_refused("forbidden", 403, "POST", "channels/%s/messages" % quote(name),
                         {"content": "hi", "sender": ada.id})
        self.api_refused("not_found", 404, "POST", "users/%s/messages" % bob.id, {"content": "hi", "sender": "nobody"})
        self.api_refused("too_large", 413, "POST", "users/%s/messages" % bob.id,
                         {"content": "x" * 1001, "sender": bob.id})

    def test_is_idempotent(self):
        ada = self.user("Ada")
        body = {"content": "once", "clientId": "k1", "as": "system"}
        first = self.api("POST", "users/%s/messages" % ada.id, body, status=201)
        again = self.api("POST", "users/%s/messages" % ada.id, body, status=200)
        self.assertEqual((again["id"], again["seq"], again["duplicate"]), (first["id"], first["seq"], True))
        ada.push(101)
        ada.quiet()

    def test_channels(self):
        ada, bob = self.users("Ada", "Bob")
        name = "tea / Füße %41 " + ada.id[:6] + "x"
        path = "channels/" + quote(name)
        self.api_refused("not_found", 404, "GET", path)
        self.api_refused("not_found", 404, "PUT", path + "/members/" + ada.id, {})
        r = self.api("PUT", path + "/members/" + ada.id, {"create": True})
        self.assertEqual(r, {"members": 1, "existed": False})
        self.api("PUT", path + "/members/" + bob.id, {"push": "none"})
        self.assertEqual(self.api("GET", path), {"name": name, "members": 2, "first": 0, "last": 0, "tier": "small"})
        for i in range(3):
            self.api("POST", path + "/messages", {"content": "m%d" % i, "as": "system"}, status=201)
        self.assertEqual([ada.push(102)["content"] for _ in range(3)], ["m0", "m1", "m2"])
        for c in (ada, bob):
            self.assertEqual(c.push(112)["change"], "joined")
        bob.quiet()
        page = self.api("GET", path + "/messages?limit=2")
        self.assertEqual([m["content"] for m in page["messages"]], ["m1", "m2"])
        self.assertEqual((page["first"], page["last"], page["more"]), (1, 3, True))
        page = self.api("GET", path + "/messages?after=0&limit=1")
        self.assertEqual([(m["seq"], m["channel"], m["sender"]["id"]) for m in page["messages"]], [(1, name, "system")])
        members = self.api("GET", path + "/members?limit=1")
        more = self.api("GET", path + "/members?cursor=" + members["cursor"])
        self.assertEqual(sorted([members["members"][0]["id"], more["members"][0]["id"]]), sorted([ada.id, bob.id]))
        self.assertNotIn("cursor", more)
        self.assertEqual(self.api("DELETE", path + "/members/" + ada.id), {"members": 1, "existed": True})
        self.api("POST", path + "/messages", {"content": "after", "as": "system"}, status=201)
        self.assertEqual(ada.push(112)["change"], "left")
        ada.quiet()
        self.refused("forbidden", ada, 4, channel=name, content="x")

    def test_users(self):
        ada = self.user("Ada")
        name = self.channel(ada)
        u = self.api("GET", "users/" + ada.id)
        self.assertEqual(u, {"id": ada.id, "name": "Ada", "online": True, "connections": 1, "inbox": 0,
                             "channels": [name]})
        self.assertEqual(self.api("GET", "presence?ids=%s,nobody" % ada.id), {"online": [ada.id]})
        self.assertEqual(self.api("POST", "users/%s/kick" % ada.id, {"message": "go", "revoke": True}),
                         {"connections": 1})
        closing = ada.push(105)
        self.assertEqual((closing["reason"], closing["message"]), ("kicked", "go"))
        back = self.connect()
        self.refused("unauthorized", back, 1, token=ada.token)
        self.eventually(lambda: self.api("GET", "users/" + ada.id)["online"] is False)
        self.assertEqual(self.api("GET", "presence?ids=" + ada.id), {"online": []})
        self.api_refused("not_found", 404, "POST", "users/nobody/kick", {})

    def test_pairs(self):
        ada, bob = self.users("Ada", "Bob")
        ada.request(2, receiverId=bob.id, content="hello")
        for a, b in ((ada, bob), (bob, ada)):
            page = self.api("GET", "users/%s/messages/%s" % (a.id, b.id))
            self.assertEqual([m["content"] for m in page["messages"]], ["hello"])

    def test_announcements(self):
        ada, bob = self.users("Ada", "Bob")
        self.api("POST", "announcements", {"content": "tea is ready"}, status=202)
        for c in (ada, bob):
            self.assertEqual(c.push(106)["content"], "tea is ready")

    def test_bad_requests(self):
        ada = self.user("Ada")
        path = "users/%s/messages" % ada.id
        for body, field in (
            (b"{", "body"), (b"[]", "body"), (b'{"content":1}', "content"), (b"{}", "content"),
            (b'{"content":"a","content":"b"}', "body"),
            (b'{"content":"\xff"}', "body"), (b'{"content":"x","sender":5}', "sender"),
            (b'{"content":"x","as":"system","clientId":"%s"}' % (b"y" * 65), "clientId"),
        ):
            self.assertIn(field, self.api_refused("bad_request", 400, "POST", path, body)["message"])
        self.api_refused("bad_request", 400, "GET", "channels/%FF")
        self.api_refused("bad_request", 400, "GET", "channels/a%00b")
        self.api_refused("bad_request", 400, "GET", "channels/x/messages?limit=0")
        self.api_refused("bad_request", 400, "GET", "channels/x/messages?limit=many")
        self.api_refused("bad_request", 400, "GET", "presence?ids=")
        self.api_refused("not_found", 404, "GET", "nothing/here")
        self.api_refused("not_found", 404, "GET", "users/../users/" + ada.id)
        for method, path, allow in (("POST", "users/" + ada.id, "DELETE, GET"), ("PATCH", "announcements", "POST"),
                                    ("POST", "channels/x/members/y", "DELETE, PUT")):
            status, headers, _ = self.http(method, "/api/v1/" + path)
            self.assertEqual((status, headers["Allow"]), (405, allow))
        self.assertEqual(self.http("POST", "/api/v1/" + path, b"x" * 70000)[0], 413)
        ada.request(9)

    def test_what_is_not_there(self):
        """404 wherever a path names a user or a channel that there is not; 200 and nothing in it where there is one."""
        ada, bob = self.users("Ada", "Bob")
        name, body = self.channel(ada), {"content": "x", "as": "system"}
        for method, path, content in (("GET", "channels/none", None), ("GET", "channels/none/members", None),
                                      ("GET", "channels/none/messages", None),
                                      ("POST", "channels/none/messages", body),
                                      ("POST", "channels/none/messages", {"content": "x", "sender": ada.id}),
                                      ("PUT", "channels/none/members/" + ada.id, {}),
                                      ("PUT", "channels/none/members/nobody", {"create": True}),
                                      ("DELETE", "channels/none/members/" + ada.id, None),
                                      ("PUT", "channels/%s/members/nobody" % name, {}),
                                      ("DELETE", "channels/%s/members/nobody" % name, None),
                                      ("GET", "users/nobody", None), ("POST", "users/nobody/kick", None),
                                      ("POST", "users/nobody/messages", body),
                                      ("POST", "users/nobody/messages", {"content": "x", "sender": ada.id}),
                                      ("POST", "users/%s/messages" % ada.id, {"content": "x", "sender": "nobody"}),
                                      ("GET", "users/nobody/messages/" + ada.id, None),
                                      ("GET", "users/%s/messages/nobody" % ada.id, None),
                                      ("GET", "users/nobody/messages/nobody", None), ("GET", "users/system", None),
                                      ("GET", "users/system/messages/nobody", None),
                                      ("POST", "users/system/messages", body), ("GET", "channels/none/nothing", None),
                                      ("DELETE", "users/nobody", None), ("DELETE", "channels/none", None),
                                      ("DELETE", "channels/none/messages/1", None),
                                      ("DELETE", "channels/%s/messages/1" % name, None),
                                      ("DELETE", "users/nobody/messages/%s/1" % ada.id, None),
                                      ("PATCH", "channels/none/messages/1", {"content": "x", "sender": ada.id}),
                                      ("PATCH", "channels/%s/messages/1" % name, {"content": "x", "sender": ada.id}),
                                      ("PATCH", "channels/%s/messages/1" % name, {"content": "x", "sender": "nobody"}),
                                      ("PATCH", "users/%s/messages/nobody/1" % ada.id,
                                       {"content": "x", "sender": ada.id}),
                                      ("POST", "users/nobody/token", None), ("PUT", "users/nobody/ban", None),
                                      ("DELETE", "users/%s/ban" % ada.id, None), ("PUT", "users/nobody/mute", None),
                                      ("DELETE", "users/%s/mute" % ada.id, None),
                                      ("PUT", "channels/none/bans/" + ada.id, None),
                                      ("PUT", "channels/%s/bans/nobody" % name, None),
                                      ("DELETE", "channels/none/bans/" + ada.id, None),
                                      ("PUT", "channels/none/mutes/" + ada.id, None),
                                      ("DELETE", "channels/none/mutes/" + ada.id, None),
                                      ("DELETE", "addresses/192.0.2.7/ban", None), ("GET", "channels/none/rule", None),
                                      ("GET", "none", None)):
            with self.subTest(method + " " + path):
                self.api_refused("not_found", 404, method, path, content)
        self.api_refused("not_found", 404, "GET", "channels/none")  # PUT with a stranger has made none
        empty = {"messages": [], "first": 0, "last": 0, "more": False}
        for path in ("channels/%s/messages" % name, "users/%s/messages/%s" % (ada.id, bob.id),
                     "users/system/messages/" + ada.id, "users/%s/messages/system" % ada.id):
            self.assertEqual(self.api("GET", path), empty)
        self.assertEqual(self.api("DELETE", "channels/%s/members/%s" % (name, bob.id)),
                         {"members": 1, "existed": False})
        self.assertEqual(self.api("GET", "presence?ids=nobody"), {"online": []})

    def test_no_header_is_there_twice(self):
        for path, key, status in (("/api/v1/presence?ids=x", KEY, 200), ("/api/v1/none", KEY, 404),
                                  ("/api/v1/users/x", None, 401), ("/api/v1/presence", KEY, 400),
                                  ("/other", None, 426)):
            got, headers, _ = self.http("GET", path, key=key)
            self.assertEqual(got, status)
            names = [k.lower() for k in headers.keys()]
            self.assertEqual(sorted(names), sorted(set(names)))
            if status != 426:
                self.assertEqual(headers["X-Content-Type-Options"], "nosniff")

    def test_openapi_describes_what_is_there(self):
        paths = OPENAPI.document["paths"]
        with open(os.path.join(ROOT, "plugins", "http_api", "endpoints.c")) as f:
            rows = re.findall(r'\{"([A-Z]+)", "([^"]+)", \w+, (.+), (.+)\}', f.read())
        table = {row[:2] for row in rows}
        told = {(method.upper(), re.sub(r"\{\w+\}", "{}", path).lstrip("/")) for path, item in paths.items()
                for method in item
                if method in ("get", "put", "post", "patch", "delete")}
        self.assertEqual(told, table)
        self.assertGreater(len(table), 30)
        operations = [o for item in paths.values() for m, o in item.items() if m != "parameters"]
        ids = [o["operationId"] for o in operations]
        self.assertEqual(len(ids), len(set(ids)))

    def test_each_route_is_there_and_knows_what_is_described(self):
        """With an unknown field, or parameter, each answers that it is unknown: so it is there, and names those that
        the document has."""
        for path, item in OPENAPI.document["paths"].items():
            for method, operation in item.items():
                if method == "parameters":
                    continue
                where = re.sub(r"\{\w+\}", "1", path).lstrip("/")
                query = {OPENAPI.follow(p)["name"] for p in operation.get("parameters", [])}
                fields = set()
                if "requestBody" in operation:
                    schema = operation["requestBody"]["content"]["application/json"]["schema"]
                    fields = set(OPENAPI.follow(schema)["properties"])
                with self.subTest(method + " " + path):
                    for kind, known, ask in (("parameter", query, (where + "?zzzzzzzz=1", None)),
                                             ("field", fields, (where, {"zzzzzzzz": 1}))):
                        text = self.api_refused("bad_request", 400, method.upper(), *ask)["message"]
                        self.assertTrue(text.startswith("zzzzzzzz: unknown " + kind), text)
                        self.assertEqual(set(text.partition("known are: ")[2].split()), known, text)

    def test_unknown_fields_are_refused(self):
        ada, bob = self.users("Ada", "Bob")
        path = "users/%s/messages" % bob.id
        for body, text in (({"content": "x", "sendr": ada.id}, "sendr: unknown field; did you mean sender?"),
                           ({"content": "x", "Sender": ada.id}, "Sender: unknown field; did you mean sender?"),
                           ({"content": "x"}, 'sender: missing; a message from the server itself says "as":"system"'),
                           ({"content": "x", "sender": ada.id, "as": "system"}, "sender, as: expected one of them"),
                           ({"content": "x", "as": "ada"}, 'as: expected "system"'),
                           ({"content": "x", "sender": ""}, "sender: expected a user's id"),
                           ({"content": "x", "\u00fc" * 100: 1}, "\u00fc" * 32 + ": unknown field; known are: ")):
            self.assertTrue(self.api_refused("bad_request", 400, "POST", path, body)["message"].startswith(text), text)
        for path, text in (("users/x/messages/y?limt=3", "limt: unknown parameter; did you mean limit?"),
                           ("channels/x/members?cursor=&%FF=1", "?: unknown parameter"),
                           ("users/x?a", "a: unknown parameter; there are none here")):
            self.assertTrue(self.api_refused("bad_request", 400, "GET", path)["message"].startswith(text), text)
        bob.quiet(101)

    def test_one_connection_for_many_requests(self):
        """Kept alive, and with bodies of a length that is not known beforehand."""
        ada = self.user("Ada")
        c = http.client.HTTPConnection("127.0.0.1", self.server.websocket, timeout=30 * PATIENCE)
        c.connect()
        kept = c.sock
        h = {"Authorization": "Bearer " + KEY}
        for i in range(50):
            body = json.dumps({"content": "m%d" % i, "as": "system"}).encode()
            pieces = [body[:7], body[7:9], body[9:]]
            c.request("POST", "/api/v1/users/%s/messages" % ada.id, iter(pieces) if i % 2 else body, h,
                      encode_chunked=i % 2)
            r = c.getresponse()
            self.assertEqual((r.status, json.loads(r.read())["seq"]), (201, i + 1))
            c.request("GET", "/api/v1/users/nobody", headers=h)  # what is not there costs no connection either
            r = c.getresponse()
            r.read()
            self.assertEqual(r.status, 404)
            self.assertIs(c.sock, kept)
        self.assertEqual([p["content"] for p in ada.pushes(101, 50)], ["m%d" % i for i in range(50)])
        c.request("GET", "/api/v1/users/nobody", headers={"Authorization": "Bearer no"})
        r = c.getresponse()
        self.assertEqual((r.status, r.headers["Connection"]), (401, "close"))
        c.close()

    def test_requests_in_one_packet(self):
        """Answered in their order, whatever each costs; the body of one is never taken for the next."""
        ada = self.user("Ada")
        head = "Host: x\r\nAuthorization: Bearer %s\r\n" % KEY
        smuggled = '{"content":"GET /api/v1/bans HTTP/1.1","as":"system"}'
        text = "".join("POST /api/v1/users/%s/messages HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n"
                       "%x\r\n%s\r\n0\r\n\r\nGET /api/v1/users/%s HTTP/1.1\r\n%s\r\n"
                       % (ada.id, head, len(smuggled), smuggled, ada.id, head) for _ in range(20))
        text += "GET /api/v1/presence?ids=%s HTTP/1.1\r\n%sConnection: close\r\n\r\n" % (ada.id, head)
        with socket.create_connection(("127.0.0.1", self.server.websocket), 30 * PATIENCE) as s:
            s.sendall(text.encode())
            answers = s.makefile("rb").read().split(b"HTTP/1.1 ")[1:]
        self.assertEqual([a[:3] for a in answers], [b"201", b"200"] * 20 + [b"200"])
        self.assertIn(b'"online":["%s"]' % ada.id.encode(), answers[-1])
        self.assertEqual(len(ada.pushes(101, 20)), 20)

    def test_moderates(self):
        ada, bob = self.users("Ada", "Bob")
        name = self.channel(ada, bob)
        path = "channels/" + name
        ada.say(name, "rude")
        private = ada.tell(bob.id, "rude")
        self.assertEqual(self.api("PATCH", path + "/messages/1", {"sender": ada.id, "content": "polite"}).keys(),
                         {"editedAt"})
        self.assertEqual(bob.push(110)["content"], "polite")
        self.api_refused("forbidden", 403, "PATCH", path + "/messages/1", {"sender": bob.id, "content": "x"})
        self.api_refused("too_large", 413, "PATCH", path + "/messages/1", {"sender": ada.id, "content": "x" * 1001})
        pair = "users/%s/messages/%s/1" % (bob.id, ada.id)
        self.api_refused("bad_request", 400, "PATCH", pair, {"sender": "eve", "content": "x"})
        self.api("PATCH", pair, {"sender": ada.id, "content": "polite too"})
        self.assertEqual(bob.push(110)["content"], "polite too")
        self.assertEqual(self.api("DELETE", path + "/messages/1"), {})
        self.assertEqual(self.api("DELETE", pair), {})
        self.in_order([p.get("channel", p.get("peerId")) for p in bob.pushes(109, 2)], [name, ada.id])
        self.assertEqual(ada.history(peer=bob.id)["messages"][0]["id"], private["id"])
        for seq in ("0", "x", "-1", "9" * 19):
            self.api_refused("bad_request", 400, "DELETE", path + "/messages/" + seq)

        self.assertEqual(self.api("PUT", path + "/mutes/" + ada.id, {"seconds": 60}),
                         {"connections": 0, "member": False})
        e = self.api_refused("forbidden", 403, "POST", path + "/messages", {"content": "x", "sender": ada.id})
        self.assertTrue(e["message"].startswith("you are muted until 2"), e)
        self.assertTrue(50000 < e["retryAfter"] <= 60000, e)
        self.assertEqual(self.api("DELETE", path + "/mutes/" + ada.id), {})
        self.api("PUT", "users/%s/mute" % ada.id, {})
        self.api_refused("forbidden", 403, "POST", path + "/messages", {"content": "x", "sender": ada.id})
        self.api("DELETE", "users/%s/mute" % ada.id)
        self.assertEqual(self.api("PUT", path + "/bans/" + bob.id), {"connections": 0, "member": True})
        self.refused("forbidden", bob, 3, name=name)
        self.assertEqual(self.api("PUT", "users/%s/ban" % bob.id, {"reason": "rude", "seconds": 3600}),
                         {"connections": 1, "member": False})
        self.assertEqual(bob.push(105)["message"], "rude")
        self.api("PUT", "addresses/%s/ban" % quote("192.0.2.0/24"))
        self.api_refused("bad_request", 400, "PUT", "addresses/nonsense/ban")
        bans, cursor = [], "0"
        while cursor:
            page = self.api("GET", "bans?limit=1&cursor=" + cursor)
            bans += page["bans"]
            cursor = page.get("cursor")
        mine = {b["kind"]: b for b in bans if b.get("user", bob.id) == bob.id}
        self.assertEqual(mine["ban member"], {"kind": "ban member", "user": bob.id, "channel": name})
        self.assertEqual(mine["ban ip"], {"kind": "ban ip", "ip": "192.0.2.0/24"})
        self.assertLess(abs(mine["ban user"].pop("until") / 1000 - time.time() - 3600), 60)
        self.assertEqual(mine["ban user"], {"kind": "ban user", "user": bob.id, "reason": "rude"})
        for lifted in ("users/%s/ban" % bob.id, path + "/bans/" + bob.id, "addresses/192.0.2.0%2F24/ban"):
            self.assertEqual(self.api("DELETE", lifted), {})
        self.assertNotIn(bob.id, [b.get("user") for b in self.api("GET", "bans?limit=1000")["bans"]])
        for body in ({"seconds": -1}, {"seconds": 1.5}, {"seconds": "1"}, {"reason": "x" * 257}):
            self.api_refused("bad_request", 400, "PUT", "users/%s/ban" % ada.id, body)

    def test_rules(self):
        ada = self.user("Ada")
        name = self.channel(ada)
        path = "channels/%s/rule" % name
        nothing = {"tier": "auto", "push": "auto", "closed": False}
        self.assertEqual(self.api("GET", path), nothing)
        self.assertEqual(self.api("PATCH", path, {"tier": "large", "limit": 5}),
                         {"tier": "large", "push": "auto", "closed": False, "limit": 5})
        # The rule is in force; the tier follows when the store has it, and a look may overtake that.
        self.eventually(lambda: self.api("GET", "channels/" + name)["tier"] == "large")
        self.assertEqual(self.api("PATCH", path, {"push": "none", "closed": True, "limit": "auto"}),
                         {"tier": "large", "push": "none", "closed": True})
        bob = self.user("Bob")
        self.refused("forbidden", bob, 3, name=name)
        ada.say(name, "still in it")
        self.assertEqual(self.api("GET", path), {"tier": "large", "push": "none", "closed": True})
        self.assertEqual(self.api("PATCH", path, {"tier": "auto", "push": "auto", "closed": False}), nothing)
        bob.subscribe(name)
        for body in ({"tier": "dm"}, {"push": 1}, {"limit": "many"}, {"limit": -1}, {"closed": 1}):
            self.api_refused("bad_request", 400, "PATCH", path, body)
        self.api("PATCH", "channels/%s-2/rule" % name, {"closed": True})  # before there is such a channel
        self.refused("forbidden", bob, 3, name=name + "-2")
        self.assertTrue(self.api("GET", "channels/%s-2/rule" % name)["closed"])

    def pages(self, what, path):
        """The pages of a list, until there is no cursor."""
        page = self.api("GET", path)
        found = [page[what]]
        while "cursor" in page:
            page = self.api("GET", path + "&cursor=" + quote(page["cursor"]))
            found.append(page[what])
        return found

    def test_accounts(self):
        bob = self.user("Bob")
        self.assertEqual(self.api("POST", "users", {"id": "api.1", "name": "Anna"}, status=201),
                         {"id": "api.1", "name": "Anna"})
        self.assertEqual(self.api("POST", "users", {"id": "api.2"}, status=201), {"id": "api.2", "name": "api.2"})
        self.api_refused("forbidden", 409, "POST", "users", {"id": "api.1", "name": "Anna"})
        for body in ({}, {"id": "a b"}, {"id": "system"}, {"id": "x", "name": "System"}, {"id": "x" * 65}):
            self.api_refused("bad_request", 400, "POST", "users", body)
        name = self.channel(bob)
        self.api("PUT", "channels/%s/members/api.1" % name)
        bob.tell("api.1", "welcome")
        token = self.api("POST", "users/api.1/token", status=201)["token"]
        anna = self.connect()
        self.assertEqual(anna.request(1, token=token)["inbox"], 1)
        anna.say(name, "thanks")
        pages = self.pages("users", "users?prefix=api.&limit=1")
        self.assertLessEqual(max(map(len, pages)), 1)
        listed = sum(pages, [])
        if CLUSTER:  # whose lists have no order, and pages with nothing on them
            listed.sort(key=lambda u: u["id"])
        else:
            self.assertEqual(len(pages), 2)
        self.assertEqual(listed, [{"id": "api.1", "name": "Anna", "guest": False},
                                  {"id": "api.2", "name": "api.2", "guest": False}])
        self.assertEqual(sum(self.pages("channels", "channels?prefix=" + quote(name)), []),
                         [{"name": name, "members": 2, "last": 1, "tier": "small"}])
        self.api_refused("bad_request", 400, "DELETE", "users/api.1?messages=burn")
        self.assertEqual(self.api("DELETE", "users/api.1?messages=recall"),
                         {"connections": 1, "channels": 1, "recalled": 1})
        self.assertEqual(anna.push(105)["message"], "this user was deleted")
        self.assertTrue(bob.history(name)["messages"][0]["recalled"])
        self.refused("not_found", bob, 2, receiverId="api.1", content="x")
        self.assertEqual(self.api("DELETE", "channels/" + name), {"members": 1})
        self.api_refused("not_found", 404, "GET", "channels/" + name)
        self.assertEqual(sum(self.pages("channels", "channels?prefix=" + quote(name)), []), [])
        self.assertNotIn(token, self.server.whole_log())


class EmptySecrets(Test):
    """A secret that is empty (a variable that is not set, say) is refused, for it would protect nothing; so is one that
    nobody could send."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(start=False)

    def refused(self, line, settings):
        status, text = check(self.server, merged(self.server.settings(), settings))
        self.assertEqual(status, 1, text)
        self.assertIn("magpie.lua: " + line, text)

    def test_refused(self):
        for load, line in (({"metrics": {"bearer": ""}},
                            "plugins.load.metrics.bearer: expected a text that is not empty"),
                           ({"metrics": {"bearer": " x"}},
                            "plugins.load.metrics.bearer: expected no control characters, and no blanks at its ends"),
                           ({"metrics": {"bearer": "x\ty"}},
                            "plugins.load.metrics.bearer: expected no control characters"),
                           ({"http_api": {"keys": [""]}},
                            "plugins.load.http_api.keys[1]: expected a text that is not empty"),
                           ({"http_api": {"keys": [KEY, "short"]}},
                            "plugins.load.http_api.keys[2]: expected 16 bytes or more"),
                           ({"http_api": {"keys": [KEY + " "]}},
                            "plugins.load.http_api.keys[1]: expected no control characters"),
                           ({"http_api": {"keys": []}}, "plugins.load.http_api.keys: expected one key at least"),
                           ({"webhook": {"url": "http://x/", "secret": ""}},
                            "plugins.load.webhook.secret: expected a text that is not empty"),
                           ({"auth_jwt": {"algorithm": "HS256", "secret": ""}},
                            "plugins.load.auth_jwt.secret: expected a text that is not empty")):
            with self.subTest(line):
                self.refused(line, {"plugins": {"load": load}})
        self.refused("console.password: expected a text", {"console": {"password": ""}})
        self.refused("auth.secret: expected a text of at least 16 bytes", {"auth": {"secret": ""}})

    def test_a_reload_to_it_keeps_what_was(self):
        with Server({"plugins": {"load": {"metrics": {"bearer": KEY}}}, "listen": {"console": "127.0.0.1:0"}}) as s:
            console = Console(s)
            s.rewrite({"plugins": {"load": {"metrics": {"bearer": ""}}}})
            console.refused("config reload")
            self.assertEqual([status_of(s, key) for key in (None, "", KEY)], [401, 401, 200])
            for i in range(100):
                s.rewrite({"plugins": {"load": {"metrics": {"bearer": "bearer-%d" % i}}}})
                console("config reload")
                self.assertEqual([status_of(s, key) for key in ("bearer-%d" % (i - 1), KEY, "bearer-%d" % i)],
                                 [401, 401, 200])
            console.close()


def status_of(server, key):
    """Of a scrape with this bearer."""
    c = http.client.HTTPConnection("127.0.0.1", server.websocket, timeout=30)
    c.request("GET", "/metrics", headers={} if key is None else {"Authorization": "Bearer " + key})
    try:
        return c.getresponse().status
    finally:
        c.close()


VALIDATORS = (["openapi-spec-validator", OPENAPI_FILE], ["swagger-cli", "validate", OPENAPI_FILE])


class OpenApi(Http):
    """The document itself. Every answer in this file is compared with it besides."""

    def test_validators_accept_it(self):
        there = [v for v in VALIDATORS if shutil.which(v[0])]
        if not there:
            self.skipTest("neither openapi-spec-validator nor swagger-cli is here")
        for command in there:
            r = subprocess.run(command, capture_output=True, text=True, timeout=120 * PATIENCE)
            self.assertEqual(r.returncode, 0, r.stdout + r.stderr)

    config = {"plugins": {"load": {"http_api": {"keys": [KEY], "body": 2048}}}}

    @unittest.skipUnless(shutil.which("node"), "there is no node here")
    @unittest.skipUnless(os.path.isdir(os.path.join(HERE, "node_modules", "@seriousme")),
                         "npm's modules are not installed: ./dev test does that")
    def test_it_is_valid(self):
        def checked(path):
            r = subprocess.run(["node", os.path.join(HERE, "openapi_check.mjs"), path], capture_output=True, text=True,
                               timeout=60 * PATIENCE)
            return r.returncode, r.stdout + r.stderr

        self.assertEqual(checked(OPENAPI_FILE), (0, ""))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:  # the checker can tell
            wrong = json.loads(json.dumps(OPENAPI.document))
            wrong["components"]["schemas"]["Kick"]["required"] = []
            json.dump(wrong, f)
            f.flush()
            status, text = checked(f.name)
            self.assertEqual(status, 1)
            self.assertIn("/components/schemas/Kick/required", text)

    def test_a_body_that_is_too_large(self):
        status, headers, _ = self.http("POST", "/api/v1/announcements", {"content": "x" * 3000})
        self.assertEqual((status, headers.get_content_type()), (413, "text/plain"))


class KeyRotation(Http):
    """A key that was taken out opens nothing after the reload that says OK, however many reloads there were; and a new
    one opens at once."""

    config = {"plugins": {"load": {"http_api": {"keys": [KEY]}}}, "listen": {"console": "127.0.0.1:0"}, "threads": 3}

    def test_a_thousand_reloads(self):
        console, before = Console(self.server), KEY
        for i in range(1000):
            fresh = "rotated-%d-0123456789abcdef" % i
            self.server.rewrite({"plugins": {"load": {"http_api": {"keys": [fresh]}}}})
            console("config reload")
            if i % 20 == 0 or 60 < i < 70 or i > 990:
                for _ in range(3):  # connections go to the shards in turn
                    self.assertEqual((self.http("GET", "/api/v1/users/x", key=before)[0],
                                      self.http("GET", "/api/v1/users/x", key=fresh)[0]), (401, 404), i)
            before = fresh
        for _ in range(100):  # without a change, as log rotation does
            console("config reload")
        self.api_refused("not_found", 404, "GET", "users/x", key=before)
        self.assertNotIn("http_api.kept", self.server.whole_log())
        console.close()


class Metrics(Http):
    config = {"plugins": {"load": {"metrics": {"bearer": KEY}}}}

    @one_process("the figures of one node")
    def test_figures(self):
        ada = self.user("Ada")
        name = self.channel(ada)
        ada.say(name, "hello")
        ada.push(102)
        status, headers, text = self.http("GET", "/metrics")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        figures = scrape.parse(text)
        self.assertGreaterEqual(figures["magpie_connections"], 1)
        self.assertGreaterEqual(figures["magpie_messages_total"], 1)
        self.assertEqual(self.http("GET", "/metrics", key=None)[0], 401)
        self.assertEqual(self.http("GET", "/metrics", key="wrong")[0], 401)
        self.assertIn(self.http("POST", "/metrics", b"")[0], (404, 405))
