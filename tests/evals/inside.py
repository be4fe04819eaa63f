"""What runs inside a sandbox as the process that it is, but without the outer wall; run as a program.

python inside.py judge LIMITS    judges the job that waits on descriptor 0, prints the verdict
python inside.py free LIMITS     a server of jobs on descriptor 0
"""

from __future__ import annotations

import json
import os
import socket
import sys

from albor.evals.sandbox.inside.judge import judge
from albor.evals.sandbox.inside.server import main

if __name__ == "__main__":
    if sys.argv[1] == "judge":
        verdict = judge(socket.socket(fileno=os.dup(0)), json.loads(sys.argv[2]), contained=False)
        print(json.dumps(verdict))
    else:
        main()
