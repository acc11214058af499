#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs in a booted system, as its service leco-check: what LECO's units do there, from the first start to the last
# stop. Says what fails, and how many things did.

failed=0
units=(leco.service leco@1000.service)
second=$(dpkg-deb --field /srv/second.deb Version)

# check WHAT COMMAND…: the command has to succeed.
check() {
	local what=$1
	shift
	if "$@" >/tmp/out 2>&1; then
		echo "ok: $what"
	else
		echo "FAILED: $what"
		sed 's/^/    /' /tmp/out
		failed=$((failed + 1))
	fi
}

# eventually COMMAND…: within ten seconds.
eventually() {
	for _ in {1..50}; do
		"$@" && return
		sleep 0.2
	done
	return 1
}

is() { [ "$1" = "$2" ] || { echo "$1 is not $2"; false; }; }
fails() { ! "$@"; }
running() { systemctl is-active "$@"; }
from_history() { runuser -u me -- leco-tui --once --json --wait 5 --source unix:/run/leco-history.sock; }
from_socket() { runuser -u me -- leco-tui --once --json --wait 5 --source unix:/run/leco.sock; }
from_fifo() { runuser -u me -- env XDG_RUNTIME_DIR=/run/user/1000 leco-tui --once --json --wait 5; }
# Which programs of LECO the kernel runs.
programs() { grep -c 'bpf_prog_.*_send_length' /proc/kallsyms; }
send() { leco-e2e-peer '' udp "127.0.0.1:$1" send "$2"; }
# lists READER PORT BYTES…: one line for each of these connections, with exactly so many bytes sent.
lists() {
	local reader=$1
	shift
	"$reader" >/tmp/lines
	printf '%s %s\n' "$@" >/tmp/wanted
	awk '
		function number(key) { match($0, "\"" key "\":[0-9]+"); return substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) }
		FILENAME == "/tmp/lines" { lines[number("rport") " " number("tx")]++; next }
		lines[$0] != 1 { print $0, "is there", lines[$0] + 0, "times"; failed = 1 }
		END { exit failed }
	' /tmp/lines /tmp/wanted || { cat /tmp/lines; false; }
}
# ns of the connection that outlives everything.
identity() { from_socket | grep '"rport":7777[,}]' | sed 's/.*"ns":\([0-9]*\).*/\1/'; }
property() { systemctl show --property "$1" --value "$2"; }
keeps_descriptors() { [ "$(property NFileDescriptorStore "$1")" -ge 8 ]; }
status_of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$(property MainPID "$1")/status"; }
is_locked_down() {
	is "$(status_of "$1" CapEff)" 0000000000000000 && is "$(status_of "$1" NoNewPrivs)" 1 &&
		is "$(status_of "$1" Seccomp)" 2 && fails is "$(status_of "$1" Uid | cut -f 1)" 0
}

check "the system starts without a failed unit" systemctl is-system-running --wait
check "the services were started with it" running "${units[@]}"
for unit in "${units[@]}"; do
	check "$unit left its descriptors with the service manager" keeps_descriptors "$unit"
	check "$unit has no privileges" is_locked_down "$unit"
done
check "both have programs of their own" is "$(programs)" 2
check "a connection that began with the network is known" lists from_socket 19999 6100
check "nothing waits for itself" fails journalctl --boot --no-pager --output cat --grep 'ordering cycle'

send 20000 6000
check "the socket serves" lists from_socket 20000 6000
check "the fifo serves" lists from_fifo 20000 6000
check "the socket with the history serves" lists from_history 20000 6000
check "the socket is not for others" fails runuser -u other -- test -w /run/leco.sock
check "nor is the fifo" fails runuser -u other -- test -e /run/user/1000/leco.fifo

# A connection that outlives all restarts and the upgrade.
mkfifo /tmp/go
leco-e2e-peer '' accept 127.0.0.1:7777 recv 16000 &
eventually leco-e2e-peer '' tcp 127.0.0.1:7777 send 8000 hold send 8000 </tmp/go 2>/dev/null &
exec 4>/tmp/go
check "a connection is there" eventually lists from_socket 7777 8000

