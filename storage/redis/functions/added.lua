-- Sums of notes.

-- The value of a note with "UNTIL n NUMBER" added to it: see struct bus_note. An older one that has no blank after its
-- first digits is a number as a server alone writes it: a byte 1, a byte 1, UNTIL, and the number as a double.
local function note_added(old, value, now)
  local ends, kind, number = string.match(old or '', '^(%d+) (%l) (.*)$')
  if old and #old >= 10 and old:byte(1) == 1 then
    local form, at = struct.unpack('>BI8', old, 2)
    ends, kind = string.format('%.0f', at), 's'
    if form == 1 and #old == 18 then
      kind, number = 'n', struct.unpack('>d', old, 11)
    end
  end
  if not ends or (ends ~= '0' and tonumber(ends) <= now) then
    return value
  end
  if kind ~= 'n' then
    return old
  end
  local more = tonumber(string.match(value, '^%d+ n (%S+)$'))
  return ends .. ' n ' .. string.format('%.17g', tonumber(number) + more)
end
