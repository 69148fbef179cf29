"""The plugin auth_jwt: logins by tokens that this test makes itself, with the standard library and the command
openssl."""

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
from plugin_base import Console
from server import MAGPIED, Server, lua, merged

SECRET = "a secret of the other server, long enough for HS512: 0123456789abcdef"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def as_json(value):
    """A value, or text that is taken as it is: what json.dumps() would never write."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def unsigned(claims, alg, **header):
    return b64(as_json(dict({"alg": alg, "typ": "JWT"}, **header))) + "." + b64(as_json(claims))


def sealed(head, secret=SECRET, digest="sha256"):
    """With the HMAC of what is signed."""
    return head + "." + b64(hmac.new(secret.encode() if isinstance(secret, str) else secret, head.encode(),
                                     digest).digest())


def hs(claims, secret=SECRET, alg="HS256", **header):
    return sealed(unsigned(claims, alg, **header), secret, "sha" + alg[2:])


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
    return head + "." + b64(raw_signature(signature, 66 if alg == "ES512" else int(alg[2:]) // 8) if alg[0] == "E"
                            else signature)


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
        self.assertEqual(other.request(1, token=hs(self.claims(sub="u.1:x", name="Ada Lovelace")))["name"],
                         "Ada Lovelace")
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
            "missing": None, "empty": "", "text": "hello", "dots": "..", "no mac": head + "." + body + ".",
            "cut": good[:-1], "case": good.swapcase(),
            "other secret": hs(self.claims(), SECRET + "x"), "other algorithm": hs(self.claims(), alg="HS512"),
            "none": none + ".", "none with mac": none + "." + mac, "None": unsigned(self.claims(), "None") + ".",
            "swapped body": head + "." + b64(json.dumps(self.claims(sub="root")).encode()) + "." + mac,
            "expired": hs(self.claims(exp=now - 60)), "not yet": hs(self.claims(nbf=now + 300)),
            "exp text": hs(self.claims(exp="tomorrow")),
            "issuer": hs(claims(iss="other", aud="chat")), "no issuer": hs(claims(aud="chat")),
            "audience": hs(claims(iss="login", aud="mail")),
            "sub number": hs(self.claims(sub=5)), "sub empty": hs(self.claims(sub="")),
            "sub long": hs(self.claims(sub="x" * 65)),
            "sub odd": hs(self.claims(sub="a b")), "system": hs(self.claims(sub="system")),
            "name long": hs(self.claims(name="x" * 65)),
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

    def test_kinds_of_tokens(self):
        """The header's typ (RFC 7515 4.1.9, RFC 9068): the two kinds that are for logging in, by every spelling; none
        besides."""
        for typ in ("JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt", None):
            with self.subTest(typ):
                self.connect().request(1, token=hs(self.claims(), typ=typ))
        for typ in ("JOSE", "dpop+jwt", "logout+jwt", "", "at+jwt ", 5, ["JWT"]):
            with self.subTest(typ):
                self.assertIn("typ", self.error_of(hs(self.claims(), typ=typ)))

    def test_headers(self):
        """What RFC 7515 says of extensions: critical ones are refused, others passed over; keys in a header open
        nothing."""
        for crit in (["exp"], ["b64"], [], ["x"], "exp", None):
            with self.subTest(crit=crit):
                self.assertIn("crit", self.error_of(hs(self.claims(), crit=crit, exp=1)))
        self.assertIn("b64", self.error_of(hs(self.claims(), b64=False)))
        oct_key = {"kty": "oct", "k": b64(b"x" * 32)}
        self.connect().request(1, token=hs(self.claims(), b64=True, kid="k" * 40, x=[{"y": 2 ** 70}],
                                           jku="http://127.0.0.1:1/", jwk=oct_key))
        self.refused("unauthorized", self.connect(), 1, token=hs(self.claims(), "x" * 32, jwk=oct_key))
        for alg in ("hs256", "HS256 ", "", None, 256, ["HS256"]):
            with self.subTest(alg=alg):
                self.refused("unauthorized", self.connect(), 1, token=sealed(unsigned(self.claims(), alg)))
        for head in ('{"alg":"HS256","alg":"HS256"}', '{"alg":"none","alg":"HS256"}',
                     '{"alg":"HS256","\\u0061lg":"HS256"}', '["HS256"]', "", "null",
                     '{"alg":"HS256"} x', '{"alg":"HS256",}', '{alg:"HS256"}', '\ufeff{"alg":"HS256"}'):
            with self.subTest(head):
                self.refused("unauthorized", self.connect(), 1,
                             token=sealed(b64(head.encode()) + "." + b64(as_json(self.claims()))))

    def test_one_spelling(self):
        """Base64url has one way to write a token (RFC 7515 2); another one must not pass who keeps a list of tokens."""
        head, body, mac = hs(self.claims(filler="\u00ff\u00fe>?" * 9)).split(".")
        last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        other = last[last.index(mac[-1]) + 1]
        standard = base64.b64encode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))).decode().rstrip("=")
        self.connect().request(1, token=".".join((head, body, mac)))
        for what, token in {
            "padding": ".".join((head, body, mac + "=")),
            "bits that are left over": ".".join((head, body, mac[:-1] + other)),
            "blank": ".".join((head, body, mac + " ")), "line end": ".".join((head, body, mac + "\n")),
            "zero": ".".join((head, body, mac + "\x01")),
            "four parts": ".".join((head, body, mac, "")), "five parts": ".".join((head, body, mac, mac, mac)),
            "two parts": head + "." + body,
            "the other alphabet": sealed(head + "." + standard) if standard != body else "",
            "one digit over": sealed(head + "." + body + "A" * (1 - len(body) % 4)),
            "padded and signed so": sealed(head + "." + body + "="),
        }.items():
            with self.subTest(what):
                self.refused("unauthorized", self.connect(), 1, token=token)

    def test_dates(self):
        """NumericDate (RFC 7519 2): any number, never a text."""
        now = time.time()
        for exp in (now + 60.5, int(now) + 60, 4e12, 1e300):
            with self.subTest(exp):
                self.connect().request(1, token=hs(self.claims(exp=exp)))
        later = "%.3fe3" % ((now + 300) / 1000)
        self.connect().request(1, token=hs('{"sub":"ada","iss":"login","aud":"chat","exp":%s}' % later))
        for exp, about in ((str(int(now) + 60), "numbers"), ([int(now) + 60], "numbers"), (True, "numbers"),
                           (0, "expired"), (-5, "expired"), (now - 60.5, "expired")):
            with self.subTest(exp):
                self.assertIn(about, self.error_of(hs(self.claims(exp=exp))))
        self.assertIn("numbers", self.error_of(hs('{"sub":"ada","iss":"login","aud":"chat","exp":1e400}')))
        self.assertIn("numbers", self.error_of(hs(self.claims(nbf="1"))))
        self.assertIn("without exp", self.error_of(hs(self.claims(exp=None))))

    def test_issuer_and_audience(self):
        for aud in (["chat"], ["x", 5, None, ["chat"], "ch\u0061t"], "chat"):
            with self.subTest(aud):
                self.connect().request(1, token=hs(dict(self.claims(), aud=aud)))
        for aud in ([], [["chat"]], {"chat": 1}, "CHAT", "chat ", ["chat "], 5, None):
            with self.subTest(aud):
                self.assertIn("audience", self.error_of(hs(dict(self.claims(), aud=aud))))
        for iss in ("LOGIN", ["login"], None, 5, "login\0"):
            with self.subTest(iss):
                self.assertIn("issuer", self.error_of(hs(dict(self.claims(), iss=iss))))

    def test_what_is_wrong_with_claims(self):
        """A token that the other server signed tells its makers what is wrong with it."""
        more = ',"iss":"login","aud":"chat","exp":%d' % (time.time() + 60)
        for body, about in (
            (self.claims(sub=5), "sub is a number"), (self.claims(sub=["ada"]), "neither a text nor"),
            (self.claims(sub={}), "neither a text nor"),
            (self.claims(sub=True), "neither a text nor"), (self.claims(sub=None), "nobody"),
            (self.claims(sub=""), "nobody"),
            (self.claims(sub="a\nb"), "id in it"), (self.claims(sub="ada\0"), "id in it"),
            (self.claims(sub="\u0661"), "id in it"),
            (self.claims(name="a\nb"), "control"), (self.claims(name="a\0b"), "control"),
            (self.claims(name="\x7f"), "control"),
            (self.claims(name="a\u0085b"), "control"), (self.claims(name="x" * 65), "64 bytes"),
            (self.claims(name=["Ada"]), "name in it"),
            ('{"sub":"ada","sub":"root"%s}' % more, "twice"), ('{"sub":"ada","s\\u0075b":"root"%s}' % more, "twice"),
            ("[]", "no object"), ("", "no object"),
            ('{"sub":"ada"%s} ' % more + "x", "behind"), ('{"sub":"\\ud83d"%s}' % more, "half a character"),
            ('{"sub":"ada"%s,"x":01}' % more, "comma"),
            ('{"sub":"ada"%s,"x":%s}' % (more, "[" * 40 + "]" * 40), "levels"),
            ('{"sub":"ada"%s,"x":nil}' % more, "no value"),
        ):
            with self.subTest(about=about, body=body):
                self.assertIn(about, self.error_of(hs(body)))
        self.assertIn("UTF-8", self.error_of(sealed(b64(b'{"alg":"HS256"}') + "." + b64(b'{"sub":"\xff"}'))))
        self.assertIn("8192", self.error_of(hs(self.claims(filler="x" * 20000))))
        # What is nobody's concern here costs no token: numbers of 64 bits and more, names of any kind.
        self.connect().request(1, token=hs('{"sub":"ada"%s,"big":12345678901234567890,"tiny":-1e-999,'
                                                '"name":"\\ud83d\\ude00","\\u0000":null}' % more))

    def error_of(self, token):
        e = self.connect().error(1, token=token)
        self.assertEqual(e.code, "unauthorized")
        return e.message

    def test_leeway(self):
        self.connect().request(1, token=hs(self.claims(exp=int(time.time()) - 5, nbf=int(time.time()) + 5)))

    def test_tokens_are_not_logged(self):
        token = hs(self.claims())
        self.connect().request(1, token=token)
        self.connect().error(1, token=token[:-2])
        log = self.server.whole_log()
        self.assertNotIn(token.split(".")[2], log)
        self.assertNotIn(SECRET, log)


class OwnClaims(Test):
    """The id from a claim of the other server's: often a number, of 64 bits too."""
    config = config(algorithm="HS256", secret=SECRET, id_claim="user_id", name_claim="nick")

    def test_numbers(self):
        for body, expected in (({"user_id": 5, "nick": 7}, ("5", "7")),
                               ({"user_id": 2 ** 63 + 1, "nick": "Ada"}, (str(2 ** 63 + 1), "Ada")),
                               ({"user_id": "u5", "sub": 9}, ("u5", "u5"))):
            r = self.connect().request(1, token=hs(dict(body, exp=int(time.time()) + 60)))
            self.assertEqual((r["id"], r["name"]), expected)
        for number in ("-5", "5.0", "5e3", "1" * 65):
            with self.subTest(number):
                self.refused("unauthorized", self.connect(), 1,
                             token=hs('{"user_id":%s,"exp":%d}' % (number, time.time() + 60)))


