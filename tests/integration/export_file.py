"""Exports (magpied --export), read strictly by what storage/README.md says of the file; the sums aside."""

import struct

MAGIC = b"\x89Magpie\n"
# Fields by kind: 1, 2, 4, 8 are numbers of so many bytes, "s" a text behind a byte, "l" one behind four.
KINDS = {
    1: ("store", [8, 8, 8, 8, 1, "s"]),
    2: ("user", ["s", "s", 4, 8, 8, 1]),
    3: ("deleted", ["s", 8, 4, 1]),
    4: ("conv", ["s", 8, 8, 8, 8, 8, 8, 4, 4, 1, 1]),
    5: ("message", [8, 8, 8, 8, 8, 8, 1, 1, "s", "s", "l"]),
    6: ("member", ["s", "s", 8, 1, 1]),
    7: ("pair", ["s", "s", 8]),
    8: ("block", ["s", "s"]),
    9: ("inbox", ["s", "s", 8, 8, 8, 8, 1]),
    10: ("dedup", ["s", "s", "s", 8, 8, 8, 8]),
    11: ("digest", [2, "s", 8, 8, 8]),
    12: ("note", ["s", "l"]),
    13: ("floor", [2, 8]),
    14: ("end", ["s"]),
}


def blocks(data):
    assert data[:8] == MAGIC, data[:8]
    assert struct.unpack(">HH", data[8:12]) == (1, 0), data[8:12]
    at = 12
    while at < len(data):
        n = struct.unpack_from(">I", data, at)[0]
        yield data[at + 4:at + 4 + n]
        at += 4 + n + 8
    assert at == len(data), "cut short"


def records(path):
    """All of them but END, as (kind, fields …); a message's first field is its conversation."""
    with open(path, "rb") as f:
        data = f.read()
    out, conv, counts = [], None, dict.fromkeys(range(1, 14), 0)
    for block in blocks(data):
        at = 0
        while at < len(block):
            number, fields = block[at], []
            at += 1
            for form in KINDS[number][1]:
                size = form if isinstance(form, int) else {"s": 1, "l": 4}[form]
                value = int.from_bytes(block[at:at + size], "big")
                at += size
                if not isinstance(form, int):
                    value, at = block[at:at + value], at + value
                fields.append(value)
            assert at <= len(block), "a record over the end of its block"
            if number == 14:
                told = struct.unpack(">13Q", fields[0])
                assert told == tuple(counts[k] for k in range(1, 14)), (told, counts)
                conv = "end"
                continue
            assert conv != "end", "records after the end"
            counts[number] += 1
            conv = fields[0] if number == 4 else conv if number == 5 else None
            out.append((KINDS[number][0], *([conv] if number == 5 else []), *fields))
    assert conv == "end", "no end"
    return out
