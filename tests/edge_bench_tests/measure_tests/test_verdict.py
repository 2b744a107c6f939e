"""Verdicts on scripted blocks, and their sources on a machine laid out in a folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge_bench.documents import from_document, to_document
from edge_bench.measure.clock import MachineClock
from edge_bench.measure.environment import changes, fingerprint
from edge_bench.measure.heat import thermals
from edge_bench.measure.kernel import UNAVAILABLE
from edge_bench.measure.verdict import judge
from edge_bench.measure.witness import Observed, Witness, between, run_delay_ns, witness
from edge_bench.measure.worker import peak_memory_mb
from edge_bench.records import TimingBlock


def blocks(
    count: int, *, latency: int = 1_000_000, off_cpu: float | None = 0.0, spread: int = 0
) -> list[TimingBlock]:
    return [
        TimingBlock(
            latencies_ns=tuple(latency + spread * (index % 5) for _ in range(8)),
            counted=True,
            off_cpu=off_cpu,
        )
        for index in range(count)
    ]


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def machine(root: Path, *, waited: int, steal: int, throttled: int, khz: int) -> Path:
    cpu = "sys/devices/system/cpu/cpu0"
    return lay_out(
        root,
        {
            "proc/pressure/cpu": f"some avg10=1.00 avg60=0.50 avg300=0.10 total={waited}\nfull total=0\n",
            "proc/stat": f"cpu  700 0 100 {200 - steal} 0 0 0 {steal} 0 0\ncpu0 1 2 3\n",
            f"{cpu}/thermal_throttle/core_throttle_count": f"{throttled}\n",
            f"{cpu}/cpufreq/scaling_cur_freq": f"{khz}\n",
            f"{cpu}/cpufreq/cpuinfo_max_freq": "2000000\n",
        },
    )


def test_a_quiet_machine_is_clean_and_says_what_it_could_not_see() -> None:
    verdict, cause = judge(blocks(12), Observed(), precision=0.02)
    assert verdict == "clean"
    assert cause == (
        "p50 is known to ±0.0%; off the CPU 0.0%; unavailable: run delay, pressure, steal, other work, "
        "quota, clock, temperature, throttling"
    )


def test_counted_blocks_that_were_polluted_are_noisy() -> None:
    verdict, cause = judge(blocks(10, off_cpu=0.63), Observed(), precision=0.02)
    assert verdict == "noisy"
    assert "10 of 10 blocks" in cause and "63%" in cause


def test_blocks_measured_again_are_clean_and_told() -> None:
    again = TimingBlock(latencies_ns=(9_000_000,), counted=False, off_cpu=0.9, reason="off the CPU")
    verdict, cause = judge([*blocks(12), again], Observed(pressure=0.2, others=0.0), precision=0.02)
    assert verdict == "clean"
    assert "1 polluted blocks were measured again" in cause and "machine 20.0%" in cause


def test_an_interval_too_wide_is_inconclusive() -> None:
    verdict, cause = judge(blocks(12, spread=100_000), Observed(), precision=0.02)
    assert verdict == "inconclusive"
    assert "not ±2.0%" in cause


def test_too_few_runs_are_inconclusive() -> None:
    few = [TimingBlock(latencies_ns=(10**9,), counted=True, off_cpu=0.0)] * 3
    verdict, cause = judge(few, Observed(), precision=0.02)
    assert (verdict, cause[:6]) == ("inconclusive", "3 runs")


@pytest.mark.parametrize(
    ("observed", "verdict", "words"),
    [
        (Observed(throttled=3), "throttled", "slowed to cool 3 times"),
        (Observed(frequency=0.6), "throttled", "clock fell by 40%"),
        (Observed(steal=0.3), "noisy", "host took 30%"),
        (Observed(others=0.5), "noisy", "other work used 50% of the machine"),
        (Observed(slowed=("the cooling device Processor is at step 2",)), "throttled", "Processor is at"),
        (Observed(headroom_c=0.0, temperatures_c=(60, 85)), "throttled", "point at which it slows"),
        (Observed(headroom_c=-1.0, temperatures_c=(60, 86), slowed=()), "clean", "86 °C (at its limit)"),
        (Observed(quota=0.4), "throttled", "a CPU quota, as containers have, stopped the model for 40%"),
        (Observed(pressure=0.4), "noisy", "some task waited for a CPU for 40%"),
        # How much others worked is known: that tasks waited, perhaps for one another, adds nothing.
        (Observed(pressure=0.9, others=0.02), "clean", "waiting tasks on the machine 90.0%"),
        (Observed(throttled=0, frequency=0.99, clock=0.98), "clean", "clock at 98% of its highest"),
        (Observed(throttled=0, quota=0.0, run_delay=0.01), "clean", "waiting for a CPU 1.0%"),
        (
            Observed(temperatures_c=(48.4, 61.2), headroom_c=23.8),
            "clean",
            "48 to 61 °C (24 °C below its limit)",
        ),
        (Observed(throttled=0), "clean", "not throttled"),
    ],
)
def test_the_kernel_is_heard(observed: Observed, verdict: str, words: str) -> None:
    given, cause = judge(blocks(12), observed, precision=0.02)
    assert given == verdict
    assert words in cause


@pytest.mark.parametrize(
    ("run_delay", "words"),
    [
        (None, "other work kept the model off the CPU in 10 of 10 blocks"),
        (0.6, "other work kept the model off the CPU in 10 of 10 blocks"),
        (
            0.02,
            "the model was off the CPU in 10 of 10 blocks that count, up to 63% of the time, mostly asleep",
        ),
    ],
)
def test_run_delay_tells_waiting_for_a_cpu_from_sleeping(run_delay: float | None, words: str) -> None:
    verdict, cause = judge(blocks(10, off_cpu=0.63), Observed(run_delay=run_delay), precision=0.02)
    assert verdict == "noisy" and words in cause


def test_counters_of_a_machine_are_read_from_proc_and_sys(tmp_path: Path) -> None:
    before = witness(root=machine(tmp_path, waited=1_000_000, steal=0, throttled=5, khz=2_000_000))
    after = witness(root=machine(tmp_path, waited=1_000_000, steal=100, throttled=7, khz=1_000_000))
    assert before.frequency == 1.0 and after.frequency == 0.5
    assert before.throttled == 5 and before.ticks == (200, 0, 1000) and before.pressure_us == 1_000_000
    observed = between(before, after)
    assert (observed.throttled, observed.frequency, observed.clock) == (2, 0.5, 0.5)


def test_run_delay_is_that_of_a_thread_and_a_share_of_wall_time(tmp_path: Path) -> None:
    tasks = {f"proc/self/task/{number}/schedstat": f"900 {number * 100} 7\n" for number in (1, 2)}
    before = replace(witness(root=lay_out(tmp_path, tasks)), at_ns=0)
    assert before.run_delay_ns == 300
    after = replace(before, at_ns=1000, run_delay_ns=700)
    assert between(before, after).run_delay == pytest.approx(0.4)
    assert between(before, after, threads=2).run_delay == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("groups", "counters", "told_us"),
    [
        (
            "0::/pod/one\n",
            {"pod/one": "nr_throttled 3\nthrottled_usec 500\n", "pod": "throttled_usec 70\n"},
            570,
        ),
        ("0::/gone\n", {".": "usage_usec 9\nthrottled_usec 40\n"}, 40),
        (
            "5:memory:/x\n4:cpu,cpuacct:/x\n",
            {"cpu/x": "throttled_time 9000\n", "x": "throttled_usec 1\n"},
            9,
        ),
        ("0::/\n", {".": "usage_usec 9\n"}, None),
    ],
)
def test_quotas_of_control_groups_of_either_version_are_read(
    tmp_path: Path, groups: str, counters: dict[str, str], told_us: int | None
) -> None:
    files = {f"sys/fs/cgroup/{group}/cpu.stat": text for group, text in counters.items()}
    before = replace(witness(root=lay_out(tmp_path, {"proc/self/cgroup": groups, **files})), at_ns=0)
    assert before.quota_us == told_us
    if told_us is not None:
        after = replace(before, at_ns=10**9, quota_us=told_us + 250_000)
        assert between(before, after).quota == pytest.approx(0.25)


def test_zones_tell_temperature_and_what_is_left_to_their_trip_points(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone"
    trips = {
        # A fan's trip point and a broken one limit nothing.
        f"{zone}0/trip_point_0_type": "active\n",
        f"{zone}0/trip_point_0_temp": "40000\n",
        f"{zone}0/trip_point_1_type": "passive\n",
        f"{zone}0/trip_point_1_temp": "85000\n",
        f"{zone}1/trip_point_0_type": "passive\n",
        f"{zone}1/trip_point_0_temp": "0\n",
        f"{zone}1/trip_point_1_type": "hot\n",
        f"{zone}1/trip_point_1_temp": "95000\n",
    }
    lay_out(tmp_path, {**trips, f"{zone}0/temp": "50000\n", f"{zone}1/temp": "55000\n"})
    before = witness(root=tmp_path)
    lay_out(tmp_path, {f"{zone}0/temp": "70000\n", f"{zone}1/temp": "56000\n"})
    observed = between(before, witness(root=tmp_path))
    assert observed.temperatures_c == (55.0, 70.0) and observed.headroom_c == 15.0
    lay_out(tmp_path, {f"{zone}0/temp": "86000\n"})
    verdict, cause = judge(blocks(12), between(before, witness(root=tmp_path)), precision=0.02)
    assert verdict == "throttled" and "55 to 86 °C (at its limit)" in cause


@pytest.mark.parametrize(
    ("files", "slowed"),
    [
        ({}, None),
        ({"cooling_device0/type": "Fan", "cooling_device0/cur_state": "3"}, None),
        ({"cooling_device0/type": "Processor", "cooling_device0/cur_state": "0"}, ()),
        ({"cooling_device0/type": "intel_powerclamp", "cooling_device0/cur_state": "-1"}, ()),
        (
            {"cooling_device1/type": "cpufreq-cpu0", "cooling_device1/cur_state": "2"},
            ("the cooling device cpufreq-cpu0 is at step 2",),
        ),
        ({"get_throttled": "0"}, ()),
        # What happened before (the upper bits) is not what happens now.
        ({"get_throttled": "50000"}, ()),
        (
            {"get_throttled": "50005"},
            ("the supply voltage is low", "the firmware throttles the CPU"),
        ),
    ],
)
def test_what_slows_the_cpu_is_read_from_cooling_devices_and_firmware(
    tmp_path: Path, files: dict[str, str], slowed: tuple[str, ...] | None
) -> None:
    firmware = "sys/devices/platform/soc/soc:firmware"
    folders = {name: firmware if name == "get_throttled" else "sys/class/thermal" for name in files}
    lay_out(tmp_path, {f"{folders[name]}/{name}": f"{text}\n" for name, text in files.items()})
    seen = witness(root=tmp_path)
    assert seen.slowed == slowed
    verdict, cause = judge(blocks(12), between(seen, seen), precision=0.02)
    assert verdict == ("throttled" if slowed else "clean")
    assert ", ".join(slowed or ()) in cause and ("throttling" in cause) == (slowed is None)


def test_what_was_observed_survives_its_document() -> None:
    seen = Observed(steal=0.1, slowed=(), temperatures_c=(40.0, 50.0))
    assert from_document(Observed, to_document(seen)) == seen


def test_shares_are_of_the_time_between_two_readings() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    before = Witness(
        at_ns=0, own_s=0.5, pressure_us=500, ticks=(100, 10, 1000), throttled=None, frequency=None
    )
    after = replace(before, at_ns=10**9, own_s=0.5 + 60 / ticks, pressure_us=250_500, ticks=(180, 30, 1200))
    observed = between(before, after)
    # Of 200 ticks 80 were idle, 20 stolen and 60 our own: 40 were others'.
    assert observed.others == pytest.approx(0.20)
    assert observed.pressure == pytest.approx(0.25)
    assert observed.steal == pytest.approx(0.10)
    assert observed.throttled is None and observed.frequency is None


def test_a_machine_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    reading = witness(root=tmp_path)
    assert between(reading, reading) == Observed()
    facts = fingerprint(root=tmp_path)
    assert facts["governor"] == UNAVAILABLE and facts["container"] == "none"
    assert run_delay_ns(tmp_path / "proc/self/task") is None
    assert MachineClock(2, root=tmp_path).away_ns() is None


def test_the_hottest_zone_and_the_fastest_core_are_told_and_broken_sensors_are_not(tmp_path: Path) -> None:
    assert thermals(root=tmp_path) == (None, None)
    cpus, zones = "sys/devices/system/cpu", "sys/class/thermal/thermal_zone"
    lay_out(
        tmp_path,
        {
            f"{zones}0/temp": "48500\n",
            f"{zones}1/temp": "61200\n",
            f"{zones}2/temp": "-274000\n",
            f"{zones}3/temp": "junk\n",
            f"{cpus}/cpu0/cpufreq/scaling_cur_freq": "1200000\n",
            f"{cpus}/cpu0/cpufreq/cpuinfo_max_freq": "2000000\n",
            f"{cpus}/cpu1/cpufreq/scaling_cur_freq": "1800000\n",
            f"{cpus}/cpu1/cpufreq/cpuinfo_max_freq": "3600000\n",
        },
    )
    assert thermals(root=tmp_path) == (61.2, 1800.0)
    assert witness(root=tmp_path).frequency == 0.6


def test_the_fingerprint_reads_cpu_governor_and_container(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        {
            "proc/cpuinfo": "processor: 0\nmodel name\t: Fast CPU 9000\nflags\t\t: fpu avx2 avx512_vnni\n",
            "proc/1/cgroup": "0::/kubepods/besteffort/pod1\n",
            "etc/os-release": 'NAME=x\nPRETTY_NAME="Some Linux 1"\n',
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        },
    )
    facts = fingerprint(root=tmp_path)
    assert facts["cpu"] == "Fast CPU 9000" and facts["cpu_features"] == ["avx2", "avx512_vnni"]
    assert facts["governor"] == "powersave" and facts["os"] == "Some Linux 1"
    assert facts["container"] == "kubepods"


def test_what_changed_between_two_fingerprints_is_told() -> None:
    assert changes({"cpu": "a", "kernel": "1"}, {"cpu": "a", "kernel": "2", "new": 3}) == {
        "kernel": ("1", "2"),
        "new": (None, 3),
    }


def test_of_several_threads_the_scheduler_tells_how_long_they_waited(tmp_path: Path) -> None:
    tasks = {f"proc/self/task/{number}/schedstat": f"900 {number * 100} 7\n" for number in (1, 2, 3)}
    lay_out(tmp_path, tasks)
    assert MachineClock(3, root=tmp_path).away_ns() == 200


def test_one_thread_is_away_only_while_its_cpu_time_stands_still() -> None:
    clock = MachineClock(1)
    before = clock.away_ns()
    after = clock.away_ns()
    assert before is not None and after is not None and after >= before - 1000


def test_peak_memory_is_the_high_water_mark_of_this_process(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t   50000 kB\nVmRSS:\t 10 kB\n", encoding="ascii")
    assert peak_memory_mb(status) == pytest.approx(51.2)
    assert 5 < peak_memory_mb(tmp_path / "absent") < 100_000
