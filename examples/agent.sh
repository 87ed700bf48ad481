#!/bin/sh
# An agent in plain shell that knows nothing of Stateward. It does its steps one after the other,
# remembers them in a file, and is killed half-way at its first attempt. Try it:
#
#   stateward run --state memory.json --restart always -- examples/agent.sh memory.json
#
# STEPS is how many there are (6), PAUSE how long one takes in seconds (0.3).
set -eu
memory=${1:-memory.json}
steps=${STEPS:-6}

done=
if [ -e "$memory" ]; then
    done=$(sed -n 's/.*\[\(.*\)\].*/\1/p' "$memory" | tr -d ' ')
fi
last=${done##*,}
last=${last:-0}
echo "attempt ${STATEWARD_ATTEMPT:-1}: goes on after step $last"

while [ "$last" -lt "$steps" ]; do
    sleep "${PAUSE:-0.3}"
    last=$((last + 1))
    done=${done:+$done,}$last
    echo "  step $last"
    # Written beside it and renamed: whoever reads the memory finds the old one or the new one.
    printf '{"done":[%s]}\n' "$done" > "$memory.new"
    mv "$memory.new" "$memory"
    if [ "$last" -eq $((steps / 2)) ] && [ "${STATEWARD_ATTEMPT:-1}" = 1 ]; then
        echo "  killed"
        kill -9 $$
    fi
done
echo "did $done"
