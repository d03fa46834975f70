#!/bin/sh
# ./benchmark.sh [CONCURRENCY] [ENDPOINT]: how fast a running service answers; photos from IMG_DIR, if that is set.
set -eu
command=embedding-calculator
here=$(dirname "$0")/.venv/bin/embedding-calculator
if [ -x "$here" ]; then command=$here; fi
exec "$command" benchmark "${2:-http://localhost:3000/scan_faces}" --concurrency "${1:-1}" \
    --duration "${DURATION:-10}" ${IMG_DIR:+--photos "$IMG_DIR"}
