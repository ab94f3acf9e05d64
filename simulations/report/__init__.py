"""A run's records as a page, a picture and tables.

``write_report`` reads the folder of a simulation, finished or not, and writes into it
``report.html`` (one self-contained file), ``report.png``, ``results.csv`` and ``results.json``. It
knows records and settings by their shape alone, and imports nothing of what made them.
"""

from __future__ import annotations

from simulations.report.write import Report, write_report

__all__ = ["Report", "write_report"]