sent=(20000 6000)
for round in 1 2 3 4 5; do
	send "2010$round" "610$round"
	sent+=("2010$round" "610$round")
	systemctl restart "${units[@]}" &
	for number in 0 1 2 3 4 5 6 7 8 9; do
		send "2${round}20$number" 6200
		sent+=("2${round}20$number" 6200)
	done
	wait $!
	check "restart $round" running "${units[@]}"
	for reader in from_socket from_fifo; do
		check "$((${#sent[@]} / 2)) connections are known after it, $reader" lists $reader "${sent[@]}"
	done
done
before=$(identity)

dpkg --install /srv/second.deb >/tmp/dpkg 2>&1 &
for number in 0 1 2 3 4 5 6 7 8 9; do
	send "2720$number" 6300
	sent+=("2720$number" 6300)
done
wait $!
check "the upgrade is installed" is "$(dpkg-query --show --showformat '${Version}' leco)" "$second"
check "the services run on" running "${units[@]}"
said() { journalctl --unit "$1" --no-pager --output cat | grep "$2"; }
for unit in "${units[@]}"; do
	check "$unit runs the second version" said "$unit" '[+]second-.* is loaded'
	check "$unit tells that it replaced the first" said "$unit" '^replaced v'
	check "$unit has forgotten nothing" fails said "$unit" forgotten
	check "$unit could confine itself" fails said "$unit" 'goes on without'
done
check "nothing is left of the first version's programs" is "$(programs)" 2
for reader in from_socket from_fifo; do
	check "$((${#sent[@]} / 2)) connections are known after the upgrade, $reader" lists $reader "${sent[@]}"
done
exec 4>&-
check "a connection goes on through it all" eventually lists from_socket 7777 16000
check "and is still the same" is "$(identity)" "$before"

# What docs/FLEET.md says: a server, its stream, and both relays as units.
from_relay() { runuser -u me -- leco-tui --once --json --wait 5 --source unix:/run/leco-relay.sock; }
relays=(leco-relay-publish.service leco-relay-subscribe.service)
systemd-run --quiet --unit nats nats-server -a 127.0.0.1 -js -sd /tmp/nats --user relay --pass secret
mkdir -p /etc/leco
for relay in publish subscribe; do
	printf 'LECO_NATS=nats://127.0.0.1\nLECO_USER=relay\n' >"/etc/leco/relay-$relay"
	echo secret >"/etc/leco/relay-$relay.password"
	chmod 600 "/etc/leco/relay-$relay.password"
done
check "the stream is made" eventually leco-relay setup --max-bytes 16M --nats nats://127.0.0.1 --user relay --password-file /etc/leco/relay-publish.password
check "the relays start" systemctl start "${relays[@]}"
send 28000 6400
check "a connection comes through the server" eventually lists from_relay 28000 6400
for unit in "${relays[@]}"; do
	check "$unit has no privileges" is_locked_down "$unit"
	check "$unit could confine itself" fails said "$unit" 'goes on without\|Continuing without'
	check "$unit refuses nothing" fails said "$unit" 'refuse\|lost'
done
check "the socket of the relay is not for others" fails runuser -u other -- test -w /run/leco-relay.sock
systemctl kill --signal KILL "${relays[@]}"
send 28001 6500
check "killed, they can be started again" systemctl restart "${relays[@]}"
check "and nothing is lost" eventually lists from_relay 28000 6400 28001 6500
systemctl stop "${relays[@]}" leco-relay.socket nats
check "the relays stop" fails running "${relays[@]}"

systemctl stop "${units[@]}" leco.socket leco-history.socket leco-fifo@1000.service
check "no program is left" is "$(programs)" 0
check "no socket is left" fails test -e /run/leco.sock -o -e /run/leco-history.sock
check "no fifo is left" fails test -e /run/user/1000/leco.fifo
check "no process is left" fails pidof leco-event-pipe leco-ebpf-load
dpkg --purge leco >/tmp/dpkg 2>&1
check "no folder is left of what was seen" fails compgen -G '/var/lib/*/leco*'
check "no group is left" fails getent group leco
check "it can be installed again" dpkg --install /srv/first.deb
check "and starts nothing by itself" fails running "${units[@]}"
check "and is removed again" dpkg --purge leco

if [ $failed != 0 ]; then
	journalctl --boot --no-pager --unit leco.service --unit leco@1000.service --unit leco-fifo@1000.service --unit 'leco-relay*' --unit nats | tail -n 100
fi
echo "the command ended with $failed"
