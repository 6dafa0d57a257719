"""The counters that a server starts from."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from controller.nodes import ids

ENTRY = "<Job {}>\nState 3\nUsername alice\nName {}\nNumFiles 1\nFile 1 text/plain 0\n</Job>\n"
numbers = st.integers(1, 2**31 - 2)
# A job's name is the user's; cupsd writes it on a line of its own, so it holds any text but line ends.
titles = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)
jobs = st.dictionaries(numbers, titles, max_size=6)


def cache(counter: int, entries: dict[int, str]) -> str:
    head = f"# Job cache file for CUPS v2.4.2\n# Written by cupsd\nNextJobId {counter}\n"
    return head + "".join(ENTRY.format(job, title) for job, title in sorted(entries.items()))


@given(numbers, jobs, numbers, st.sets(numbers, max_size=5))
def test_the_counter_passes_every_known_id(counter: int, entries: dict[int, str], wanted: int, spool: set[int]) -> None:
    edited, next_job = ids.edit_job_cache(cache(counter, entries), wanted, spool)
    assert next_job >= max(counter, wanted)
    assert all(next_job > job for job in [*entries, *spool])
    assert next_job in {counter, wanted, *(job + 1 for job in [*entries, *spool])}
    assert re.findall(r"^NextJobId (\d+)$", edited, re.MULTILINE) == [str(next_job)]


@given(numbers, jobs, numbers)
def test_the_entries_stay_as_they_are(counter: int, entries: dict[int, str], wanted: int) -> None:
    edited, _ = ids.edit_job_cache(cache(counter, entries), wanted, [])
    for job, title in entries.items():
        assert ENTRY.format(job, title) in edited


@given(numbers, jobs, numbers)
def test_editing_twice_is_editing_once(counter: int, entries: dict[int, str], wanted: int) -> None:
    once, number = ids.edit_job_cache(cache(counter, entries), wanted, entries)
    assert ids.edit_job_cache(once, wanted, entries) == (once, number)


@given(jobs, st.data())
def test_entries_without_control_file_go_and_others_stay(entries: dict[int, str], data: st.DataObject) -> None:
    kept = data.draw(st.sets(st.sampled_from(sorted(entries)))) if entries else set()
    left = ids.without_jobs_gone(cache(5, entries), kept)
    assert left == cache(5, {job: title for job, title in entries.items() if job in kept})
    assert ids.describes(left, kept)


@given(numbers, numbers, st.lists(numbers, max_size=4))
def test_subscriptions_are_numbered_past_all(counter: int, wanted: int, entries: list[int]) -> None:
    body = "".join(f"<Subscription {entry}>\nEvents all\n</Subscription>\n" for entry in entries)
    edited = ids.edit_subscriptions(f"NextSubscriptionId {counter}\n{body}", wanted)
    number = int(re.findall(r"^NextSubscriptionId (\d+)$", edited, re.MULTILINE)[0])
    assert number >= max(counter, wanted)
    assert all(number > entry for entry in entries)
    assert edited.endswith(body)


def prepared(folder: Path, entries: dict[int, str], spool: list[int]) -> tuple[str, float]:
    for part in ("cache", "etc", "spool"):
        (folder / part).mkdir()
    (folder / "cache/job.cache").write_text(cache(3_000_009, entries))
    for job in spool:
        (folder / f"spool/c{job:05d}").write_text("")
        (folder / f"spool/d{job:05d}-001").write_text("")
    ids.prepare(folder / "cache", folder / "etc", folder / "spool", 3_000_001)
    file = folder / "cache/job.cache"
    return file.read_text(), file.stat().st_mtime


def test_a_cache_that_names_the_spool_is_read(tmp_path: Path) -> None:
    entries = {3_000_001: "a", 3_000_002: "b"}
    text, changed = prepared(tmp_path, entries, list(entries))
    newest = max((tmp_path / f"spool/c{job}").stat().st_mtime for job in entries)
    assert changed >= newest
    assert ids.describes(text, entries)


def test_a_cache_that_lacks_a_job_is_passed_over(tmp_path: Path) -> None:
    text, changed = prepared(tmp_path, {3_000_001: "a"}, [3_000_001, 3_000_020])
    assert changed == 0
    assert text.startswith("NextJobId 3000021\n")


def test_an_entry_whose_files_are_gone_would_double_the_others(tmp_path: Path) -> None:
    text, changed = prepared(tmp_path, {3_000_001: "a", 3_000_002: "gone"}, [3_000_001])
    assert "<Job 3000002>" not in text
    assert text.startswith("NextJobId 3000009\n")
    assert changed > 0


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "etc").mkdir()
    assert ids.prepare(tmp_path / "cache", tmp_path / "etc", tmp_path / "spool", 5_000_001) == 5_000_001
    assert (tmp_path / "cache/job.cache").read_text() == "NextJobId 5000001\n"
    assert (tmp_path / "etc/subscriptions.conf").read_text() == "NextSubscriptionId 5000001\n"


def test_bytes_that_are_no_text_are_kept(tmp_path: Path) -> None:
    for part in ("cache", "etc", "spool"):
        (tmp_path / part).mkdir()
    body = b"NextJobId 7\n<Job 00005>\nName caf\xe9\n</Job>\n"
    (tmp_path / "cache/job.cache").write_bytes(body)
    (tmp_path / "spool/c00005").write_text("")
    os.utime(tmp_path / "spool/c00005", (1, 1))
    ids.prepare(tmp_path / "cache", tmp_path / "etc", tmp_path / "spool", 1)
    assert (tmp_path / "cache/job.cache").read_bytes() == body
