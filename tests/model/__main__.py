"""``python -m tests.model --seeds N --from S [--switch NAME] [--on NAME]``: run many schedules."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter

from tests.model.schedule import draw, run, script, shrink
from tests.model.switches import BY_NAME


def _one(arguments: tuple[int, str | None, list[str]]) -> tuple[int, str | None]:
    seed, switch, on = arguments
    violation = run(draw(seed, on), BY_NAME[switch] if switch else None)
    return seed, None if violation is None else str(violation)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--switch", choices=sorted(BY_NAME))
    parser.add_argument(
        "--on",
        action="append",
        default=[],
        choices=("topics_change", "resets"),
        help="have this in every schedule; may be given twice",
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep-going", action="store_true", help="count violations, shrink none")
    options = parser.parse_args()
    began = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    work = [(seed, options.switch, options.on) for seed in seeds]
    found: Counter[str] = Counter()
    with multiprocessing.Pool(options.jobs) as pool:
        results = (
            pool.imap_unordered(_one, work, chunksize=16) if options.jobs > 1 else map(_one, work)
        )
        for done, (seed, text) in enumerate(results, 1):
            if text is not None:
                found[text.split(":")[0]] += 1
                print(f"seed {seed}: {text[:300]}", flush=True)
                if not options.keep_going:
                    pool.terminate()
                    switch = BY_NAME[options.switch] if options.switch else None
                    print(script(shrink(draw(seed, options.on), switch), switch))
                    return 1
            if done % 1_000 == 0:
                print(
                    f"{done} seeds, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True
                )
    seconds = time.monotonic() - began
    print(
        f"{options.seeds} seeds from {options.first}: {sum(found.values())} violations "
        f"{dict(found)}, {seconds:.0f} s"
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
