"""Gatehouse while its surroundings fail: processes that are killed, stores that vanish, full disks, wrong clocks, lost answers."""
