-- What an IPP request's attribute section says, and how it must be changed so that one name owns it.
--
-- Pure: strings in, a table out; run it with `lua5.3`. Written against RFC 8010 (encoding), RFC 8011 (operations)
-- and what CUPS believes: cups/ipp.c ippReadIO (framing), ippFindAttribute (names match in any case, in any group,
-- the first one wins), scheduler/ipp.c add_job (everything the client sent stays in the job's control file).
-- A section that cupsd would read in another way than this parser has to be refused here.

local ipp = {}

local byte, lower, sub, unpack, format = string.byte, string.lower, string.sub, string.unpack, string.format

local OPERATION, END = 0x01, 0x03
local GROUPS = { [1] = true, [2] = true, [4] = true, [5] = true, [6] = true, [7] = true, [8] = true, [9] = true, [10] = true }
local BEGIN_COLLECTION, END_COLLECTION, MEMBER_NAME = 0x34, 0x37, 0x4a
local MAX_NAME, MAX_VALUE, MAX_DEPTH = 255, 32767, 8

-- Value tags with the exact length their values have; -1 for any length.
local LENGTH = { [0x10] = 0, [0x11] = 0, [0x12] = 0, [0x13] = 0, [0x15] = 0, [0x16] = 0, [0x17] = 0,
    [0x21] = 4, [0x22] = 1, [0x23] = 4, [0x30] = -1, [0x31] = 11, [0x32] = 9, [0x33] = 8, [0x34] = 0, [0x35] = -1,
    [0x36] = -1, [0x37] = 0, [0x41] = -1, [0x42] = -1, [0x43] = -1, [0x44] = -1, [0x45] = -1, [0x46] = -1,
    [0x47] = -1, [0x48] = -1, [0x49] = -1, [0x4a] = -1 }

-- Values of one attribute may mix only within a kind (ippReadIO: "1setOf attribute with incompatible value tags").
local KIND = { [0x21] = "number", [0x33] = "number", [0x35] = "string", [0x36] = "string" }
for tag = 0x41, 0x49 do KIND[tag] = "string" end

-- cupsd hands a job's attributes to filters and backends as name=value with blanks between, and escapes these in values
-- only (scheduler/job.c, get_options): in a name they would hide the options behind it, or invent others.
local NO_NAME = "[%c \"'=\\]"

local OWNER = "requesting-user-name"
-- Attributes that only a server may say of a job. cupsd keeps the ones a client invents in the control file and
-- believes them after its next restart; in Set-Job-Attributes it refuses them, but only when spelled in lower case.
local SERVER_ONLY = {}
for name in ([[job-originating-user-name job-originating-host-name job-uuid job-id job-uri job-printer-uri job-state
    job-state-reasons job-state-message job-impressions-completed job-media-sheets-completed job-pages-completed
    job-k-octets-processed job-k-octets-completed job-printer-up-time job-printer-state-message
    job-printer-state-reasons number-of-documents number-of-intervening-jobs output-device-assigned time-at-creation
    time-at-processing time-at-completed date-time-at-creation date-time-at-processing date-time-at-completed
    notify-subscriber-user-name]]):gmatch("%S+") do
    SERVER_ONLY[name] = true
end
local OWNER_ID = { ["job-id"] = 0x21, ["notify-job-id"] = 0x21, ["notify-subscription-id"] = 0x21,
    ["notify-subscription-ids"] = 0x21, ["job-uri"] = 0x45 }
local SLOT_IDS = 1000000

local SET_JOB_ATTRIBUTES = 0x0014
-- New work and plain reads: an id in them names no job they act on, so it must not choose the node.
local UNBOUND = { [0x0002] = true, [0x0003] = true, [0x0004] = true, [0x0005] = true, [0x000a] = true,
    [0x000b] = true, [0x4001] = true, [0x4002] = true, [0x4005] = true }
local CREATES_JOB = { [0x0002] = true, [0x0003] = true, [0x0004] = true, [0x0005] = true }
-- Reads that name no owner go on as they came: an edit costs a copy.
local UNSTAMPED = { [0x000b] = true, [0x4001] = true }

-- Operations about the whole queue, which no single node can answer.
local GET_SUBSCRIPTIONS, GET_NOTIFICATIONS, CREATE_PRINTER_SUBSCRIPTIONS = 0x0019, 0x001c, 0x0016
local WHOLE = { [0x000a] = true, [0x0038] = true, [0x0039] = true, [GET_NOTIFICATIONS] = true }
-- `cancel office` names no job, but means the one that the queue has come to.
local CANCEL_JOB, THE_CURRENT = 0x0008, "\0\0\0\0"
-- Reads of printers that are about the whole queue when they ask for these attributes, or for all by naming none. Those
-- that ask for no more than STATE of one queue are polls, which any node may answer while all say the same.
local COUNTS, STATE = { [0x000b] = {}, [0x4001] = {}, [0x4002] = {} }, {}
for name in ("all printer-description queued-job-count printer-state-reasons printer-state-message"):gmatch("%S+") do
    for _, counts in pairs(COUNTS) do counts[name] = true end
end
for name in ("printer-state printer-is-accepting-jobs"):gmatch("%S+") do
    STATE[name], COUNTS[0x4001][name], COUNTS[0x4002][name] = true, true, true
end
-- CUPS reads the job of a subscription from the subscription's group, and asks nobody whose job it is.
local SUBSCRIBED = "notify-job-id"

ipp.CANCEL_JOBS = 0x0038

-- Operations that change nothing.
ipp.QUESTIONS = { [0x0004] = true, [0x000a] = true, [0x000b] = true, [0x4001] = true, [0x4002] = true, [0x4005] = true }

-- Operations that manage printers or other people's jobs; the fleet's controller does that, not a user.
ipp.ADMINISTRATION = {}
for op in ([[0010 0011 0012 0013 0022 0023 0024 0025 0026 0027 0028 0029 002A 002B 002D 002E 002F 0030 0031 0038
    4003 4004 4006 4007 4008 4009 400A 400B 400C 400D 400E 4028]]):gmatch("%S+") do
    ipp.ADMINISTRATION[tonumber(op, 16)] = true
end

local function bad(why) return { error = why } end

-- nameWithLanguage and textWithLanguage hold two strings with lengths of their own, which must fill the value.
local function language_fits(body, at, length)
    if length < 4 then return false end
    local first = unpack(">I2", body, at)
    if first >= 64 or 4 + first > length then return false end
    return 4 + first + unpack(">I2", body, at + 2 + first) == length
end

local function slot_of(id) return id < 1 and 0 or (id - 1) // SLOT_IDS end

-- The slot a routing value points to, 0 when it points to none; nil when it can't be read without doubt.
local function slot_in(tag, body, at, length)
    if tag == 0x21 then return slot_of(unpack(">i4", body, at)) end
    local uri = sub(body, at, at + length - 1)
    if uri:find("\0", 1, true) then return nil end
    local id = uri:match("^%a[%w+.-]*://[^/]*/jobs/(%d+)$")
    if not id then return 0 end
    return #id <= 10 and slot_of(tonumber(id)) or 0
end

-- What is wrong with a value inside the collection `member` stands in: each name comes before its values. Or nil.
local function member_fault(member, tag, length)
    if tag == MEMBER_NAME then
        if length == 0 or member.empty then return "a collection's member is empty" end
        member.kind, member.empty, member.open = nil, true, true
    elseif tag == END_COLLECTION then
        if member.empty then return "a collection's member is empty" end
    else
        local kind = KIND[tag] or tag
        if not member.open then return "a collection's value has no member name" end
        if member.kind and member.kind ~= kind then return "one attribute mixes types" end
        member.kind, member.empty = kind, false
    end
end

-- Names in lower case by how they were spelled: few are ever used, and looking at each letter is half of all the work.
local names, names_kept, KEPT_NAMES = {}, 0, 1000

-- The name in lower case, for the next time too; nil for one that filters would take for something else.
local function learned(spelled)
    if spelled:find(NO_NAME) then return nil end
    if names_kept >= KEPT_NAMES then names, names_kept = {}, 0 end
    names[spelled], names_kept = lower(spelled), names_kept + 1
    return names[spelled]
end

-- Reads the attribute section at the start of `body`. Returns one of
--   {more = true}      the section goes on beyond `body`
--   {error = sentence} no node may see this
--   {op, request_id, length, operation_end, cuts = {{from, to}…}, slot, whole, state}
-- Offsets count from 1; `length` covers the header and the end tag; cuts are in order; slot is nil when no id was
-- found where it counts; whole is true for a question about the whole queue, state for one about a queue's state alone.
-- One loop over local variables: it runs for every request, and calls and tables are what costs time here.
function ipp.parse(body)
    local n = #body
    if n < 8 then return { more = true } end
    local major, _, op, request_id = unpack(">BBI2i4", body)
    if major > 2 then return bad("this IPP version is not known") end
    local creates, set, unbound = CREATES_JOB[op], op == SET_JOB_ATTRIBUTES, UNBOUND[op]
    local counts, whole, state = COUNTS[op], WHOLE[op], nil
    local cuts, slot, cutting, operation_end, chosen = {}, nil, nil, nil, false
    local group, name, tag_of, depth, stack = 0, nil, nil, 0, {}
    local i = 9
    local function close_cut(at)
        if cutting then cuts[#cuts + 1] = { cutting, at }; cutting = nil end
    end
    while true do
        local tag, high, low = byte(body, i, i + 2)
        if not tag then return { more = true } end
        if tag < 0x10 then
            if depth > 0 then return bad("a collection is cut by a group") end
            close_cut(i)
            if group == OPERATION then operation_end = i end
            if tag == END then break end
            if not GROUPS[tag] then return bad(format("group 0x%02x does not exist", tag)) end
            if (tag == OPERATION) ~= (group == 0) then return bad("the operation group must come first, and once") end
            group, name, tag_of = tag, nil, nil
            i = i + 1
        else
            if group == 0 then return bad("the operation group must come first, and once") end
            local exact = LENGTH[tag]
            if not exact then return bad(format("value tag 0x%02x does not exist", tag)) end
            if not low then return { more = true } end
            local name_length = high << 8 | low
            if name_length > MAX_NAME then return bad("an attribute's name is too long") end
            high, low = byte(body, i + 3 + name_length, i + 4 + name_length)
            if not low then return { more = true } end
            local length = high << 8 | low
            if length > MAX_VALUE then return bad("a value is too long") end
            if exact >= 0 and length ~= exact then return bad("a value's length does not fit its type") end
            local at = i + 5 + name_length
            if at + length > n + 1 then return { more = true } end
            if (tag == 0x35 or tag == 0x36) and not language_fits(body, at, length) then
                return bad("a value with language has lengths that do not add up")
            end
            if depth > 0 then
                if name_length > 0 then return bad("a named attribute inside a collection") end
                local why = member_fault(stack[depth], tag, length)
                if why then return bad(why) end
                if tag == END_COLLECTION then stack[depth], depth = nil, depth - 1 end
            elseif tag == MEMBER_NAME or tag == END_COLLECTION then
                return bad("a member stands outside a collection")
            elseif name_length == 0 then
                if not name then return bad("a further value has no attribute") end
                if (KIND[tag] or tag) ~= tag_of then return bad("one attribute mixes types") end
            else
                close_cut(i)
                local spelled = sub(body, i + 3, i + 2 + name_length)
                name = names[spelled] or learned(spelled)
                if not name then return bad("an attribute's name holds what filters take for its end") end
                tag_of = KIND[tag] or tag
                if name == OWNER then
                    if group ~= OPERATION then return bad("requesting-user-name stands in the wrong group") end
                    cutting = i
                elseif SERVER_ONLY[name] then
                    if creates then
                        cutting = i
                    elseif set and spelled ~= name then
                        return bad(name .. " must be spelled in lower case")
                    end
                end
            end
            if depth == 0 and not unbound and OWNER_ID[name] == tag and (group == OPERATION or name == SUBSCRIBED) then
                local found = slot_in(tag, body, at, length)
                if not found then return bad(name .. " can not be read") end
                if slot and slot ~= found and not whole then return bad("the request names jobs of different nodes") end
                slot = found
                if op == CANCEL_JOB and name == "job-id" and sub(body, at, at + 3) == THE_CURRENT then whole = true end
                if name == SUBSCRIBED and op == CREATE_PRINTER_SUBSCRIPTIONS then whole = true end
            elseif counts and depth == 0 and name == "requested-attributes" then
                local wanted = sub(body, at, at + length - 1)
                chosen = true
                if counts[wanted] then whole = true elseif STATE[wanted] then state = true end
            end
            if tag == BEGIN_COLLECTION then
                depth = depth + 1
                if depth > MAX_DEPTH then return bad("collections are nested too deeply") end
                stack[depth] = { open = false, empty = false }
            end
            i = at + length
        end
    end
    if op == GET_SUBSCRIPTIONS and not slot or counts and not chosen then whole = true end
    return { op = op, request_id = request_id, length = i, cuts = cuts, slot = slot, operation_end = operation_end,
        whole = whole, state = state and not whole }
end

-- How many bytes of a node's answer come before the place of a status-message, which follows charset and language (RFC
-- 8011 4.1.4); nil for an answer that is no success, or does not begin like one.
function ipp.place_for_note(answer)
    if byte(answer, 3) ~= 0 or byte(answer, 9) ~= OPERATION then return nil end
    local charset, _, _, _, second = pcall(unpack, ">Bs2s2", answer, 10)
    local language, _, _, _, third = pcall(unpack, ">Bs2s2", answer, charset and second or 10)
    return charset and language and third - 1 or nil
end

local function attribute(user) return string.pack(">Bs2s2", 0x42, OWNER, user) end

-- Not when no owner counts, and not when the one name in the request is the right one already.
function ipp.needs_stamp(body, request, user)
    if UNSTAMPED[request.op] then return false end
    local cut = request.cuts[1]
    return not cut or request.cuts[2] ~= nil or sub(body, cut[1], cut[2] - 1) ~= attribute(user)
end

-- The one edit that makes `user` the only owner named: replace `length` bytes at `offset` (from 0) by `text`.
-- The name goes to the end of the operation group, since charset and language must stay first.
function ipp.stamp(body, request, user)
    local stamp, cuts = attribute(user), request.cuts
    local stop = request.operation_end
    if not stop then return 8, 0, "\1" .. stamp end
    local from, to = stop, stop
    if cuts[1] then
        from, to = math.min(stop, cuts[1][1]), math.max(stop, cuts[#cuts][2])
    end
    local kept, at, stamped = {}, from, false
    local function keep_until(limit)
        if not stamped and stop <= limit then
            kept[#kept + 1] = sub(body, at, stop - 1)
            kept[#kept + 1] = stamp
            at, stamped = stop, true
        end
        kept[#kept + 1] = sub(body, at, limit - 1)
    end
    for _, cut in ipairs(cuts) do
        keep_until(cut[1])
        at = cut[2]
    end
    keep_until(to)
    return from - 1, to - from, table.concat(kept)
end

return ipp
