-- The edge's HAProxy part of identity: read the attribute section, refuse or route, and stamp the owner.
--
-- The action `ipp_identity` runs when the user is proved; it sets
--   txn.op      operation, four hexadecimal digits            txn.slot    slot that owns the job named, if any
--   txn.refuse  status to refuse with, if any                 txn.why     the sentence that goes with it
--   txn.whole   set for a question about the whole queue
--   txn.note    where in an answer its note belongs, see below
--   txn.edit    what the filter has to do to the body: offset, length, replacement
--   txn.growth  for a request that any node may answer: NOTHING_TO_STAMP; STATE_ALONE, when all nodes say the same; or by
--               how much the edit makes it longer, from NO_GROWTH on
-- The filter `ipp-identity` carries the edit out while the body streams through (in a filter's callback headers
-- can't be changed, in an action the body can't).
local ipp = require("ipp")

-- Each request leaves some kilobytes behind. A cycle of the collector walks through all that HAProxy keeps in Lua, so
-- there are few of them: memory grows to four times what is in use, which is some megabytes for each thread.
collectgarbage("setpause", 400)

local HEAD_SECONDS = 10
local HEAD_BYTES = 20000 -- of tune.bufsize 32768, which the HTTP headers share
local NO_GROWTH = 32768 -- what haproxy.cfg subtracts again: its tables hold no negative numbers
local NOTHING_TO_STAMP, STATE_ALONE = 1, 2

local function refuse(txn, status, why)
    txn:set_var("txn.refuse", tostring(status))
    txn:set_var("txn.why", why)
end

-- The number of body bytes to come, or nil for a chunked body.
local function announced(txn)
    if txn.f:req_fhdr_cnt("transfer-encoding") > 0 then return nil end
    return tonumber(txn.f:req_fhdr("content-length")) or 0
end

-- Waits until the attribute section is complete; total: body bytes announced, or nil. A document that is slow after it delays nothing.
local function read(txn, total)
    local body = txn.f:req_body() or ""
    local request = ipp.parse(body)
    if not request.more then return body, request end
    local started, pause = core.now().sec, 2
    while request.more do
        if total and #body >= total then return body, { error = "the attribute section is cut short" } end
        if #body > HEAD_BYTES then return body, { error = "the attribute section is too large", status = 413 } end
        if core.now().sec - started > HEAD_SECONDS then
            return body, { error = "the attribute section did not arrive in time", status = 408 }
        end
        core.msleep(pause)
        pause = math.min(pause * 2, 50)
        local now = txn.f:req_body() or ""
        if #now ~= #body then
            body, request = now, ipp.parse(now)
        end
    end
    return body, request
end

-- libcups sends headers and attributes in two writes, and a 401 that overtakes the second one ends its request
-- instead of starting its login. So a refusal waits for the attributes, but must not ask for them: after a
-- `100 Continue` the document would follow, and a 401 in the middle of it is tried again for ever.
local ARRIVAL_MILLISECONDS = 300

core.register_action("ipp_arrived", { "http-req" }, function(txn)
    local waited, pause, seen = 0, 2, -1
    while waited < ARRIVAL_MILLISECONDS do
        local body = txn.f:req_body() or ""
        if #body > HEAD_BYTES or (#body ~= seen and not ipp.parse(body).more) then return end
        seen = #body
        core.msleep(pause)
        waited, pause = waited + pause, math.min(pause * 2, 50)
    end
end)

-- What has to be done to a body, and by how many bytes that makes it longer.
local function edit_of(body, request, user)
    local offset, length, text = ipp.stamp(body, request, user)
    return string.pack(">I4I4", offset, length) .. text, #text - length
end

local function stamp(txn, body, request, user, total)
    local edit, growth = edit_of(body, request, user)
    if total then txn.http:req_set_header("content-length", string.format("%d", total + growth)) end
    txn:set_var("txn.edit", edit)
    if not request.slot and not request.whole then txn:set_var("txn.growth", NO_GROWTH + growth) end
end

