"""Solvers and schedules calibrated on the teacher's own trajectories."""
