"""Statistics are read by column name."""

from __future__ import annotations

from haproxy.stats import FrontendStats, parse

TEXT = """# svname,pxname,scur,qcur,status,weight,uweight,check_status,lastchg,stot,addr,req_tot,new_column
FRONTEND,front,3,,OPEN,,,,,40,,77,x
n1,pool,2,1,UP,50,60,* L7OK,12,30,127.0.0.1:7001,,x
n2,pool,0,0,MAINT,0,0,,,,,,x
BACKEND,pool,0,0,UP,0,0,,,,,,x
dashboard,dashboard,0,0,UP,1,1,,,,,,x
n1,owner,0,0,no check,1,1,,12,3,127.0.0.1:7001,,x
"""


def test_rows_become_values() -> None:
    found = parse(TEXT)
    one = found.server("pool", 1)
    assert (one.current_sessions, one.queue, one.weight, one.check_status, one.last_change) == (2, 1, 60, "L7OK", 12)
    assert one.up
    assert not found.server("pool", 2).up
    assert [(row.backend, row.slot) for row in found.servers] == [("pool", 1), ("pool", 2), ("owner", 1)]
    assert found.frontends == (FrontendStats("front", 3, 40, 77, 0, 0, 0, 0, 0),)
