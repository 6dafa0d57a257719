-- RFC 2817 on the front door's port: libcups with "encryption required" (lp -E) starts in plain text with
-- `OPTIONS * … Upgrade: TLS/1.2`, wants `101 Switching Protocols`, shakes hands, and then wants the answer to that
-- same OPTIONS inside TLS.

local HEAD_BYTES, HEAD_SECONDS = 8192, 10

-- The first request's head and its length, or nil when it does not come whole.
local function head_of(channel)
    local started = core.now().sec
    while core.now().sec - started <= HEAD_SECONDS do
        local data = channel:data()
        if not data then return nil end
        local _, stop = data:find("\r\n\r\n", 1, true)
        if stop then return data:sub(1, stop) end
        if #data > HEAD_BYTES then return nil end
        core.msleep(5)
    end
end

-- Plain side: answers the upgrade and drops it from the stream, so that the handshake comes next.
core.register_action("tls_upgrade", { "tcp-req" }, function(txn)
    local head = head_of(txn.req)
    if not head then return end
    local lines = head:lower()
    if not lines:find("\r\nupgrade:[^\r]*tls/") or not lines:find("\r\nconnection:[^\r]*upgrade") then return end
    txn.req:remove(0, #head)
    txn.res:send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n")
    txn:set_var("txn.upgraded", true)
end)

-- Encrypted side: answers that same OPTIONS; what follows is the HTTP frontend's.
core.register_action("tls_upgraded", { "tcp-req" }, function(txn)
    txn.res:send("HTTP/1.1 200 OK\r\nAllow: GET, HEAD, OPTIONS, POST\r\nContent-Length: 0\r\n\r\n")
end)
