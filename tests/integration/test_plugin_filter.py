"""The plugin filter: what it masks and rejects, and reloads."""

from base import Test


class Filter(Test):
    config = {"plugins": {"load": {"filter": {"words": ["darn", "хрен", "坏话"], "mask": "*"}}}}

    def test_masks(self):
        ada, bob = self.users("Ada", "Bob")
        name = self.channel(ada, bob)
        for text, shown in (("a darn thing", "a **** thing"), ("DARN!", "****!"), ("darned", "darned"),
                            ("Хрен", "****"), ("da\u200brn", "*****")):
            ada.say(name, text)
            got = bob.push(102)["content"]
            self.assertEqual(got, shown)
        ada.request(2, receiverId=bob.id, content="darn")
        self.assertEqual(bob.push(101)["content"], "****")
        self.assertEqual(bob.request(5, channel=name)["messages"][0]["content"], "a **** thing")


class FilterList(Test):
    config = {"plugins": {"load": {"filter": {"words": ["darn"], "mode": "reject", "whole_words": False,
                                              "private": False}}}}

    def test_rejects_and_reloads(self):
        ada, bob = self.users("Ada", "Bob")
        name = self.channel(ada, bob)
        self.refused("forbidden", ada, 4, channel=name, content="darned")
        ada.request(2, receiverId=bob.id, content="darn")
        self.assertEqual(bob.push(101)["content"], "darn")
        self.server.rewrite({"plugins": {"load": {"filter": {"words": ["heck"]}}}})
        self.server.reload()
        self.eventually(lambda: self.tried(ada, name, "heck") == "forbidden")
        self.assertIsNone(self.tried(ada, name, "darned"))
        # A list that cannot be read leaves the one before in force.
        self.server.rewrite({"plugins": {"load": {"filter": {"file": "/no/such/file"}}}})
        self.server.reload()
        self.eventually(lambda: "/no/such/file" in self.server.log())
        self.assertEqual(self.tried(ada, name, "heck"), "forbidden")

    def tried(self, client, channel, content):
        try:
            client.say(channel, content)
        except AssertionError as e:
            return getattr(e, "code", None)
        return None
