"""One queue out of many: answers questions about the whole queue, which no single node can.

HAProxy sends such operations here (`txn.whole` in haproxy/lua/identity.lua). Every node is asked at once, in the name
of the user who logged in, so that who may see what stays CUPS's own policy; what the nodes say is merged attribute
group by attribute group and never encoded anew. When this program is down or slow, HAProxy asks one node instead, and
notes that in the answer.

    request        what a client asks, and what each node is asked for it     pure
    merge          one answer out of many                                     pure
    silence        what is said of nodes that do not answer                   pure
    last_seen      jobs of a node that does not answer, from what is known    pure but for the reads
    unseen         that: the jobs table, and spools of nodes on this machine
    nodes          which nodes there are, and asking them with a deadline
    answer         what a client gets: merged, or as a node wrote it          pure
    asking         which node is asked what
    together       the same question at the same moment is asked once
    crowd          many people's own jobs out of one list
    lists, queues, subscriptions, cancelling    the operations
    service        which of them answers a request, and jobs that are elsewhere
    application    an HTTP server for it
"""
