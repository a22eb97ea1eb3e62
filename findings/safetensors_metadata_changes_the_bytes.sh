#!/usr/bin/env bash
# safetensors files may carry metadata, a dict of texts, beside their tensors.
#
# One would guess: the same tensors and the same metadata, saved twice by the same process, give the same bytes, so that a
# file's sha256 can name its content, as caches and lock files of models do.
# What happens: with two or more entries, their order in the header changes from one call to the next. Almost every save
# of five entries has another sha256, in one process and from run to run. Tensors keep their order. With one entry, or
# none, the bytes stay the same: so put everything into one text.
#
# Seen with safetensors 0.8.0, 2026-11-30. Ends with 1 where this changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv v && v/bin/pip install -q safetensors==0.8.0 numpy==2.4.6
v/bin/python - <<'P'
import hashlib
import json
import sys

import numpy as np
from safetensors.numpy import save

tensors = {name: np.arange(4, dtype=np.float32) for name in ("b", "a", "c")}
counts = {}
for size in (0, 1, 5):
    metadata = {f"key {number}": str(number) for number in range(size)} or None
    files = [save(tensors, metadata=metadata) for _ in range(200)]
    counts[size] = len({hashlib.sha256(file).hexdigest() for file in files})
    header = json.loads(files[0][8 : 8 + int.from_bytes(files[0][:8], "little")])
    order = list(header.get("__metadata__", {}))
    print(f"{size} entries, saved 200 times: {counts[size]} different files; the first has them in the order {order}")
sys.exit(not (counts[0] == counts[1] == 1 and counts[5] > 20))
P
