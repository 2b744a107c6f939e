"""The queue of jobs: nothing lost, nothing counted twice, one lease a device, whatever the order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from edge_bench.devices.job import Failure, Job, Options, Report
from edge_bench.devices.queue import MAX_ATTEMPTS, OPEN, Grant, JobQueue, Receipt, standing
from edge_bench.errors import ConfigError
from edge_bench.records import BenchmarkResult, TimingBlock
from edge_bench.store import ResultStore

LEASE_S = 60.0
AGENT = "agent-1"


def job(number: int, **options: object) -> Job:
    return Job(
        id=f"job-{number}",
        model="tiny.onnx",
        digest=f"{number:064x}",
        size_bytes=1,
        options=Options(**options),  # type: ignore[arg-type]
    )


def result_of(given: Job, identity: str, device: str = "pi") -> BenchmarkResult:
    return BenchmarkResult(
        id=identity,
        artifact=None,
        model=given.model,
        digest=given.digest,
        format="onnx",
        precision="fp32",
        device=device,
        runtime="onnxruntime",
        runtime_version="1",
        threads=1,
        batch=1,
        load_ms=1.0,
        first_ms=1.0,
        blocks=(TimingBlock(latencies_ns=(1,), counted=True, off_cpu=None),),
        p50_low_ms=1.0,
        p50_high_ms=1.0,
        peak_memory_mb=1.0,
        verdict="clean",
        verdict_cause="",
        stopped_by="",
        environment={},
        created="2026-01-01T00:00:00+00:00",
    )


def report_of(grant: Grant, identity: str, device: str = "pi") -> Report:
    result = result_of(grant.job, identity, device)
    return Report(id=identity, job=grant.job.id, lease=grant.lease, result=result)


def failure_of(grant: Grant, identity: str) -> Report:
    told = Failure(kind="InvalidModel", message="no model")
    return Report(id=identity, job=grant.job.id, lease=grant.lease, failure=told)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(store: ResultStore, clock: Clock) -> JobQueue:
    return JobQueue(store, lease_s=LEASE_S, clock=clock)


@pytest.fixture
def leased(queue: JobQueue) -> Grant:
    queue.add("pi", job(1))
    grant = queue.lease("pi", AGENT)
    assert grant is not None
    return grant


def test_jobs_go_out_in_order_one_at_a_time_and_to_their_own_device(queue: JobQueue) -> None:
    for number, device in ((1, "pi"), (2, "other"), (3, "pi")):
        queue.add(device, job(number))
    first = queue.lease("pi", AGENT)
    assert first is not None and first.job == job(1) and first.attempt == 1
    assert queue.lease("pi", "agent-2") is None
    assert queue.report("pi", report_of(first, "r1")).accepted
    second = queue.lease("pi", AGENT)
    assert second is not None and second.job == job(3)


def test_the_database_itself_refuses_a_second_lease_on_a_device(
    queue: JobQueue, leased: Grant, store: ResultStore
) -> None:
    queue.add("pi", job(2))
    engine = sa.create_engine(store.url)
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.text("UPDATE device_jobs SET state = 'leased' WHERE id = 'job-2'"))
    engine.dispose()


def test_a_repeated_upload_is_the_same_upload(queue: JobQueue, leased: Grant, store: ResultStore) -> None:
    report = report_of(leased, "r1")
    assert queue.report("pi", report) == Receipt(accepted=True)
    revision = store.revision()
    assert queue.report("pi", report).accepted
    assert [one.id for one in store.results()] == ["r1"] and store.revision() == revision


def test_a_second_result_of_a_job_is_not_counted(
    queue: JobQueue, leased: Grant, store: ResultStore
) -> None:
    assert queue.report("pi", report_of(leased, "r1")).accepted
    again = queue.report("pi", report_of(leased, "r2"))
    assert not again.accepted and again.why == "the job is done already"
    assert [one.id for one in store.results()] == ["r1"]


def test_a_late_result_of_an_expired_lease_counts_once(
    queue: JobQueue, leased: Grant, clock: Clock, store: ResultStore
) -> None:
    clock.now += LEASE_S + 1
    assert not queue.renew("pi", leased.job.id, leased.lease)
    assert queue.entry("job-1").state == "queued"
    assert queue.report("pi", report_of(leased, "late")).accepted
    assert queue.lease("pi", AGENT) is None
    assert [one.id for one in store.results()] == ["late"]


def test_an_agent_that_asks_again_has_lost_what_it_held(queue: JobQueue, leased: Grant) -> None:
    again = queue.lease("pi", AGENT)
    assert again is not None and again.job == leased.job and again.attempt == 2
    assert not queue.renew("pi", leased.job.id, leased.lease)
    assert queue.renew("pi", again.job.id, again.lease)
    # Another one that has the same token has lost nothing, and waits.
    assert queue.lease("pi", "agent-2") is None


def test_a_heartbeat_keeps_the_lease(queue: JobQueue, leased: Grant, clock: Clock) -> None:
    for _ in range(5):
        clock.now += LEASE_S * 0.9
        assert queue.renew("pi", leased.job.id, leased.lease)
    assert queue.entry("job-1").state == "leased"


def test_a_job_that_ends_every_device_that_takes_it_fails_and_says_so(
    queue: JobQueue, clock: Clock, store: ResultStore
) -> None:
    queue.add("pi", job(1))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        grant = queue.lease("pi", AGENT)
        assert grant is not None and grant.attempt == attempt
        clock.now += LEASE_S + 1
    entry = queue.entry("job-1")
    assert entry.state == "failed" and entry.failure is not None
    assert f"took the job {MAX_ATTEMPTS} times" in entry.failure.message
    assert entry.failure.error().status == 5
    assert queue.lease("pi", AGENT) is None
    # Its result may still come, and is better than none.
    assert grant is not None and queue.report("pi", report_of(grant, "late")).accepted
    assert queue.entry("job-1").state == "done" and queue.entry("job-1").failure is None


def test_a_lease_given_back_on_purpose_costs_no_attempt(queue: JobQueue, leased: Grant) -> None:
    for _ in range(2 * MAX_ATTEMPTS):
        assert queue.release("pi", AGENT)
        again = queue.lease("pi", AGENT)
        assert again is not None and again.attempt == 1
    assert queue.release("pi", AGENT) and not queue.release("pi", AGENT)


def test_a_failure_told_by_the_device_is_the_answer(queue: JobQueue, leased: Grant) -> None:
    assert queue.report("pi", failure_of(leased, "f1")).accepted
    entry = queue.entry("job-1")
    assert entry.state == "failed" and entry.failure == Failure(kind="InvalidModel", message="no model")
    assert queue.lease("pi", AGENT) is None


def test_the_same_work_is_queued_once_while_it_is_open(queue: JobQueue) -> None:
    assert queue.add("pi", job(1)) == job(1)
    twin = replace(job(1), id="twin")
    assert queue.add("pi", twin).id == "job-1"
    assert queue.add("other", twin).id == "twin"
    assert queue.add("pi", replace(job(1, threads=2), id="two-threads")).id == "two-threads"
    queue.cancel("job-1")
    assert queue.add("pi", replace(job(1), id="again")).id == "again"


def test_a_cancelled_job_takes_no_result(queue: JobQueue, leased: Grant, store: ResultStore) -> None:
    assert queue.cancel("job-1").state == "cancelled"
    assert not queue.renew("pi", leased.job.id, leased.lease)
    assert not queue.report("pi", report_of(leased, "r1")).accepted
    assert store.results() == []
    with pytest.raises(ConfigError, match="cancelled already"):
        queue.cancel("job-1")


def test_results_of_other_files_devices_and_jobs_are_refused(queue: JobQueue, leased: Grant) -> None:
    with pytest.raises(ConfigError, match="of device 'other', not of 'pi'"):
        queue.report("pi", report_of(leased, "r", device="other"))
    wrong_file = replace(result_of(leased.job, "r"), digest="f" * 64)
    with pytest.raises(ConfigError, match="of the file ffff"):
        queue.report("pi", replace(report_of(leased, "r"), result=wrong_file))
    with pytest.raises(ConfigError, match="has no job 'job-1'"):
        queue.report("other", report_of(leased, "r", device="other"))
    with pytest.raises(ConfigError, match="there is no job 'nothing'"):
        queue.entry("nothing")


def test_nothing_is_stored_if_the_result_cannot_be(
    queue: JobQueue, leased: Grant, store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(store, "add", full)
        with pytest.raises(OSError, match="no space left"):
            queue.report("pi", report_of(leased, "r1"))
    assert queue.entry("job-1").state == "leased"
    assert queue.report("pi", report_of(leased, "r1")).accepted


def test_looking_at_what_stands_writes_nothing(store: ResultStore, tmp_path: Path, clock: Clock) -> None:
    def bytes_now() -> bytes:
        # The database and what is not merged into it yet.
        files = (file for name in ("store.sqlite", "store.sqlite-wal") for file in tmp_path.rglob(name))
        return b"".join(file.read_bytes() for file in files)

    store.revision()
    before = bytes_now()
    assert before
    assert standing(store, clock=clock) == []
    assert bytes_now() == before, "no table is made"
    queue = JobQueue(store, lease_s=LEASE_S, clock=clock)
    queue.add("pi", job(1))
    queue.lease("pi", AGENT)
    clock.now += LEASE_S + 1
    before = bytes_now()
    assert [one.state for one in standing(store, clock=clock)] == ["queued"], "its lease has expired"
    assert bytes_now() == before


def test_what_stands_is_the_last_end_and_what_has_none_of_each_device(
    queue: JobQueue, store: ResultStore, clock: Clock
) -> None:
    for number, device in ((1, "pi"), (2, "pi"), (3, "pi"), (4, "pi"), (5, "phone")):
        queue.add(device, job(number))
    for identity in ("r1", "r2"):
        clock.now += 1
        grant = queue.lease("pi", AGENT)
        assert grant is not None
        queue.report("pi", report_of(grant, identity))
    queue.lease("pi", AGENT)
    told = [(one.device, one.job.id, one.state) for one in standing(store, clock=clock)]
    assert told == [
        ("pi", "job-2", "done"),
        ("pi", "job-3", "leased"),
        ("pi", "job-4", "queued"),
        ("phone", "job-5", "queued"),
    ]


class Machine(RuleBasedStateMachine):
    """Devices, leases and uploads in any order, the controller restarting in between.

    The model beside it is what may be relied on: each job's one accepted report, and which jobs ended.
    """

    grants: Bundle[tuple[str, Grant]] = Bundle("grants")
    sent: Bundle[tuple[str, Report]] = Bundle("sent")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.numbers: Iterator[int] = iter(range(10_000))
        self.accepted: dict[str, str] = {}
        self.measured: set[str] = set()
        self.added: set[str] = set()
        self.cancelled: set[str] = set()
        self.open()

    def open(self) -> None:
        self.store = ResultStore(f"sqlite:///{Path(self.folder.name) / 'store.sqlite'}")
        self.queue = JobQueue(self.store, lease_s=LEASE_S, clock=self.clock)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    @rule(device=st.sampled_from(["pi", "phone"]))
    def add(self, device: str) -> None:
        added = self.queue.add(device, job(next(self.numbers)))
        self.added.add(added.id)

    @rule(device=st.sampled_from(["pi", "phone"]), holder=st.sampled_from("ab"), target=grants)
    def lease(self, device: str, holder: str) -> object:
        grant = self.queue.lease(device, holder)
        return multiple() if grant is None else (device, grant)

    @rule(pair=grants)
    def beat(self, pair: tuple[str, Grant]) -> None:
        device, grant = pair
        held = self.queue.renew(device, grant.job.id, grant.lease)
        assert not (held and grant.job.id in self.accepted | dict.fromkeys(self.cancelled))

    @rule(seconds=st.sampled_from([1.0, LEASE_S / 2, LEASE_S + 1]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(device=st.sampled_from(["pi", "phone"]), holder=st.sampled_from("ab"))
    def release(self, device: str, holder: str) -> None:
        self.queue.release(device, holder)

    @rule(pair=grants, fails=st.booleans(), target=sent)
    def send(self, pair: tuple[str, Grant], fails: bool) -> tuple[str, Report]:
        device, grant = pair
        identity = f"report-{next(self.numbers)}"
        report = failure_of(grant, identity) if fails else report_of(grant, identity, device)
        self.deliver((device, report))
        return device, report

    @rule(pair=sent)
    def deliver(self, pair: tuple[str, Report]) -> None:
        device, report = pair
        receipt = self.queue.report(device, report)
        if receipt.accepted:
            assert self.accepted.setdefault(report.job, report.id) == report.id
            assert report.job not in self.cancelled
            if report.result:
                self.measured.add(report.id)
        else:
            ended = self.queue.entry(report.job)
            assert ended.state not in ("queued", "leased") and ended.report != report.id

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        waiting = [one.job.id for one in self.queue.entries() if one.state in ("queued", "leased")]
        if waiting:
            chosen = data.draw(st.sampled_from(waiting))
            self.queue.cancel(chosen)
            self.cancelled.add(chosen)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.open()

    @invariant()
    def no_job_is_lost_and_no_result_counted_twice(self) -> None:
        if not hasattr(self, "queue"):
            return
        seen = standing(self.store, clock=self.clock)
        entries = self.queue.entries()
        assert [one for one in seen if one.state in OPEN] == [one for one in entries if one.state in OPEN]
        assert {one.job.id for one in entries} == self.added
        stored = [one.id for one in self.store.results()]
        assert len(stored) == len(set(stored)) and set(stored) == self.measured
        assert {one.report for one in entries if one.state == "done"} == self.measured
        for entry in entries:
            assert entry.attempts <= MAX_ATTEMPTS
            assert entry.report == self.accepted.get(entry.job.id)
            assert (entry.state == "cancelled") == (entry.job.id in self.cancelled)
        for device in ("pi", "phone"):
            assert sum(one.state == "leased" for one in entries if one.device == device) <= 1


Machine.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestQueueMachine = Machine.TestCase
