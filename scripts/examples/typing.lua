-- "Ada is typing …", as action 200: {receiverId} tells the receiver's connections by push 200: {from = {id, name}}.
-- Who has blocked Ada hears nothing of her.
local magpie = require "magpie"

-- What magpie.push() takes. For anything else it raises an error, and that would be the script's failure, not the
-- client's.
local function is_user_id(id)
    return type(id) == "string" and #id <= 64 and id:find("^[%w_.:-]+$") ~= nil
end

magpie.action(200, function(e)
    local receiver = e.body.receiverId
    if not is_user_id(receiver) then
        return magpie.reject("bad_request", "receiverId: expected a user's id")
    end
    -- Keys come fast; once in two seconds is enough.
    if magpie.bucket(e.user.id .. " " .. receiver, 0.5, 1) then
        magpie.push(receiver, 200, {from = e.user}, e.user.id)
    end
    return {}
end)
