"""The numbers a CUPS server will give out next, written into its own files while it does not run.

cupsd keeps one counter for jobs in CacheDir/job.cache and one for subscriptions in ServerRoot/subscriptions.conf.
After a kill both can lie behind what was given out. Here they are moved past everything that is known: what the
controller asks for, what the files say, and what lies in the spool. (CUPS 2.4: load_job_cache, load_request_root
and load_next_job_id in scheduler/job.c; cupsdLoadAllSubscriptions in scheduler/subscriptions.c.)
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from machine.files import replace_file

_CONTROL_FILE = re.compile(r"c(\d{5,})(?:\.[NO])?\Z")
_JOB = re.compile(r"^\s*<Job\s+(\d+)\s*>", re.IGNORECASE | re.MULTILINE)
_ENTRY = re.compile(r"^\s*<Job\s+(\d+)\s*>.*?^\s*</Job>[^\n]*\n?", re.IGNORECASE | re.MULTILINE | re.DOTALL)
_NEXT_JOB = re.compile(r"^[ \t]*NextJobId[ \t]+(\d+)[^\n]*\n?", re.IGNORECASE | re.MULTILINE)
_SUBSCRIPTION = re.compile(r"^\s*<Subscription\s+(\d+)\s*>", re.IGNORECASE | re.MULTILINE)
_NEXT_SUBSCRIPTION = re.compile(r"^[ \t]*NextSubscriptionId[ \t]+(\d+)[^\n]*\n?", re.IGNORECASE | re.MULTILINE)


def prepare(cache: Path, server_root: Path, spool: Path, next_id: int) -> int:
    """Write both counters; returns the next job id. Idempotent. The server must not run.

    cupsd reads job.cache when no control file is newer (in whole seconds), else the control files. It always writes
    the cache first, and only the cache knows the documents' types: after a kill, a raw document read from the spool
    alone would be guessed to be text and be converted. So a cache that names the spool's jobs is dated past them,
    and one that lacks a job is dated back to 1970, else the job would be lost.
    """
    controls = control_files(spool)
    cache_file = cache / "job.cache"
    text = without_jobs_gone(_read(cache_file), controls)
    edited, next_job = edit_job_cache(text, next_id, controls)
    replace_file(cache_file, edited, 0o640)
    newest = max([time.time_ns(), *controls.values()])
    date = newest if describes(edited, controls) else 0
    os.utime(cache_file, ns=(date, date))
    subscriptions = server_root / "subscriptions.conf"
    replace_file(subscriptions, edit_subscriptions(_read(subscriptions), next_id), 0o640)
    return next_job


def highest(cache: Path, server_root: Path, spool: Path) -> int:
    """The highest id of jobs and subscriptions that the files of a stopped server know of; 0 when there are none."""
    _, next_job = edit_job_cache(_read(cache / "job.cache"), 1, control_files(spool))
    counters = edit_subscriptions(_read(server_root / "subscriptions.conf"), 1)
    next_subscription = max(int(found) for found in _NEXT_SUBSCRIPTION.findall(counters))
    return max(next_job, next_subscription) - 1


def without_jobs_gone(text: str, spooled: Iterable[int]) -> str:
    """The cache without entries whose control file is missing.

    At such an entry cupsd gives the cache up and reads the whole spool *in addition* to the entries before it,
    which would then be queued twice.
    """
    kept = {*spooled}
    return _ENTRY.sub(lambda entry: entry[0] if int(entry[1]) in kept else "", text)


def edit_job_cache(text: str, next_id: int, spooled: Iterable[int]) -> tuple[str, int]:
    """The cache with its counter past every known id, and that counter. Entries of jobs stay as they are."""
    counters = [int(found) for found in _NEXT_JOB.findall(text)]
    listed = [int(found) for found in _JOB.findall(text)]
    next_job = max([next_id, *counters, *(job + 1 for job in listed), *(job + 1 for job in spooled)])
    return f"NextJobId {next_job}\n{_NEXT_JOB.sub('', text)}", next_job


def edit_subscriptions(text: str, next_id: int) -> str:
    """subscriptions.conf with its counter past `next_id`, past its old value and past every entry."""
    counters = [int(found) for found in _NEXT_SUBSCRIPTION.findall(text)]
    listed = [int(found) for found in _SUBSCRIPTION.findall(text)]
    number = max([next_id, *counters, *(entry + 1 for entry in listed)])
    return f"NextSubscriptionId {number}\n{_NEXT_SUBSCRIPTION.sub('', text)}"


def describes(text: str, spooled: Iterable[int]) -> bool:
    """Whether the cache lists the jobs of the spool and no others, each once and to its end."""
    listed = [int(found) for found in _JOB.findall(text)]
    complete = text.count("</Job>") == len(listed)
    return complete and sorted(listed) == sorted(spooled)


def control_files(spool: Path) -> dict[int, int]:
    """Job ids that have a control file (c00001 …), each with the file's time of change in nanoseconds."""
    found: dict[int, int] = {}
    if spool.is_dir():
        for entry in os.scandir(spool):
            if match := _CONTROL_FILE.match(entry.name):
                job = int(match[1])
                found[job] = max(found.get(job, 0), entry.stat().st_mtime_ns)
    return found


def _read(path: Path) -> str:
    """A file's text, empty when there is none. A job's name may hold any bytes; they are kept."""
    try:
        return path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return ""
