"""Every benchmark that needs no GPU, one after the other, each in a process of its own: python -m benchmarks

Nothing else should run on the machine. A full run takes 25 minutes on two cores and 34 GB of temporary space;
--quick takes four minutes, and writes nothing.
"""

import subprocess
import sys

from benchmarks.table import parser, say

ON_CLIPS = ("engines", "decoding", "end_to_end")
ON_THEIR_OWN = ("start", "scale", "store", "use", "evaluate")


def main() -> int:
    given = parser(__doc__, clips=True).parse_args()
    failed = 0
    for name in (*ON_CLIPS, *ON_THEIR_OWN):
        say(f"\n{name}")
        arguments = ["--quick"] if given.quick else []
        arguments += ["--clips", str(given.clips)] if name in ON_CLIPS else []
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        failed += subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
