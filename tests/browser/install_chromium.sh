#!/bin/sh
# Chromium for the browser tests: the one on PATH, else Debian's package, else Playwright's own build.
set -eu
if command -v "${CARS_CHROMIUM:-chromium}" >/dev/null 2>&1; then exit 0; fi
if command -v apt-get >/dev/null 2>&1; then
    SUDO=""
    if [ "$(id -u)" != 0 ]; then
        SUDO="sudo -n"
    fi
    if $SUDO apt-get update -qq && $SUDO apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; then
        exit 0
    fi
fi
.venv/bin/python -m playwright install chromium || {
    echo "No Chromium for the browser tests. Install one and set CARS_CHROMIUM to its path." >&2
    exit 1
}
