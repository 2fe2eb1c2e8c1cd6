"""The counts of campaigns and their table."""

from tests.hostile.campaigns import Counts, rows, table

RAN = Counts("kill", "build", 1200, 3, 1, 2.5, 300 << 20, "2026-11-30", "A CPU, 2 cores, 23 GiB")
IDLE = Counts("race", "table", date="2026-12-01", machine="A CPU, 4 cores, 7 GiB")


def test_the_table_has_a_row_for_each_target_and_their_sum():
    assert table([RAN, IDLE])[2:] == [
        "| kill | build | 1,200 | 3 | 1 | 2.5 | 300 | 2026-11-30 | A CPU, 2 cores, 23 GiB |",
        "| race | table | 0 | 0 | 0 | 0.0 | 0 | 2026-12-01 | A CPU, 4 cores, 7 GiB |",
        "| all |  | 1,200 | 3 | 1 | 2.5 | 300 |  |  |",
    ]


def test_the_rows_of_a_table_are_read_back():
    assert rows("\n".join(table([RAN, IDLE]))) == [RAN, IDLE]
    assert rows("") == []
