#!/bin/sh
# See to it that there is a Chromium for the tests of the page. Where it cannot be installed the
# tests say that it is missing: they fail in CI, and are skipped elsewhere.
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing Chromium for the tests of the page (once; a minute)"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq chromium >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -y -qq chromium; } >/dev/null 2>&1 ||
        echo "could not install Chromium"
else
    echo "no Chromium here, and no right to install it: the tests of the page in a browser do without"
fi
exit 0
