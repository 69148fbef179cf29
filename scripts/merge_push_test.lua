local test = require "test"

test.case("small channels one by one, large ones merged", function()
    local s = test.load("merge_push", {["push.slice_ms"] = 250, ["push.max"] = 5})
    local small = s:fire("conversation", {user = "ada", channel = "tea", tier = "small"})
    test.equal(small.push.mode, "all")
    local large = s:fire("conversation", {user = "ada", channel = "tea", tier = "large"})
    test.equal(large.push, {mode = "merged", slice_ms = 250, max = 5})
end)

test.case("private conversations are left alone", function()
    local s = test.load("merge_push")
    test.equal(s:fire("conversation", {user = "ada", peer = "bob"}), {verdict = "pass"})
end)
