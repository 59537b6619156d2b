#!/bin/sh
# Run every stage on a small part of the real data, in a copy of the working tree, and there every
# command that README.md and docs/ tell: the committed results, params.yaml and the MLflow store
# stay as they are. Downloads are shared through the cache.
# Usage: sh tests/smoke.sh [--jobs N]
set -eu
top=$PWD
copy=$top/build/smoke

rm -rf "$copy" "$top/build/retrace-store" "$top/build/colleague"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | xargs -0 tar cf - 2>/dev/null | tar xf - -C "$copy"
if [ -n "${RETRACE_DATA:-}" ]; then
    RETRACE_DATA=$(cd "$RETRACE_DATA" && pwd)
    export RETRACE_DATA
fi
cd "$copy"
dvc cache dir -q --local ../../.dvc/cache  # relative: dvc cannot write every path in every locale
sed -i.orig 's/experiment: report/experiment: smoke/' conf/config.yaml && rm conf/config.yaml.orig
python -m mlcore.config
ln -s ../../.venv .venv
# A repository of its own, for DVC's experiments
git init -q -b main
git config user.name smoke
git config user.email smoke@localhost
git config core.hooksPath /dev/null
git add -A
git commit -q -m smoke

python -m stages "$@"

plan=$(dvc repro --dry 2>&1) || { echo "error: $plan" >&2; exit 1; }
case $plan in *"Running stage"*) echo "error: not all is done: $plan" >&2; exit 1 ;; esac
git add -A
git commit -q -m results  # to which commands that undo something go back
echo "smoke: every stage ran; results in build/smoke"
python tests/commands.py
