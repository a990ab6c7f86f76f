"""Rows per second of the simulator on one core.

OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 taskset -c 0 env PYTHONPATH=. python benchmarks/bench_simulator.py
"""

import argparse
import time

from ml_project.simulator import simulate


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how many transactions the simulator makes per second.")
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows per repeat (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="the best one counts (default: %(default)s)")
    parser.add_argument("--chunk-rows", type=int, default=100_000, help="rows per chunk (default: %(default)s)")
    arguments = parser.parse_args()
    for _ in simulate(1_000):
        pass
    seconds = []
    for seed in range(arguments.repeats):
        begun = time.perf_counter()
        for _ in simulate(arguments.rows, seed=seed, chunk_rows=arguments.chunk_rows):
            pass
        seconds.append(time.perf_counter() - begun)
    print(f"{arguments.rows / min(seconds):,.0f} rows/s (best of {arguments.repeats} x {arguments.rows:,} rows)")


if __name__ == "__main__":
    main()
