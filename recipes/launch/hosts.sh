#!/usr/bin/env bash
# Run thorax on bare hosts that ssh reaches without a password: one launcher a host.
#
#   recipes/launch/hosts.sh node1,node2 doctor cluster --recipe RECIPE.toml
#   recipes/launch/hosts.sh node1,node2 train RECIPE.toml --data STORE --out RUN [--resume]
#
# All hosts see this folder and those of the command under the same path; the first one leads. A
# host may be user@host: the user is ssh's alone. A host that ssh does not reach is called again. One that is lost later with its launcher ends the
# job within `read_timeout`: run it again with --resume. Ctrl-C ends all.
#
#   RANKS=2                 ranks a host; otherwise one a socket of that host, alike on all
#   GLOO_SOCKET_IFNAME=ib0  network of the gradients; otherwise the one of the host's name
#   PORT=29400              of the first host, where the launchers meet
#   RESTARTS=3              times the ranks are started anew
#   CALLS=30                times a host is called, PAUSE_S=10 seconds apart
#   LAUNCHER=torchrun       with its path where it is not on the hosts' PATH
#   SSH="ssh -tt ..."       how to reach a host; run with its name and one line for its shell
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
IFS=, read -r -a hosts <<<"$1"
shift

read -r -a ssh <<<"${SSH:-ssh -tt -o BatchMode=yes -o ServerAliveInterval=15}"
launcher=${LAUNCHER:-torchrun}
calls=${CALLS:-30}
meeting="$(date +%s)-$$"

# What a host's shell is to run: everything quoted here, sockets counted there.
line_of() {
    local host=${1##*@} leads=$2 first=${hosts[0]##*@} ranks environment=()
    shift 2
    # shellcheck disable=SC2016 # counted on the host
    ranks=${RANKS:-'$(lscpu --parse=SOCKET | grep -v "^#" | sort -u | wc -l)'}
    if [ -n "${GLOO_SOCKET_IFNAME:-}" ]; then
        environment=(env "GLOO_SOCKET_IFNAME=$GLOO_SOCKET_IFNAME")
    fi
    printf 'cd %q && exec' "$PWD"
    printf ' %q' "${environment[@]}" "$launcher" --nnodes "${#hosts[@]}" \
        --rdzv-backend c10d --rdzv-id "$meeting" --rdzv-endpoint "$first:${PORT:-29400}" \
        --rdzv-conf "is_host=$leads,join_timeout=900,read_timeout=300" \
        --local-addr "$host" --max-restarts "${RESTARTS:-3}"
    printf ' --nproc-per-node %s' "$ranks"
    printf ' %q' -m thorax "$@"
}

# ssh answers 255 for itself and what the command answered otherwise.
call() {
    local host=$1 status turn line child
    line=$(line_of "$@")
    trap 'kill "$child" 2>/dev/null || true; exit 143' TERM
    for ((turn = 0; turn < calls; turn++)); do
        "${ssh[@]}" "$host" "$line" </dev/null &
        child=$!
        status=0
        wait "$child" || status=$?
        if [ "$status" -ne 255 ]; then
            return "$status"
        fi
        echo "hosts.sh: $host cannot be reached; it is called again" >&2
        sleep "${PAUSE_S:-10}"
    done
    return 255
}

leads=1
launchers=()
for host in "${hosts[@]}"; do
    call "$host" "$leads" "$@" &
    launchers+=($!)
    leads=0
done

trap 'kill "${launchers[@]}" 2>/dev/null || true; wait; exit 130' INT TERM
for _ in "${launchers[@]}"; do
    status=0
    wait -n || status=$?
    if [ "$status" -ne 0 ]; then
        # The others would wait in vain.
        kill "${launchers[@]}" 2>/dev/null || true
        wait
        exit "$status"
    fi
done
