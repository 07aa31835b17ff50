# Sourced by run and stop: what of `make run` is running.
# shellcheck shell=bash

run=$root/.run
picasso=$root/target/release/picasso

# The process id of the server that `make run` started, if it runs.
server_pid() {
    local pid
    pid=$(cat "$run/picasso.pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ ]] || return 1
    # A number may have gone to another process since: its command line must be ours.
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$run/picasso.toml" || return 1
    printf '%s\n' "$pid"
}

# Whether the running server was started from the binary that stands there now.
server_is_current() {
    local pid=$1
    [[ $(as_root readlink "/proc/$pid/exe") == "$picasso" && $run/picasso.toml -ot $run/picasso.pid ]]
}

stop_server() {
    local pid=$1 waited=0
    as_root kill -TERM "$pid" 2>/dev/null || true
    while [[ -d /proc/$pid ]] && ! grep -qs '^State:.*Z' "/proc/$pid/status"; do
        sleep 0.1
        waited=$((waited + 1))
        # The grace time of calls, and some more.
        if [[ $waited -eq 400 ]]; then
            note "it did not end in 40 s and is killed"
            as_root kill -KILL "$pid" 2>/dev/null || true
        fi
        [[ $waited -lt 500 ]] || fail "process $pid does not end"
    done
    rm -f "$run/picasso.pid"
}
