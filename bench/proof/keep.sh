#!/usr/bin/env bash
# keep.sh STORE FILE.tar.xz: what is small of a store: manifests, metrics, scores, completions, logs.
set -euo pipefail
target=$(realpath "$2")
cd "$1"
tar cJf "$target" --exclude='*.parquet' --exclude=checkpoints --exclude='*.safetensors' --exclude='*.gguf' \
  --exclude=tokenizer.json --exclude='*.html' --exclude=outputs/prepare --exclude='outputs/.*' outputs lanes loops 2> /dev/null || [ -s "$target" ]
