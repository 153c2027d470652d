#!/bin/bash
# Fetch and models side by side: two drivers on one cluster, one run folder. Ends when both have ended.
#   both_legs.sh RECIPE [--set key=value ...]
# If fetch ends without having done all (exit code 1), models is stopped in good order: it would wait for units that
# do not come. The same command again goes on where both were.
set -u

autorecap run "$@" --leg fetch &
fetch=$!
autorecap run "$@" --leg models --follow &
models=$!
trap 'kill -TERM "$fetch" "$models" 2>/dev/null' TERM INT

wait "$fetch"
status=$?
if [ "$status" -ne 0 ]; then
    kill -TERM "$models" 2>/dev/null
    wait "$models"
    exit "$status"
fi
wait "$models"
