"""One queue out of many: answers questions about the whole queue, which no single node can.

HAProxy sends such operations here (`txn.whole` in haproxy/lua/identity.lua). Every node is asked at once, in the name
of the user who logged in, so that who may see what stays CUPS's own policy; what the nodes say is merged attribute
group by attribute group and never encoded anew. When this program is down or slow, HAProxy asks one node instead, and
notes that in the answer.

    request    what a client asks, and what each node is asked for it       pure
    merge      one answer out of many                                       pure
    last_seen  jobs of a node that does not answer, from the jobs table     pure but for the table's reads
    nodes      which nodes there are, and asking them with a deadline
    service    an HTTP server that puts these together
"""
