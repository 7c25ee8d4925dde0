"""Count, mean and deviation of each card over sliding windows of ten minutes every minute, by panes, in DuckDB: the
baseline of the pipeline benchmark. Prints the seconds from the file to the rows."""

import sys
import time

import duckdb

QUERY = """
create table result as
with events as (
  select cc_num, amount * 1.5 + 1.0 as amount, lower(merchant) as merchant, datetime // 60000 as pane
  from read_json(?, format = 'newline_delimited', columns = {
    tid: 'VARCHAR', datetime: 'BIGINT', cc_num: 'BIGINT', amount: 'DOUBLE', merchant: 'VARCHAR' })
),
panes as (
  select cc_num, pane, count(*) as n, sum(amount) as s, sum(amount * amount) as q, count(merchant) as m
  from events group by cc_num, pane
),
windows as (
  select cc_num, pane + step as until, n, s, q, m from panes, range(1, 11) as steps(step)
)
select cc_num, until, sum(n) as n, sum(s) / sum(n) as mean,
       case when sum(n) > 1 then sqrt(greatest(0, (sum(q) - sum(s) * sum(s) / sum(n)) / (sum(n) - 1))) end as deviation,
       sum(m) as m
from windows group by cc_num, until
"""


def main() -> None:
    connection = duckdb.connect()
    started = time.perf_counter()
    connection.execute(QUERY, [sys.argv[1]])
    print(time.perf_counter() - started)


main()
