#!/usr/bin/env bash
# begin.sh CARRIED STORE LANES [OVERRIDE …]: the carried corpus becomes rows, and the lanes begin, detached.
set -euo pipefail
carried=$1 store=$2 lanes=$(realpath "$3")
shift 3
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
python3 -m bench.carry unpack "$carried" "$store"
cd "$store"
python3 -m albor stage=pack data=pypi model=350m data.row_len=2048 inputs.documents="$(echo outputs/prepare/pypi-*)" \
  inputs.tokenizer="$(echo outputs/tokenizer/bpe_32k-*)" tracking=none evals.data_dir=benchmarks "$@"
setsid nohup python3 -m bench.lanes "$lanes" --store . --also tracking=none evals.data_dir=benchmarks "$@" > lanes.log 2>&1 &
