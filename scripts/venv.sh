# shellcheck shell=bash
# Making Python environments of pinned packages; sourced by the scripts that own one each.

python_with_venv() {
    local python
    for python in "${PYTHON:-}" /usr/bin/python3 python3; do
        if [[ -n $python ]] && "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$python"
            return
        fi
    done
    echo "$name: no Python 3 with the venv module was found" >&2
    echo "hint: apt-get install python3-venv" >&2
    return 1
}

# The packages PACKAGE... at their pinned versions.
# usage: install_into NAME DIR CONSTRAINTS PACKAGE...
install_into() {
    local name=$1 dir=$2 constraints=$3
    shift 3
    # The lock belongs to this script alone, not to what it starts.
    if ! "$dir/bin/pip" install --quiet --quiet --disable-pip-version-check \
        --constraint "$constraints" "$@" 9>&- >&2; then
        echo "$name: pip could not install $*" >&2
        echo "hint: PyPI (or the index in pip's configuration) must be reachable once" >&2
        return 1
    fi
}

# usage: make_venv NAME DIR CONSTRAINTS PACKAGE...
#
# Makes the environment DIR where it is not complete, and prints the folder. Safe to run as often
# as wanted and from several processes at once; takes milliseconds when nothing is to be done.
make_venv() {
    local name=$1 dir=$2 constraints=$3 wanted python
    shift 3
    mkdir -p "$(dirname "$dir")"
    dir=$(cd "$(dirname "$dir")" && pwd)/$(basename "$dir")
    # What the environment was made from; a change of any of it makes it anew.
    wanted=$({ printf '%s\n' "$dir" "$@"; cat "$constraints"; } | sha256sum | cut -d' ' -f1)

    is_complete() {
        [[ -x $dir/bin/python && -f $dir/.complete && $(<"$dir/.complete") == "$wanted" ]]
    }

    if ! is_complete; then
        exec 9>"$dir.lock"
        flock 9
        if ! is_complete; then
            if [[ -e $dir && ! -f $dir/pyvenv.cfg && -n $(ls -A "$dir") ]]; then
                echo "$name: $dir is there and is no Python environment; it was left alone" >&2
                echo "hint: name another folder, or remove this one" >&2
                return 1
            fi
            python=$(python_with_venv)
            echo "$name: making $dir (about a minute, once)" >&2
            rm -rf "$dir"
            "$python" -m venv "$dir" 9>&-
            install_into "$name" "$dir" "$constraints" "$@"
            printf '%s\n' "$wanted" >"$dir/.complete"
        fi
        exec 9>&-
    fi
    printf '%s\n' "$dir"
}

# usage: add_to_venv NAME DIR GROUP CONSTRAINTS PACKAGE...
#
# Adds the packages of GROUP to an environment that make_venv made, once; as safe to repeat.
add_to_venv() {
    local name=$1 dir=$2 group=$3 constraints=$4 wanted
    shift 4
    # make_venv makes the folder anew when its own packages or a version change, and this mark goes with it.
    wanted=$({ printf '%s\n' "$@"; cat "$constraints"; } | sha256sum | cut -d' ' -f1)

    has_group() {
        [[ -f $dir/.complete-$group && $(<"$dir/.complete-$group") == "$wanted" ]]
    }

    if ! has_group; then
        exec 9>"$dir.lock"
        flock 9
        if ! has_group; then
            echo "$name: adding the $group to $dir (about a minute, once)" >&2
            install_into "$name" "$dir" "$constraints" "$@"
            printf '%s\n' "$wanted" >"$dir/.complete-$group"
        fi
        exec 9>&-
    fi
}
