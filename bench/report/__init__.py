"""What comes out of a run: ranked tables and figures, from records alone and without torch."""

from __future__ import annotations

from bench.report.write import Report, write_report

__all__ = ["Report", "write_report"]
