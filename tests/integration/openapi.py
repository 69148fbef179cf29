"""What an OpenAPI 3.0 document says of an answer, and whether the answer is like that: the subset that ours is written
in."""

import json
import re

TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


class Description:
    def __init__(self, path):
        with open(path) as f:
            self.document = json.load(f)
        self.templates = [(re.compile("^%s$" % re.sub(r"\{\w+\}", "[^/]+", template)), item)
                          for template, item in self.document["paths"].items()]

    def follow(self, thing):
        while "$ref" in thing:
            at = self.document
            for part in thing["$ref"].lstrip("#/").split("/"):
                at = at[part]
            thing = at
        return thing

    def check(self, method, path, status, content_type, text):
        """AssertionError: the answer is not as described. Requests to what the document does not name are passed
        over."""
        where = "%s %s: %d" % (method, path, status)
        for template, item in self.templates:
            if template.match(path.partition("?")[0]) and method.lower() in item:
                responses = item[method.lower()]["responses"]
                assert str(status) in responses, where + " is not described"
                content = self.follow(responses[str(status)])["content"]
                kind = content_type.partition(";")[0]
                assert kind in content, "%s with %s is not described" % (where, kind)
                if kind == "application/json":
                    self.value(json.loads(text), content[kind]["schema"], where)

    def value(self, v, schema, where):
        schema = self.follow(schema)
        unknown = set(schema) - {"type", "required", "properties", "items", "enum", "minimum", "description"}
        assert not unknown, "%s: this checker does not know %s" % (where, unknown)
        assert isinstance(v, TYPES[schema["type"]]) and (schema["type"] == "boolean"
                                                         or not isinstance(v, bool)), "%s: %r is no %s" % (where, v,
                                                                                                           schema["type"])
        assert v in schema.get("enum", [v]), "%s: %r is none of %s" % (where, v, schema.get("enum"))
        assert "minimum" not in schema or v >= schema["minimum"], "%s: %r is less than %s" % (where, v,
                                                                                              schema.get("minimum"))
        for each in v if isinstance(v, list) else ():
            self.value(each, schema["items"], where + "[]")
        if isinstance(v, dict):
            properties = schema.get("properties", {})
            missing, more = set(schema.get("required", ())) - set(v), set(v) - set(properties)
            assert not missing and not more, "%s: missing %s, not described %s" % (where, sorted(missing), sorted(more))
            for key in v:
                self.value(v[key], properties[key], "%s.%s" % (where, key))
