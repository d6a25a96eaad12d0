#!/usr/bin/env bash
# Installs the real programs that the tests talk to (Debian 12 or alike), and
# keeps their services from starting. Says what is missing where it may not install.
set -euo pipefail

packages=(
  kamailio kamailio-presence-modules kamailio-xml-modules kamailio-sqlite-modules sqlite3 sip-tester
  baresip-core linphone-cli snmpd snmp snmpsim chromium libxml2-utils fuse3 procps iproute2
)

missing=()
for p in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null || true) == ii* ]] || missing+=("$p")
done
if ((${#missing[@]} == 0)); then
  echo "tools: all ${#packages[@]} packages present"
  exit 0
fi
if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 ]]; then
  echo "tools: missing ${missing[*]}; install them, or run this as root on Debian" >&2
  [[ ${CI:-} == true ]] && exit 1
  exit 0
fi

# policy-rc.d answers "do not start" for every service while we install.
policy=/usr/sbin/policy-rc.d
saved=
if [[ -e $policy ]]; then saved=$(mktemp); cp -p "$policy" "$saved"; fi
restore() { if [[ -n $saved ]]; then mv "$saved" "$policy"; else rm -f "$policy"; fi; }
trap restore EXIT
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"
export DEBIAN_FRONTEND=noninteractive TMPDIR=/var/tmp
apt-get -qq update
apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
echo "tools: installed ${missing[*]}"
