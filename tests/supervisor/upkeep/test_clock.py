"""Noticing that the machine slept, from two clocks handed in."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.upkeep.clock import MIN_GAP_S, SleepGap


@dataclass
class Machine:
    """Awake time and elapsed time of a machine that can be told to sleep."""

    awake_s: float = 1_000.0
    elapsed_s: float = 5_000.0

    def run(self, seconds: float) -> None:
        self.awake_s += seconds
        self.elapsed_s += seconds

    def sleep(self, seconds: float) -> None:
        self.elapsed_s += seconds

    def gap(self) -> SleepGap:
        return SleepGap(lambda: self.awake_s, lambda: self.elapsed_s)


def test_the_first_measurement_finds_no_gap_whatever_the_clocks_read() -> None:
    assert Machine().gap().measure() == 0.0


def test_a_machine_that_stays_awake_has_no_gap() -> None:
    machine = Machine()
    gap = machine.gap()
    gap.measure()
    for _ in range(100):
        machine.run(3_600)
        assert gap.measure() == 0.0


def test_a_sleep_is_measured_once() -> None:
    machine = Machine()
    gap = machine.gap()
    gap.measure()
    machine.run(10)
    machine.sleep(7_200)
    machine.run(1)
    assert gap.measure() == 7_200.0
    assert gap.measure() == 0.0


def test_two_sleeps_between_measurements_are_one_gap() -> None:
    machine = Machine()
    gap = machine.gap()
    gap.measure()
    machine.sleep(100)
    machine.run(1)
    machine.sleep(200)
    assert gap.measure() == 300.0


def test_less_than_the_minimum_gap_counts_as_none() -> None:
    machine = Machine()
    gap = machine.gap()
    gap.measure()
    machine.sleep(MIN_GAP_S - 0.1)
    assert gap.measure() == 0.0


def test_a_wall_clock_that_is_set_back_is_no_sleep() -> None:
    machine = Machine()
    gap = machine.gap()
    gap.measure()
    machine.sleep(-3_600)
    assert gap.measure() == 0.0


def test_this_machines_own_clocks_can_be_read() -> None:
    gap = SleepGap()
    assert gap.measure() == gap.measure() == 0.0
