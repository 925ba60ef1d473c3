"""What this machine does in how much time and memory: one row a job, each in a process of its own.

    report = motif.bench.bench(quick=True)
    print(report.text())

Where a row has a plain implementation, written as the published code is, the two take turns in the same run.
"""

from motif.bench.run import bench

__all__ = ["bench"]