class SecretFiles(Test):
    """What editors put around a secret does not belong to it; a secret that is no text is taken as it is."""

    def test_line_ends(self):
        binary = bytes(range(256))
        for content, secret in (
            (SECRET.encode(), SECRET), (SECRET.encode() + b"\n", SECRET), (SECRET.encode() + b"\r\n", SECRET),
            (SECRET.encode() + b"\r", SECRET),
            (b"\xef\xbb\xbf" + SECRET.encode() + b"\r\n", SECRET), (SECRET.encode() + b"\n\n", SECRET + "\n"),
            (("\u00e9" + SECRET + "\n").encode(), "\u00e9" + SECRET),
            (binary + b"\n", binary + b"\n"), (binary + b"\r\n", binary + b"\r\n"),
            (b"\xef\xbb\xbf" + binary, b"\xef\xbb\xbf" + binary),
        ):
            with self.subTest(content):
                path = os.path.join(self.server.folder, "secret")
                with open(path, "wb") as f:
                    f.write(content)
                with Server(config(algorithm="HS256", key_files=[path])) as s:
                    self.connect(server=s).request(1, token=hs(claims(), secret))


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
        cls.make("p521", "EC", "ec_paramgen_curve:P-521")
        cls.make("koblitz", "EC", "ec_paramgen_curve:secp256k1")
        cls.make("ed", "ED25519")
        cls.config = config(algorithm="RS256", key_files=[cls.public("rsa")])
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.folder)

    @classmethod
    def make(cls, name, algorithm, *options):
        openssl("genpkey", "-algorithm", algorithm, *(x for o in options for x in ("-pkeyopt", o)), "-out",
                cls.private(name))
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
        for bad in (signed(claims(), self.private("rsa2"), "RS256"), signed(claims(), self.private("rsa"), "RS512"),
                    good[:-4] + "AAAA"):
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

    def test_keys_change_while_tokens_are_checked(self):
        """Each token is judged by the keys of before or of after; once the reload has said OK, by those of after
        alone."""
        old, new = (config(algorithm="RS256", key_files=[self.public(k)]) for k in ("rsa", "rsa2"))
        token = signed(claims(), self.private("rsa"), "RS256")
        with Server(merged(old, {"listen": {"console": "127.0.0.1:0"}})) as s:
            console = Console(s)
            for turn in range(10):
                cs = [self.connect(server=s) for _ in range(20)]
                seqs = [c.send(1, token=token) for c in cs]
                s.rewrite(old if turn % 2 else new)
                console("config reload")
                self.assertEqual(self.lets_in(s, token), turn % 2 == 1)
                for c, seq in zip(cs, seqs):
                    answer = c.answer(1, seq)
                    self.assertIn(answer.get("error", {}).get("code"), (None, "unauthorized"))
                    c.close()
            console.close()

    def test_elliptic_curves(self):
        for alg, key in (("ES256", "p256"), ("ES384", "p384"), ("ES512", "p521")):
            with Server(config(algorithm=alg, key_files=[self.public(key)])) as s:
                good = signed(claims(), self.private(key), alg)
                self.connect(server=s).request(1, token=good)
                self.refused("unauthorized", self.connect(server=s), 1,
                             token=signed(claims(), self.private("rsa"), "RS256"))
                head, body, signature = good.split(".")
                raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
                half = len(raw) // 2
                for bad in (bytes(2 * half), b"", raw[:-1], raw + b"\0", b"\0" + raw, raw[half:] + raw[:half],
                            b"\xff" * 2 * half,
                            openssl("dgst", "-sha" + alg[2:], "-sign", self.private(key),
                                    data=(head + "." + body).encode())):
                    self.refused("unauthorized", self.connect(server=s), 1, token=".".join((head, body, b64(bad))))

    def test_edwards_curves(self):
        with Server(config(algorithm="EdDSA", key_files=[self.public("ed")])) as s:
            head, body = unsigned(claims(), "EdDSA").split(".")
            path = os.path.join(self.folder, "signing")
            with open(path, "w") as f:
                f.write(head + "." + body)
            signature = openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.private("ed"), "-in", path)
            self.connect(server=s).request(1, token=".".join((head, body, b64(signature))))
            self.refused("unauthorized", self.connect(server=s), 1, token=".".join((head, body, b64(signature[::-1]))))

    def test_files_from_elsewhere(self):
        """With a byte order mark and CRLF, or without a last line end."""
        with open(self.public("rsa"), "rb") as f:
            key = f.read()
        path = os.path.join(self.folder, "elsewhere.pem")
        for content in (b"\xef\xbb\xbf" + key.replace(b"\n", b"\r\n"), key.rstrip(), b"# comment\n" + key):
            with open(path, "wb") as f:
                f.write(content)
            with Server(config(algorithm="RS256", key_files=[path])) as s:
                self.assertTrue(self.lets_in(s, signed(claims(), self.private("rsa"), "RS256")))

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

    def pipe(self):
        path = os.path.join(self.folder, "pipe")
        if not os.path.exists(path):
            os.mkfifo(path)
        return path

    def both(self):
        path = os.path.join(self.folder, "both.pem")
        with open(path, "w") as out:
            for name in ("rsa", "rsa2"):
                with open(self.public(name)) as f:
                    out.write(f.read())
        return path

    def test_bad_options(self):
        for options, complaint in (
            ({}, "algorithm"), ({"algorithm": "none", "secret": SECRET}, "algorithm"),
            ({"algorithm": "HS256"}, "key_files"),
            ({"algorithm": "HS256", "secret": "short"}, "secret: 5 bytes"),
            ({"algorithm": "RS256", "secret": SECRET}, "secret"),
            ({"algorithm": "RS256", "key_files": ["/no/such"]}, "/no/such"),
            ({"algorithm": "RS256", "key_files": [self.private("rsa")]}, "public key"),
            ({"algorithm": "RS256", "key_files": [self.public("small")]}, "1024"),
            ({"algorithm": "ES256", "key_files": [self.public("p384")]}, "384"),
            ({"algorithm": "RS256", "key_files": [self.public("p256")]}, "RSA"),
            ({"algorithm": "EdDSA", "key_files": [self.public("rsa")]}, "Ed25519"),
            ({"algorithm": "ES256", "key_files": [self.public("koblitz")]}, "another curve"),
            ({"algorithm": "RS256", "key_files": [self.folder]}, "no plain file"),
            ({"algorithm": "HS256", "key_files": [self.pipe()]}, "no plain file"),
            ({"algorithm": "HS256", "key_files": [self.public("rsa")]}, "everybody"),
            ({"algorithm": "RS256", "key_files": [self.both()]}, "more than one key"),
            ({"algorithm": "HS256", "key_files": ["/dev/null"]}, "no plain file"),
            ({"algorithm": "HS256", "secret": SECRET, "leewy": 3}, "leeway"),
        ):
            with self.subTest(complaint):
                s = Server(config(**options), start=False)
                s.write_config()
                r = subprocess.run([MAGPIED, "-t", "-c", s.config_path], capture_output=True, text=True, cwd=s.folder)
                self.assertEqual(r.returncode, 1, lua(options))
                self.assertIn(complaint, r.stderr)
                s.discard()
