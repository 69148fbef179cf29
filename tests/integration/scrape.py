"""Prometheus's text exposition format 0.0.4, read strictly: what a scraper would refuse, or take for something else, is
an error here."""

import math
import re

LABELS = r'[a-z_][a-z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(r"([a-z_][a-z0-9_]*)(?:\{(%s(?:,%s)*)\})? (NaN|[+-]Inf|-?[0-9.e+-]+)" % (LABELS, LABELS))


def number(text):
    return {"NaN": math.nan, "+Inf": math.inf, "-Inf": -math.inf}.get(text) or float(text)


def families(text):
    """Name → (type, {sample with its labels: value})."""
    found, name = {}, None
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        word = re.fullmatch(r"# (HELP|TYPE) ([a-z_][a-z0-9_]*) (.+)", line)
        if word and word[1] == "HELP":
            name = word[2]
            assert name not in found, "%s comes twice" % name
            found[name] = (None, {})
        elif word:
            assert word[2] == name and found[name] == (None, {}), line
            assert word[3] in ("counter", "gauge", "histogram"), line
            found[name] = (word[3], {})
        else:
            m = SAMPLE.fullmatch(line)
            assert m, "no sample: " + line
            kind, samples = found[name]
            ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            assert m[1] in [name + e for e in ends], "%s stands below %s" % (line, name)
            key = m[1] + ("{%s}" % m[2] if m[2] else "")
            assert key not in samples, "%s comes twice" % key
            samples[key] = number(m[3])
    for name, (kind, samples) in found.items():
        assert (kind == "counter") == name.endswith("_total"), name
        if kind == "histogram":
            buckets = [(number(m[1]), v) for k, v in samples.items()
                       if (m := re.fullmatch(re.escape(name) + r'_bucket\{le="([^"]+)"\}', k))]
            assert buckets == sorted(buckets) and [n for _, n in buckets] == sorted(n for _, n in buckets), buckets
            assert buckets[-1] == (math.inf, samples[name + "_count"]), buckets
    return found


def parse(text):
    """Every sample with its labels as they stand: value."""
    return {key: value for _, samples in families(text).values() for key, value in samples.items()}
