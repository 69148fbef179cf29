"""What scripts keep in magpie.store, when their node is stopped while much of it is still on its way."""

from test_console import Console
from three_nodes import ThreeNodes

MANY = 2000  # far more than are on their way at once
SCRIPT = """
local magpie = require "magpie"
magpie.command("fill", "so many keys change", function(words)
    for i = 1, %d do assert(magpie.store.set(words[1] .. i, i)) end
    return "done"
end)
magpie.command("count", "how many of them are there", function(words)
    local n = 0
    for i = 1, %d do if magpie.store.get(words[1] .. i) == i then n = n + 1 end end
    return {n = n}
end)
""" % (MANY, MANY)


class StoreEnd(ThreeNodes):
    script = SCRIPT
    limits = {"budget_ms": 5000}

    def test_kept(self):
        for n in (2, 1):
            c = Console(self.nodes[n])
            c.ask("fill x%d-" % n)
            self.assertEqual(self.nodes[n].stop(), 0)
            c.close()
            self.eventually(lambda: self.count("x%d-" % n) == MANY)

    def count(self, key):
        c = Console(self.nodes[0])
        try:
            return c.json("count " + key)["n"]
        finally:
            c.close()
