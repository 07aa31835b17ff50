# Sourced by the `run` scripts beside it: logs in as an openrc file says, and asks Picasso's API.
# shellcheck shell=bash
#
# What an example makes in the project is taken away again when its script ends, whatever the end.
# Tokens and passwords go through files and pipes: arguments of processes are public.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
kept=$(mktemp -d)
# What end_all undoes, the latest first.
undo=()

say() { printf '%s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

end_all() {
    local status=$? index
    set +e
    for ((index = ${#undo[@]} - 1; index >= 0; index--)); do ${undo[index]} >/dev/null 2>&1; done
    rm -rf "$kept"
    exit "$status"
}
trap end_all EXIT

# A token of the user in OS_*, for curl; sets project, api and auth_url.
log_in() {
    : "${OS_AUTH_URL:?source an openrc file first}" "${OS_USERNAME:?}" "${OS_PASSWORD:?}" "${OS_PROJECT_NAME:?}"
    auth_url=$OS_AUTH_URL
    local answer
    answer=$(
        jq -n '{auth: {identity: {methods: ["password"], password: {user: {
                 name: env.OS_USERNAME, password: env.OS_PASSWORD, domain: {name: env.OS_USER_DOMAIN_NAME}}}},
                 scope: {project: {name: env.OS_PROJECT_NAME, domain: {name: env.OS_PROJECT_DOMAIN_NAME}}}}}' |
            (umask 077 && curl -sS -D "$kept/head" -H 'Content-Type: application/json' --data @- "$auth_url/auth/tokens")
    )
    (umask 077 && sed -n 's/^X-Subject-Token: \([^[:space:]]*\)[[:space:]]*$/\1/Ip' "$kept/head" >"$kept/token" &&
        printf 'header = "X-Auth-Token: %s"\n' "$(cat "$kept/token")" >"$kept/curl")
    project=$(jq -er '.token.project.id' <<<"$answer") || die "Keystone gave no token: $answer"
    api=$(jq -er '[.token.catalog[] | select(.type == "functions") | .endpoints[] | select(.interface == "public").url][0]' \
        <<<"$answer") || die "the catalog has no service of the type functions"
}

# One request: METHOD PATH [BODY], the body as text or as @FILE. Prints the answer.
api() {
    local body=() status
    [[ $# -lt 3 ]] || body=(-H 'Content-Type: application/json' --data-binary "$3")
    status=$(curl -sS --config "$kept/curl" -X "$1" "${body[@]}" -o "$kept/answer" -w '%{http_code}' "$api$2")
    [[ $status -lt 400 ]] || die "$1 $2: $status: $(cat "$kept/answer")"
    cat "$kept/answer"
}

# Makes the image of examples/openstack/NAME and hands it over; sets image.
upload_image() {
    local archive
    archive=$("$root/scripts/example-image" "openstack/$1")
    image=example-$1-$$:1
    curl -sS --fail-with-body --config "$kept/curl" -X PUT -H 'Content-Type: application/x-tar' \
        --data-binary "@$archive" "$api/v1/$project/images/$image" >"$kept/answer" ||
        die "the image was not taken: $(cat "$kept/answer")"
    undo+=("api DELETE /v1/$project/images/$image")
}

# Makes an app with one route, /run: NAME ROUTE-FIELDS-IN-JSON; sets app and route_id.
make_function() {
    app=$(api POST "/v1/$project/apps" "{\"app\": {\"name\": \"$1\"}}" | jq -r .app.name)
    undo+=("api DELETE /v1/$project/apps/$app")
    local route
    route=$(jq -n --arg image "$image" --argjson fields "$2" '{route: ({
        path: "/run", image: $image, type: "sync", is_public: false, memory: 256, timeout: 120, config: {}} + $fields)}')
    route_id=$(api POST "/v1/$project/apps/$app/routes" "$route" | jq -r .route.id)
    undo+=("api DELETE /v1/$project/apps/$app/routes/run")
}

# Calls the function with a body (text or @FILE) and prints what it printed.
call_function() {
    api POST "/v1/r/$project/$app/run" "$1" | jq -r .result
}

# Makes a trigger of this function: NAME KIND OPTIONS-IN-JSON; leaves the answer in $kept/trigger.
make_trigger() {
    (umask 077 && api POST "/v1/$project/triggers" "$(jq -n --arg name "$1" --arg app "$app" --arg kind "$2" \
        --argjson options "$3" '{trigger: {name: $name, app: $app, route: "/run", kind: $kind, options: $options}}')" \
        >"$kept/trigger")
    undo+=("api DELETE /v1/$project/triggers/$1")
}

# Waits until a trigger has made a call and the call has ended; sets call. TRIGGER [HOW-MANY-EARLIER-CALLS]
await_call() {
    local earlier=${2:-0} deadline=$((SECONDS + 120)) status=
    call=
    until [[ -n $call ]]; do
        call=$(api GET "/v1/$project/triggers/$1/firings" |
            jq -r --argjson n "$earlier" '[.firings[] | select(.outcome == "accepted").call_id] | reverse | .[$n] // empty')
        [[ $SECONDS -lt $deadline ]] || die "nothing made the trigger $1 fire: $(api GET "/v1/$project/triggers/$1/firings")"
        [[ -n $call ]] || sleep 0.2
    done
    until [[ $status == succeeded || $status == failed ]]; do
        status=$(api GET "/v1/$project/calls/$call" | jq -r .call.status)
        [[ $SECONDS -lt $deadline ]] || die "the call $call does not end; it is $status"
        [[ $status == succeeded || $status == failed ]] || sleep 0.2
    done
    [[ $status == succeeded ]] || die "the function failed: $(api GET "/v1/$project/calls/$call") $(call_log)"
}

# What the function wrote to its log in that call.
call_log() {
    api GET "/v1/$project/calls/$call/log"
}

# What the function answered in that call.
call_answer() {
    api GET "/v1/$project/calls/$call/result?raw=true"
}
