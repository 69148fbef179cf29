"""The plugin filter, from outside: what hides no word, what stays of a masked message, and lists that change."""

import os

from base import one_process
from plugin_base import SHIPPED_PLUGINS, PluginTest, check
from server import Server

WORDS = ["bad", "λόγος", "µm", "straße", "café", "хрен"]

# Characters that are shown as nothing: controls, format characters, and what Unicode calls
# Default_Ignorable_Code_Point.
INVISIBLE = [0x01, 0x08, 0x0b, 0x1b, 0x7f, 0x80, 0x85, 0x9f, 0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x17b4, 0x180b, 0x180e,
             0x200b, 0x200c, 0x200d, 0x200e, 0x202a,
             0x202e, 0x2060, 0x2064, 0x2065, 0x2066, 0x2067, 0x2068, 0x2069, 0x206a, 0x206f, 0x3164, 0xfe00, 0xfe0f,
             0xfeff, 0xffa0, 0xfff0, 0xfff9, 0x1bca0,
             0x1d173, 0xe0001, 0xe0020, 0xe007f, 0xe0100, 0xe0fff]


class FilterTest(PluginTest):
    path = SHIPPED_PLUGINS

    def setUp(self):
        super().setUp()
        self.ada, self.bob = self.users("Ada", "Bob")
        self.name = self.channel(self.ada, self.bob)

    def shown(self, text):
        """What becomes of a message."""
        self.ada.say(self.name, text)
        return self.bob.push(102)["content"]


class Masks(FilterTest):
    load = {"filter": {"words": WORDS}}

    def test_invisible_characters(self):
        for c in map(chr, INVISIBLE):
            with self.subTest("U+%04X" % ord(c)):
                self.assertEqual(self.shown("a b%sa%sd day" % (c, c)), "a ***** day")

    def test_what_is_seen(self):
        for text in ("b-a-d", "b.ad", "b ad", "ba\nd", "b\td", "badly", "abad", "bád", "ba\u0301d", "b_ad"):
            self.assertEqual(self.shown(text), text)
        self.assertEqual(self.shown("so\tbad\nand_bad"), "so\t***\nand_***")

    def test_folding(self):
        for text in ("ΛΌΓΟΣ", "λόγοσ", "λο\u0301γος", "μm", "ΜM", "STRASSE", "ſtraße", "ＢＡＤ", "𝐛𝐚𝐝", "ⓑⓐⓓ",
                     "CAFE\u0301", "ХРЕН", "Хрен"):
            with self.subTest(text):
                self.assertEqual(self.shown("<%s>" % text), "<%s>" % ("*" * len(text)))

    def test_marks(self):
        for text in ("b\u0336a\u0336d\u0336", "b\u20e3ad", "b\u0301a\u0316d", "b\u064bad"):
            self.assertEqual(self.shown("<%s>" % text), "<%s>" % ("*" * len(text)))

    def test_commands(self):
        r = self.console('filter test "B\u2066AD \u00e9t\u00e9"')
        self.assertEqual(r, {"found": 1, "verdict": "mask", "masked": "**** \u00e9t\u00e9"})
        self.assertEqual(self.console('filter test good')["verdict"], "pass")


class LongMasks(FilterTest):
    load = {"filter": {"words": ["bad"], "mask": "\U0001f92c"}}
    config = {"limits": {"content": 100}}

    def test_a_mask_that_does_not_fit(self):
        self.assertEqual(self.shown("bad"), "\U0001f92c" * 3)
        self.assertEqual(self.shown("bad " * 6), ("\U0001f92c" * 3 + " ") * 6)
        # What would be too long for a message is refused, and never passes unmasked.
        self.refused("forbidden", self.ada, 4, channel=self.name, content="bad " * 24)


@one_process("a file in one node's folder")
class Lists(FilterTest):
    load = {"filter": {"words": ["darn"], "file": "words.txt"}}

    @classmethod
    def setUpClass(cls):
        cls.server = Server({"listen": {"console": "127.0.0.1:0"}, "plugins": {"path": cls.path, "load": cls.load}},
                            start=False)
        cls.write(b"heck\n")
        cls.server.start()

    @classmethod
    def write(cls, content):
        with open(os.path.join(cls.server.folder, "words.txt"), "wb") as f:
            f.write(content)

    def test_files(self):
        """A list as editors save it, read anew by a command and by a reload; one that is wrong leaves the one before in
        force."""
        self.write("\ufeff# comment\r\nheck\r\n\r\n  two words \r\n".encode())
        self.assertEqual(self.console("filter reload")["words"], 3)
        self.assertEqual(self.shown("heck darn two\u00a0words # comment"), "**** **** ********* # comment")
        for content, about in ((b"good\n\xff\n", "words.txt:2: not valid UTF-8"),
                               ("heck\n".encode("utf-16"), "words.txt:1"), (b"a\n\nb\0c\n", "words.txt:3: a zero byte"),
                               (b"x" * 65, "words.txt:1: longer than 64")):
            self.write(content)
            self.assertIn(about, self.console.refused("filter reload"))
            self.assertIn(about, self.console.refused("config reload"))
            self.assertEqual(self.shown("heck darn"), "**** ****")
        self.write(b"gosh")
        self.console("config reload")
        self.assertEqual(self.shown("heck darn gosh"), "heck **** ****")
        self.write(b"x" * 64 + b"\n\n# none\n")
        self.assertEqual(self.console("filter reload")["words"], 2)
        self.assertEqual(self.shown("gosh " + "x" * 64), "gosh " + "*" * 64)

    def test_a_reload_is_exact(self):
        """A word holds, or holds no more, from the reload's answer on, however often it comes."""
        for i in range(100):
            self.write(b"even" if i % 2 == 0 else b"odd")
            self.console("filter reload" if i % 3 else "config reload")
            self.assertEqual(self.shown("even odd"), "**** odd" if i % 2 == 0 else "even ***")


class Options(FilterTest):
    load = {"filter": {"words": ["bad"]}}

    def test_bad_ones(self):
        s = Server({"plugins": {"path": SHIPPED_PLUGINS, "load": {"filter": {}}}}, start=False)
        os.mkfifo(os.path.join(s.folder, "pipe"))
        for options, about in (({"mask": ""}, "mask"), ({"mask": "**"}, "mask"), ({"mask": "\u200b"}, "mask"),
                               ({"mask": "\u0007"}, "mask"), ({"mask": "e\u0301"}, "mask"),
                               ({"file": "pipe"}, "pipe: is no plain file"), ({"file": "."}, "no plain file"),
                               ({"file": "none"}, "No such file"),
                               ({"words": ["x" * 65]}, "words[1]"), ({"message": "é" * 48}, "95 bytes")):
            with self.subTest(options):
                status, text = check(s, dict(s.config, plugins={"path": SHIPPED_PLUGINS, "load": {"filter": options}}))
                self.assertEqual(status, 1)
                self.assertIn(about, text)
        s.discard()
