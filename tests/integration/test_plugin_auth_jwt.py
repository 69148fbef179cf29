"""The plugin auth_jwt: logins by tokens that this test makes itself, with the standard library and the command openssl."""

import base64
import hmac
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from base import Test
from server import MAGPIED, Server, lua

SECRET = "a secret of the other server, long enough for HS512: 0123456789abcdef"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(claims, alg, **header):
    return b64(json.dumps(dict({"alg": alg, "typ": "JWT"}, **header)).encode()) + "." + b64(json.dumps(claims).encode())


def hs(claims, secret=SECRET, alg="HS256"):
    head = unsigned(claims, alg)
    return head + "." + b64(hmac.new(secret.encode() if isinstance(secret, str) else secret, head.encode(), "sha" + alg[2:]).digest())


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


def raw_signature(der, size):
    """ECDSA's two numbers out of their DER."""
    at, out = 3 if der[1] < 128 else 4, b""
    for _ in range(2):
        n = der[at]
        out += der[at + 1:at + 1 + n].lstrip(b"\0").rjust(size, b"\0")
        at += n + 2
    return out


def signed(claims, key, alg):
    """RS… or ES… with a private key's file."""
    head = unsigned(claims, alg)
    signature = openssl("dgst", "-sha" + alg[2:], "-sign", key, data=head.encode())
    return head + "." + b64(raw_signature(signature, 66 if alg == "ES512" else int(alg[2:]) // 8) if alg[0] == "E" else signature)


def claims(**more):
    return dict({"sub": "ada", "name": "Ada", "exp": int(time.time()) + 300}, **more)


def config(**options):
    return {"auth": {"mode": "jwt"}, "plugins": {"load": {"auth_jwt": options}}}


class Hmac(Test):
    config = config(algorithm="HS256", secret=SECRET, issuer="login", audience="chat")

    def claims(self, **more):
        return claims(iss="login", aud="chat", **more)

    def test_lets_in(self):
        token = hs(self.claims(sub="u.1:x"))
        c = self.connect()
        r = c.request(1, token=token)
        self.assertEqual((r["id"], r["name"], r["token"]), ("u.1:x", "Ada", token))
        other = self.connect()
        self.assertEqual(other.request(1, token=hs(self.claims(sub="u.1:x", name="Ada Lovelace")))["name"], "Ada Lovelace")
        # The same user: a message from elsewhere reaches both.
        bob = self.connect()
        bob.request(1, token=hs(self.claims(sub="bob", name="Bob")))
        bob.request(2, receiverId="u.1:x", content="hello")
        for x in (c, other):
            self.assertEqual(x.push(101)["content"], "hello")

    def test_without_a_name(self):
        body = self.claims(sub="nameless")
        del body["name"]
        self.assertEqual(self.connect().request(1, token=hs(body))["name"], "nameless")
        self.assertEqual(self.connect().request(1, token=hs(body), name="Chosen")["name"], "Chosen")

    def test_audience_may_be_a_list(self):
        self.connect().request(1, token=hs(dict(self.claims(), aud=["mail", "chat"])))
        self.refused("unauthorized", self.connect(), 1, token=hs(dict(self.claims(), aud=["mail"])))

    def test_keeps_out(self):
        now = int(time.time())
        good = hs(self.claims())
        head, body, mac = good.split(".")
        none = unsigned(self.claims(), "none")
        bad = {
            "missing": None, "empty": "", "text": "hello", "dots": "..", "no mac": head + "." + body + ".", "cut": good[:-1], "case": good.swapcase(),
            "other secret": hs(self.claims(), SECRET + "x"), "other algorithm": hs(self.claims(), alg="HS512"),
            "none": none + ".", "none with mac": none + "." + mac, "None": unsigned(self.claims(), "None") + ".",
            "swapped body": head + "." + b64(json.dumps(self.claims(sub="root")).encode()) + "." + mac,
            "expired": hs(self.claims(exp=now - 60)), "not yet": hs(self.claims(nbf=now + 300)), "exp text": hs(self.claims(exp="tomorrow")),
            "issuer": hs(claims(iss="other", aud="chat")), "no issuer": hs(claims(aud="chat")), "audience": hs(claims(iss="login", aud="mail")),
            "sub number": hs(self.claims(sub=5)), "sub empty": hs(self.claims(sub="")), "sub long": hs(self.claims(sub="x" * 65)),
            "sub odd": hs(self.claims(sub="a b")), "system": hs(self.claims(sub="system")), "name long": hs(self.claims(name="x" * 65)),
            "huge": hs(self.claims(filler="x" * 20000)),
        }
        without = self.claims()
        del without["exp"]
        bad["no exp"] = hs(without)
        for what, token in bad.items():
            with self.subTest(what):
                c = self.connect()
                body = {} if token is None else {"token": token}
                self.assertEqual(c.error(1, **body).code, "unauthorized")
                # The connection is still good for a right one.
                c.request(1, token=good)
        self.assertEqual(self.connect().error(1, token=hs(self.claims(name="a\nb"))).code, "internal")

    def test_leeway(self):
        self.connect().request(1, token=hs(self.claims(exp=int(time.time()) - 5, nbf=int(time.time()) + 5)))

    def test_tokens_are_not_logged(self):
        token = hs(self.claims())
        self.connect().request(1, token=token)
        self.connect().error(1, token=token[:-2])
        log = self.server.whole_log()
        self.assertNotIn(token.split(".")[2], log)
        self.assertNotIn(SECRET, log)


@unittest.skipUnless(shutil.which("openssl"), "no openssl")
class Keys(Test):
    """Public keys, their change, and what is refused before a token comes."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="magpie-jwt-")
        cls.make("rsa", "RSA", "rsa_keygen_bits:2048")
        cls.make("rsa2", "RSA", "rsa_keygen_bits:2048")
        cls.make("small", "RSA", "rsa_keygen_bits:1024")
        cls.make("p256", "EC", "ec_paramgen_curve:P-256")
        cls.make("p384", "EC", "ec_paramgen_curve:P-384")
        cls.config = config(algorithm="RS256", key_files=[cls.public("rsa")])
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.folder)

    @classmethod
    def make(cls, name, algorithm, option):
        openssl("genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", cls.private(name))
        openssl("pkey", "-in", cls.private(name), "-pubout", "-out", cls.public(name))

    @classmethod
    def private(cls, name):
        return os.path.join(cls.folder, name + ".key")

    @classmethod
    def public(cls, name):
        return os.path.join(cls.folder, name + ".pem")

    def test_rsa(self):
        good = signed(claims(), self.private("rsa"), "RS256")
        self.assertEqual(self.connect().request(1, token=good)["id"], "ada")
        for bad in (signed(claims(), self.private("rsa2"), "RS256"), signed(claims(), self.private("rsa"), "RS512"), good[:-4] + "AAAA"):
            self.refused("unauthorized", self.connect(), 1, token=bad)

    def test_the_public_key_is_no_secret(self):
        with open(self.public("rsa"), "rb") as f:
            key = f.read()
        for k in (key, key.rstrip(b"\n"), key + b"\0"):
            self.refused("unauthorized", self.connect(), 1, token=hs(claims(sub="root"), k))

    def test_many_at_once(self):
        tokens = [signed(claims(sub="u%d" % i), self.private("rsa"), "RS256") for i in range(20)]
        cs = [self.connect() for _ in tokens]
        seqs = [c.send(1, token=t) for c, t in zip(cs, tokens)]
        for i, (c, s) in enumerate(zip(cs, seqs)):
            self.assertEqual(c.answer(1, s)["id"], "u%d" % i)
        # A client that does not wait for its answer is no trouble.
        for t in tokens:
            c = self.connect()
            c.send(1, token=t)
            c.close()

    def test_elliptic_curves(self):
        for alg, key in (("ES256", "p256"), ("ES384", "p384")):
            with Server(config(algorithm=alg, key_files=[self.public(key)])) as s:
                self.connect(server=s).request(1, token=signed(claims(), self.private(key), alg))
                self.refused("unauthorized", self.connect(server=s), 1, token=signed(claims(), self.private("rsa"), "RS256"))

    def test_key_changes(self):
        path = os.path.join(self.folder, "current.pem")
        shutil.copy(self.public("rsa"), path)
        with Server(config(algorithm="RS256", key_files=[path])) as s:
            new = signed(claims(), self.private("rsa2"), "RS256")
            self.refused("unauthorized", self.connect(server=s), 1, token=new)
            # By a reload, with both keys.
            s.rewrite(config(algorithm="RS256", key_files=[path, self.public("rsa2")]))
            s.reload()
            self.eventually(lambda: self.lets_in(s, new))
            self.assertTrue(self.lets_in(s, signed(claims(), self.private("rsa"), "RS256")))
            # By itself, when the file is replaced; a broken file leaves what was there.
            s.rewrite(config(algorithm="RS256", key_files=[path]))
            s.reload()
            self.eventually(lambda: not self.lets_in(s, new))
            with open(path, "w") as f:
                f.write("nonsense")
            s.wait_log("auth_jwt.kept", timeout=20)
            self.assertTrue(self.lets_in(s, signed(claims(), self.private("rsa"), "RS256")))
            shutil.copy(self.public("rsa2"), path)
            self.eventually(lambda: self.lets_in(s, new), timeout=20)

    def lets_in(self, server, token):
        c = self.connect(server=server)
        try:
            c.request(1, token=token)
            return True
        except AssertionError:
            return False

    def test_bad_options(self):
        for options, complaint in (
            ({}, "algorithm"), ({"algorithm": "none", "secret": SECRET}, "algorithm"), ({"algorithm": "HS256"}, "key_files"),
            ({"algorithm": "HS256", "secret": "short"}, "secret: 5 bytes"), ({"algorithm": "RS256", "secret": SECRET}, "secret"),
            ({"algorithm": "RS256", "key_files": ["/no/such"]}, "/no/such"), ({"algorithm": "RS256", "key_files": [self.private("rsa")]}, "public key"),
            ({"algorithm": "RS256", "key_files": [self.public("small")]}, "1024"), ({"algorithm": "ES256", "key_files": [self.public("p384")]}, "384"),
            ({"algorithm": "RS256", "key_files": [self.public("p256")]}, "RSA"), ({"algorithm": "EdDSA", "key_files": [self.public("rsa")]}, "EdDSA"),
            ({"algorithm": "HS256", "secret": SECRET, "leewy": 3}, "leeway"),
        ):
            with self.subTest(complaint):
                s = Server(config(**options), start=False)
                s.write_config()
                r = subprocess.run([MAGPIED, "-t", "-c", s.config_path], capture_output=True, text=True, cwd=s.folder)
                self.assertEqual(r.returncode, 1, lua(options))
                self.assertIn(complaint, r.stderr)
                s.discard()
