-- Forbidden words become asterisks, whole words only, whatever their case. Three of them in a minute, and the message
-- is refused.
local magpie = require "magpie"

local words = {"darn", "heck", "blast"}

local forbidden = {}
for _, word in ipairs(words) do
    forbidden[word] = true
end

magpie.on("message", function(e)
    local hits = 0
    local content = e.content:gsub("%a+", function(word)
        if forbidden[word:lower()] then
            hits = hits + 1
            return ("*"):rep(#word)
        end
    end)
    if hits == 0 then return end
    if not magpie.bucket(e.user.id, 3 / 60, 3, hits) then
        return magpie.reject("forbidden", "mind your language")
    end
    magpie.metric("filtered_words_total", hits)
    e.content = content
end, {priority = 10})
