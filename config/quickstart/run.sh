#!/usr/bin/env bash
# The quick start: InfluxDB, heliograf with its embedded broker, and simulated devices on loopback. A database that is there already
# is used as it is; a port that something else holds is left alone and another one is taken. Ctrl-C ends what was started
# here, devices first and the database last, and nothing else.
#
# usage: config/quickstart/run.sh [HELIOGRAF]. In the environment:
# HELIOGRAF_MQTT_PORT (1883), HELIOGRAF_INFLUX_PORT (8086), HELIOGRAF_STATUS_PORT (9884), HELIOGRAF_RUN_DIRECTORY (build/run),
# HELIOGRAF (build/release/heliograf), PYTHON (/usr/bin/python3).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

here=config/quickstart
heliograf=${1:-${HELIOGRAF:-build/release/heliograf}}
python=${PYTHON:-/usr/bin/python3}
mqtt_port=${HELIOGRAF_MQTT_PORT:-1883}
influx_port=${HELIOGRAF_INFLUX_PORT:-8086}
status_port=${HELIOGRAF_STATUS_PORT:-9884}
run=${HELIOGRAF_RUN_DIRECTORY:-build/run}
export HELIOGRAF_RUN_DIRECTORY=$run

names=() # of what was started here, in order
pids=()

say() { printf '%s\n' "$*"; }
die() {
    printf 'quick start: %s\n' "$*" >&2
    exit 1
}

tail_of() { # name
    printf -- '--- the end of %s/%s.log:\n' "$run" "$1" >&2
    tail -n 20 "$run/$1.log" >&2
}

start() { # name command...
    local name=$1
    shift
    # In a session of its own, so that a Ctrl-C in the terminal reaches this script alone; without the lock's descriptor.
    setsid "$@" </dev/null >"$run/$name.log" 2>&1 9>&- &
    names+=("$name")
    pids+=($!)
}

# Asks one process to end, and insists after 20 s. A process that has ended already is no error.
stop() { # name pid
    local patience=200
    kill -TERM "$2" 2>/dev/null || return 0
    while kill -0 "$2" 2>/dev/null; do
        if ((patience-- == 0)); then
            say "$1 did not end within 20 s and is killed."
            kill -KILL "$2" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    wait "$2" 2>/dev/null || true
}

