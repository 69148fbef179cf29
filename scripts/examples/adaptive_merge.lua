-- Merged pushes whose slice stretches with the traffic: pushes a second to all members together are kept near `target`,
-- as long as a slice stays between `shortest` and `longest`. Quiet channels are pushed at once, whatever their size.
--
-- Load it before merge_push (the first opinion counts), or in its place.
local magpie = require "magpie"

local target = 20000            -- pushes a second that one channel may cost
local shortest, longest = 100, 2000
local max = magpie.config("push.max")

local at_once = magpie.push{mode = "all"}
local slices = {}               -- made once for each length

magpie.on("conversation", function(e)
    if not e.channel then return end
    local cost = e.rate * e.members
    if cost <= target then return at_once end
    -- One slice goes to all members: members / length pushes a second.
    local ms = math.min(math.max(e.members / target * 1000, shortest), longest)
    ms = math.ceil(ms / 100) * 100
    slices[ms] = slices[ms] or magpie.push{mode = "merged", slice_ms = ms, max = max}
    return slices[ms]
end)