core.register_action("ipp_identity", { "http-req" }, function(txn)
    local user = txn:get_var("txn.user")
    if not user or user == "" then return refuse(txn, 403, "nobody is logged in") end
    local total = announced(txn)
    local body, request = read(txn, total)
    if request.error then return refuse(txn, request.status or 400, request.error) end
    txn:set_var("txn.op", string.format("%04X", request.op))
    if not total then txn:set_var("txn.chunked", true) end
    if ipp.ADMINISTRATION[request.op] and not (request.op == ipp.CANCEL_JOBS and txn:get_var("txn.admin")) then
        return refuse(txn, 403, "this operation is not open to users; the fleet's controller manages printers")
    end
    if request.slot and request.slot > 0 then txn:set_var("txn.slot", tostring(request.slot)) end
    if request.whole or request.state and not total then txn:set_var("txn.whole", true) end
    if ipp.needs_stamp(body, request, user) then
        stamp(txn, body, request, user, total)
    elseif ipp.QUESTIONS[request.op] and not request.slot and not request.whole and total then
        txn:set_var("txn.growth", request.state and STATE_ALONE or NOTHING_TO_STAMP)
    end
end)

local Stamp = { id = "ipp identity", flags = filter.FLT_CFG_FL_HTX }
Stamp.__index = Stamp

-- The request comes first, and the response needs nothing. HAProxy builds a whole transaction for each callback it
-- finds, which costs more than all that is done here, so this one is hidden once it has run.
function Stamp:start_analyze(_, channel)
    filter.register_data_filter(self, channel)
    self.start_analyze = false
end

function Stamp:new() return setmetatable({}, Stamp) end

-- Of a body that the action was spared, because it came before: by what haproxy.cfg knows it by.
local edits, edits_kept, KEPT_EDITS = {}, 0, 1000
local LONGEST_KEPT = 1024 -- bytes: an edit holds what lies between its first and its last cut, which a client chooses

local function known_edit(txn, message)
    local key = txn:get_var("txn.request")
    if not key then return nil end
    local edit = edits[key]
    if not edit and (txn:get_var("txn.growth") or 0) > STATE_ALONE then
        local body = message:body()
        edit = edit_of(body, ipp.parse(body), txn:get_var("txn.user"))
        if #edit > LONGEST_KEPT then return edit end
        if edits_kept >= KEPT_EDITS then edits, edits_kept = {}, 0 end
        edits[key], edits_kept = edit, edits_kept + 1
    end
    return edit
end

-- cupsd takes what follows the last chunk for the beginning of the next request, so that the answers on this connection
-- to it no longer belong to their questions. HAProxy counts a byte for the end itself.
local function refuse_trailers(message)
    if message:eom() and message:input() - #(message:body() or "") > 1 then
        error("a chunked body with trailers is not passed on", 0)
    end
end

-- Called first with everything that was read so far, which holds the whole attribute section; of a chunked body until its
-- end, because of trailers.
function Stamp:http_payload(txn, message)
    local chunked = txn:get_var("txn.chunked")
    if chunked then refuse_trailers(message) end
    local edit = txn:get_var("txn.edit") or known_edit(txn, message)
    if edit and not self.done then
        self.done = true
        local offset, length = string.unpack(">I4I4", edit)
        if length > 0 then message:remove(offset, length) end
        local text = edit:sub(9)
        if message:insert(text, offset) ~= #text then error("there is no room for the owner's name", 0) end
    end
    if not chunked then filter.unregister_data_filter(self, message.channel) end
end

core.register_filter("ipp-identity", Stamp, function(class) return class end)

-- While the service for the whole queue is down, any one node answers for it. A client is told by the only means that IPP
-- has for that, a status-message.
local NOTE = string.pack(">Bs2s2", 0x41, "status-message",
    "The service that asks all print servers did not answer in time; this is what one of them says.")

core.register_action("one_server", { "http-res" }, function(txn)
    local length = tonumber(txn.f:res_fhdr("content-length"))
    local place = length and ipp.place_for_note(txn.f:res_body() or "")
    if not place then return end
    txn.http:res_set_header("content-length", string.format("%d", length + #NOTE))
    txn:set_var("txn.note", place)
end)

local Note = { id = "one server", flags = filter.FLT_CFG_FL_HTX }
Note.__index = Note

function Note:new() return setmetatable({}, Note) end

function Note:start_analyze(_, channel)
    if channel:is_resp() then filter.register_data_filter(self, channel) end
end

-- Called first with everything that was waited for, the place among it.
function Note:http_payload(txn, message)
    local place = txn:get_var("txn.note")
    if place then message:insert(NOTE, place) end
    filter.unregister_data_filter(self, message.channel)
end

core.register_filter("one-server", Note, function(class) return class end)
