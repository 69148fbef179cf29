-- A bot: "!dice 2d6", "!time" and "!help" in a channel are answered there; in a private message, privately.
local magpie = require "magpie"

local commands = {}

function commands.help()
    local names = {}
    for name in pairs(commands) do
        names[#names + 1] = "!" .. name
    end
    table.sort(names)
    return "I know " .. table.concat(names, ", ")
end

function commands.time()
    local minutes = math.floor(magpie.time() / 60000) % (24 * 60)
    return string.format("It is %02d:%02d UTC", math.floor(minutes / 60), minutes % 60)
end

function commands.dice(argument)
    local count, sides = argument:match("^(%d+)d(%d+)$")
    count, sides = tonumber(count or 1), tonumber(sides or 6)
    if count < 1 or count > 20 or sides < 2 or sides > 1000 then
        return "I throw 1d2 to 20d1000"
    end
    local sum = 0
    for _ = 1, count do
        sum = sum + math.random(sides)
    end
    return count .. "d" .. sides .. ": " .. sum
end

-- After the message, so that the answer comes behind it. What the server itself says is never answered: no loops.
magpie.on("delivered", function(e)
    if e.system then return end
    local name, argument = e.content:match("^!(%a+)%s*(.-)%s*$")
    local command = name and commands[name:lower()]
    if not command then return end
    local answer = command(argument)
    if e.channel then
        magpie.send_channel(e.channel, answer)
    else
        magpie.send_user(e.user.id, answer)
    end
end)