stop_all() {
    local i
    trap '' INT TERM HUP # a second Ctrl-C changes nothing: the end is under way
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        stop "${names[i]}" "${pids[i]}"
    done
    if ((${#pids[@]} > 0)); then say "Ended: ${names[*]}."; fi
}
trap stop_all EXIT
trap 'echo; exit 0' INT
trap 'exit 0' TERM HUP

listening() { # port
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

http_status() { # port path -> the answer's status, or nothing
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout 5 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1"
        printf "GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" "$2" >&3
        read -r _ status _ <&3 && echo "$status"' - "$1" "$2" 2>/dev/null || true
}

influx_usable() { [[ $(http_status "$1" '/query?q=SHOW+DATABASES') == 200 ]]; }
heliograf_ready() { [[ $(http_status "$1" /-/ready) == 200 ]]; }

free_port() { # from -> the next port that nobody listens on
    local port=$1
    while listening "$port"; do
        port=$((port + 1))
        ((port <= 65535)) || die "no free port from $1 on"
    done
    echo "$port"
}

# Polls until the check holds for the port; ends everything when the process has ended or time is up.
await() { # name pid check port seconds
    local tries=$(($5 * 10))
    until "$3" "$4"; do
        if ! kill -0 "$2" 2>/dev/null; then
            tail_of "$1"
            die "$1 ended before it was ready"
        fi
        if ((tries-- == 0)); then
            tail_of "$1"
            die "$1 was not ready within $5 s"
        fi
        sleep 0.1
    done
}

need() { # program package
    command -v "$1" >/dev/null || [[ -x /usr/sbin/$1 ]] || die "$1 is missing: install the package $2, or run 'make deps'"
}

start_influxdb() {
    if listening "$influx_port"; then
        if influx_usable "$influx_port"; then
            say "InfluxDB: the one that answers on 127.0.0.1:$influx_port is used."
            return
        fi
        influx_port=$(free_port $((influx_port + 1)))
        say "InfluxDB: what listens there is none of 1.x without a password; one is started on port $influx_port instead."
    fi
    need influxd influxdb
    mkdir -p "$run/influxdb"
    cat >"$run/influxdb.conf" <<END
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = "$run/influxdb/meta"
[data]
  dir = "$run/influxdb/data"
  wal-dir = "$run/influxdb/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[subscriber]
  enabled = false
[continuous_queries]
  enabled = false
[http]
  bind-address = "127.0.0.1:$influx_port"
  log-enabled = false
END
    start influxdb influxd -config "$run/influxdb.conf"
    await influxdb "${pids[-1]}" influx_usable "$influx_port" 60
}

# The embedded broker needs a port of its own. One that was asked for by name is not exchanged for another.
choose_mqtt_port() {
    listening "$mqtt_port" || return 0
    if [[ -n ${HELIOGRAF_MQTT_PORT:-} ]]; then
        die "something listens on port $mqtt_port already, most likely another broker: end it, or choose another port with HELIOGRAF_MQTT_PORT"
    fi
    mqtt_port=$(free_port $((mqtt_port + 1)))
    say "MQTT: something listens on port 1883 already, most likely a broker of yours. It is left alone, and heliograf's own takes port $mqtt_port;"
    say "      HELIOGRAF_MQTT_PORT=PORT chooses another one. To collect from a broker that is there, begin with config/examples/sidecar.yaml."
}

start_heliograf() {
    if listening "$status_port"; then
        status_port=$(free_port $((status_port + 1)))
        say "heliograf: the status port is taken; $status_port is used instead (HELIOGRAF_STATUS_PORT)."
    fi
    export HELIOGRAF_MQTT_PORT=$mqtt_port HELIOGRAF_INFLUX_PORT=$influx_port HELIOGRAF_STATUS_PORT=$status_port
    start heliograf "$heliograf" run --config "$here/heliograf.yaml"
    await heliograf "${pids[-1]}" heliograf_ready "$status_port" 30
}

explain() {
    cat <<END

Heliograf is running. ${#names[@]} processes were started here: ${names[*]}. Their logs are $run/*.log.

  publish a message     $heliograf pub -p $mqtt_port -q 1 -t zigbee2mqtt/desk -m '{"temperature":21.5,"humidity":40}'
  or with any client    mosquitto_pub -p $mqtt_port -q 1 -t zigbee2mqtt/desk -m '{"temperature":22.5,"humidity":41}'
  watch messages        $heliograf sub -p $mqtt_port -t '#' -v
  query the database    influx -host 127.0.0.1 -port $influx_port -database telemetry -execute "SELECT * FROM climate WHERE device = 'desk'"
  all measurements      influx -host 127.0.0.1 -port $influx_port -database telemetry -execute 'SHOW MEASUREMENTS'
  who is online         $heliograf clients list --address 127.0.0.1:$status_port
  who came and went     influx -host 127.0.0.1 -port $influx_port -database telemetry -execute 'SELECT * FROM mqtt_client'
  metrics and status    http://127.0.0.1:$status_port/metrics and http://127.0.0.1:$status_port/
  configuration         $here/heliograf.yaml

Ctrl-C ends it.
END
}

# Until a signal comes or one of the processes ends, which none should.
watch() {
    local ended code=0 i
    wait -n -p ended "${pids[@]}" || code=$?
    [[ -n ${ended:-} ]] || return 0
    for i in "${!pids[@]}"; do
        if [[ ${pids[i]} == "$ended" ]]; then
            tail_of "${names[i]}"
            die "${names[i]} ended with code $code"
        fi
    done
}

[[ -x $heliograf ]] || die "$heliograf is not there: run 'make' first"
need influx influxdb-client
"$python" -c 'import paho.mqtt.client' 2>/dev/null || die "$python has no paho.mqtt: install the package python3-paho-mqtt, or run 'make deps'"
PATH=$PATH:/usr/sbin
mkdir -p "$run"
exec 9>"$run/lock"
flock -n 9 || die "another quick start is running in $run"

choose_mqtt_port
start_influxdb
start_heliograf
start devices "$python" "$here/devices.py" --broker "127.0.0.1:$mqtt_port" --interval "${HELIOGRAF_DEVICES_INTERVAL:-1}"
explain
while :; do watch; done
