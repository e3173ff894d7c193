#!/usr/bin/env bash
# Installs the Debian packages that building, running the quick start, testing or fuzzing needs. Does nothing when all are
# there. `make deps` and its sisters call this; the lists stand here and nowhere else.
#
# usage: config/deps.sh deps|deps-run|deps-test|deps-fuzz...
set -euo pipefail

build="gcc make pkg-config libc6-dev libpaho-mqtt-dev libcurl4-openssl-dev libcjson-dev libyaml-dev libevent-dev libssl-dev \
libdeflate-dev zlib1g-dev libargon2-dev libsqlite3-dev"
quickstart="influxdb influxdb-client python3 python3-paho-mqtt"
tests="$quickstart mosquitto mosquitto-clients libcmocka-dev victoria-metrics openssl clang nodejs node-mqtt"
fuzzing="clang libclang-rt-dev"

# Servers that Debian would start at every boot once they are installed: here they are started by hand, on other ports.
servers="influxdb mosquitto victoria-metrics"

list_for() { # target
    case $1 in
    deps) echo "$build" ;;
    deps-run) echo "$build $quickstart" ;;
    deps-test) echo "$build $tests" ;;
    deps-fuzz) echo "$build $fuzzing" ;;
    *)
        echo "deps.sh: unknown target '$1'; there is deps, deps-run, deps-test, deps-fuzz" >&2
        exit 64
        ;;
    esac
}

missing() { # package... -> those that are not installed
    # shellcheck disable=SC2016 # dpkg-query expands it
    comm -13 <(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | sed -n 's/ installed$//p' | sort -u) \
        <(printf '%s\n' "$@" | sort -u)
}

without_apt() { # package...
    cat >&2 <<END
This system has no apt-get, so nothing can be installed for you. What is needed, under Debian's names:

  to build      a C11 compiler, GNU make, pkg-config, and the development files of
                Eclipse Paho MQTT C 1.3 with its static archive libpaho-mqtt3as.a (libpaho-mqtt-dev),
                libcurl (libcurl4-openssl-dev), cJSON (libcjson-dev), libyaml (libyaml-dev), libevent 2.1 (libevent-dev),
                OpenSSL (libssl-dev), libdeflate (libdeflate-dev), zlib (zlib1g-dev), SQLite 3.37 or newer (libsqlite3-dev); optional: Argon2 (libargon2-dev)
  to make run   InfluxDB 1.x and its shell (influxdb, influxdb-client), Python 3 with paho-mqtt (python3-paho-mqtt)
  to make check the same, Mosquitto 2 and its clients (mosquitto, mosquitto-clients), cmocka (libcmocka-dev),
                VictoriaMetrics (victoria-metrics), openssl; optional: Node.js with mqtt (nodejs, node-mqtt)
  to make fuzz  clang with libFuzzer (clang, libclang-rt-dev)

Asked for now: $*
When all of it is there, set HELIOGRAF_NO_DEPS=1 and nobody asks again.
END
    exit 1
}

# As root from here on.

no_service_starts() {
    # Whoever has a policy of their own keeps it.
    [[ -e /usr/sbin/policy-rc.d ]] && return
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
}

apt_install() { # package...
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@" </dev/null
}

install_packages() { # package...
    local package
    no_service_starts
    # An index that does not know a package, or names a version that is gone, is too old; any other is good enough.
    if ! apt-cache show "$@" >/dev/null 2>&1 || ! apt_install "$@"; then
        apt-get update </dev/null
        apt_install "$@"
    fi
    command -v systemctl >/dev/null || return 0
    for package; do
        case " $servers " in
        *" $package "*) systemctl disable --quiet "$package" 2>/dev/null || true ;;
        esac
    done
}

main() {
    local packages=() wanted list target
    if [[ ${1:-} == --install ]]; then
        shift
        install_packages "$@"
        return
    fi
    for target in "${@:-deps}"; do
        list=$(list_for "$target")
        read -ra wanted <<<"$list"
        packages+=("${wanted[@]}")
    done
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        # Other systems name their packages in other ways; whoever has prepared one may say so.
        [[ -n ${HELIOGRAF_NO_DEPS:-} ]] || without_apt "${packages[@]}"
        return 0
    fi
    mapfile -t packages < <(missing "${packages[@]}")
    ((${#packages[@]} > 0)) || return 0
    echo "Installing: ${packages[*]}"
    if ((EUID == 0)); then
        install_packages "${packages[@]}"
    elif command -v sudo >/dev/null; then
        sudo -- "$0" --install "${packages[@]}"
    else
        echo "Packages are missing, and there is no sudo. As root: apt-get install ${packages[*]}" >&2
        exit 1
    fi
}

main "$@"
