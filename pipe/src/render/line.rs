// SPDX-License-Identifier: GPL-3.0-or-later
//! The text of a line, and the JSON around it.

use std::borrow::Cow;
use std::fmt::Write;

use jiff::tz::TimeZone;
use leco_bpf::read::record::{Conn, Direction, State};
use leco_cli::tunables::{NamesShown, Shown, Tunables};
use leco_core::text::{Protocol, SEPARATOR, address, bytes, endpoint, port_of, relative_time, round_trip};
use leco_core::wire::event::{Details, EventRecord};
use leco_os::clean::clean_bytes;
use leco_os::clock::BootNs;

use crate::clock::Now;
use crate::enrich::country::Country;
use crate::enrich::hello::host_name::shown;
use crate::enrich::labels::{Labels, NameSource, PeerName, Proxied, Who};
use crate::enrich::process::is_blank;
use crate::enrich::services::Services;
use crate::source::kernel_events::Losses;

/// Version of the fields beyond `ns`, `ns_trx` and `line`.
const DETAILS_VERSION: u32 = 1;

/// What tells this machine, since it was started, from others.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Its name.
    pub host: String,
    /// First digits of the id of its boot.
    pub boot: String,
    /// All of them; empty where they are not known.
    pub boot_id: String,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let boot_id = leco_os::clock::boot_id();
        let host = leco_os::clean::clean(&host).into_owned();
        Self { host, boot: boot_id.chars().take(8).collect(), boot_id }
    }
}

/// Formats connections.
#[derive(Debug)]
pub struct Formatter {
    tunables: Tunables,
    time_zone: TimeZone,
    machine: Machine,
    /// Where they are told.
    services: Services,
    /// The minute of the wall clock that was shown last, and how.
    minute: Option<(i64, String)>,
    /// Made anew for each event, in the same memory.
    line: String,
    json: Vec<u8>,
}

/// An event, written.
#[derive(Debug, Clone, Copy)]
pub struct Formatted<'f> {
    /// What it shows.
    pub line: &'f str,
    /// As it goes over the wire, with its newline.
    pub json: &'f [u8],
}

impl Formatter {
    /// Shows times of the given zone.
    #[must_use]
    pub fn new(tunables: Tunables, time_zone: TimeZone, machine: Machine) -> Self {
        let services = if tunables.extra_ev_data || tunables.show.contains(&Shown::Service) {
            Services::of_this_machine()
        } else {
            Services::default()
        };
        Self { tunables, time_zone, machine, services, minute: None, line: String::new(), json: Vec::new() }
    }

    /// Whose connections it formats.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// `TIME :: USER :: COMM [CGROUP] :: [<- ]ADDR PORT[/PROTO][ !STATE] :: TRAFFIC`, where the port is the
    /// service's: that of the end that was called. Of a listener: `listening ADDR PORT[/PROTO][ !closed]`.
    #[must_use]
    pub fn line(&mut self, conn: &Conn, labels: &Labels, now: &Now) -> String {
        let mut line = String::with_capacity(96);
        // Writing to a string cannot fail.
        let _ = self.write_line(&mut line, conn, labels, now);
        line
    }

    fn write_line(&mut self, line: &mut String, conn: &Conn, labels: &Labels, now: &Now) -> std::fmt::Result {
        self.write_time(line, conn.ns, now)?;
        write_who(line, conn, &labels.who)?;
        let protocol = Protocol::from_number(conn.protocol);
        let before_peer = line.len();
        if self.tunables.local_addr_port {
            line.push_str(SEPARATOR);
            write!(line, "{}", endpoint(conn.local, conn.local_port, protocol))?;
        }
        for shown in &self.tunables.show {
            let start = line.len();
            line.push_str(if start == before_peer { SEPARATOR } else { " " });
            let with_mark = line.len();
            self.write_shown(line, *shown, conn, labels)?;
            if line.len() == with_mark {
                line.truncate(start);
            }
        }
        self.write_peer(line, conn, labels, protocol)?;
        if let Some(state) = mark_of(conn).filter(|_| self.tunables.line_direction) {
            push(line, &[" !", state]);
        }
        line.push_str(SEPARATOR);
        if !conn.is_listener() && conn.rx.saturating_add(conn.tx) >= self.tunables.conn_traffic_min {
            write!(line, "v {} / {} ^", bytes(conn.rx), bytes(conn.tx))?;
        }
        Ok(())
    }

    /// What was asked for, where it is known.
    fn write_shown(&self, line: &mut String, shown: Shown, conn: &Conn, labels: &Labels) -> std::fmt::Result {
        match shown {
            Shown::Interface => line.push_str(&unseparate(&clean_bytes(conn.iface()))),
            Shown::Country => line.push_str(labels.country.as_ref().map_or("", Country::letters)),
            Shown::Service => line.push_str(service(&self.services, conn).unwrap_or_default()),
            Shown::Rtt => match conn.tcp.rtt_us {
                0 => {}
                us => write!(line, "{}", round_trip(us.into()))?,
            },
            Shown::Retransmits if conn.tcp.retrans > 0 => write!(line, "{} resent", conn.tcp.retrans)?,
            Shown::Retransmits => {}
        }
        Ok(())
    }

    /// The other end, by its name where it has one.
    fn write_peer(
        &self,
        line: &mut String,
        conn: &Conn,
        labels: &Labels,
        protocol: Protocol,
    ) -> std::fmt::Result {
        if conn.is_packet {
            push(line, &[SEPARATOR, "packet"]);
            let iface = clean_bytes(conn.iface());
            if !iface.is_empty() {
                push(line, &[" ", &unseparate(&iface)]);
            }
            return Ok(());
        }
        let (mark, port) = match conn.direction {
            Direction::Listening => {
                let place = endpoint(conn.local, conn.local_port, protocol);
                return write!(line, "{SEPARATOR}listening {place}");
            }
            Direction::Incoming if self.tunables.line_direction => ("<- ", conn.local_port),
            _ => ("", conn.remote_port),
        };
        push(line, &[SEPARATOR, mark]);
        match (self.tunables.names, &labels.name, &labels.proxied) {
            // Datagrams of whom nobody knows who sent them.
            _ if protocol == Protocol::Udp && conn.remote_port == 0 && conn.remote.is_unspecified() => {
                write!(line, "*{}", port_of(port, protocol))?;
            }
            (NamesShown::Replace | NamesShown::Append, Some(name), Some(Proxied { port: target, proxy })) => {
                write!(line, "{} {target} via ", shown(&name.text))?;
                match proxy {
                    Some(proxy) => write!(line, "{}{}", shown(proxy), port_of(port, protocol))?,
                    None => write!(line, "{}", endpoint(conn.remote, port, protocol))?,
                }
            }
            (NamesShown::Replace, Some(name), None) => {
                write!(line, "{}{}{}", cover_mark(name), shown(&name.text), port_of(port, protocol))?;
            }
            (NamesShown::Append, Some(name), None) => {
                let (address, mark, text) = (address(conn.remote), cover_mark(name), shown(&name.text));
                write!(line, "{address} ({mark}{text}){}", port_of(port, protocol))?;
            }
            _ => write!(line, "{}", endpoint(conn.remote, port, protocol))?,
        }
        Ok(())
    }

    fn write_time(&mut self, line: &mut String, ns: BootNs, now: &Now) -> std::fmt::Result {
        let age = now.since(ns);
        if age > self.tunables.use_reltime_after {
            return write!(line, "{}", relative_time(age));
        }
        let wall = now.wall_at(ns);
        // Zones differ from UTC by whole minutes.
        let minute = wall.as_second().div_euclid(60);
        let (known, shown) = self.minute.get_or_insert((minute, String::new()));
        if *known != minute || shown.is_empty() {
            let time = self.time_zone.to_datetime(wall);
            (*known, *shown) = (minute, format!("{:02}:{:02}", time.hour(), time.minute()));
        }
        line.push_str(shown);
        Ok(())
    }

    /// In which its times are.
    pub(crate) fn time_zone(&self) -> &TimeZone {
        &self.time_zone
    }

    /// A line of the pipe's own about what it cannot show, first lost at `ns`.
    pub fn losses(&mut self, losses: &Losses, ns: BootNs, now: &Now) -> Formatted<'_> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        // Writing to a string cannot fail.
        let _ = self.write_time(&mut line, ns, now);
        let _ = write!(line, " :: - :: leco :: {losses} :: ");
        let record = EventRecord {
            ns,
            ns_trx: now.boot,
            line: &line,
            boot: &self.machine.boot,
            dir: None,
            state: None,
            new: None,
            details: None,
        };
        write_json(&mut self.json, &record);
        self.line = line;
        Formatted { line: &self.line, json: &self.json }
    }

    /// What of an event stands before totals of the time since a moment. To who does not know them it is of a connection
    /// that ended then: no line that fades is seen.
    pub(crate) fn history(&mut self, since: jiff::Timestamp, now: &Now) -> String {
        let age = u64::try_from(now.wall.duration_since(since).as_nanos()).unwrap_or_default();
        let ns = now.boot.saturating_sub(age).max(1);
        let mut line = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_time(&mut line, ns, now);
        line.push_str(" :: - :: leco :: totals of the time before :: ");
        let (line, boot) = (line.as_str(), self.machine.boot.as_str());
        let record =
            EventRecord { ns, ns_trx: ns, line, boot, dir: None, state: None, new: None, details: None };
        let json = serde_json::to_string(&record).unwrap_or_default();
        json.strip_suffix('}').unwrap_or_default().to_owned()
    }

    /// The event of a connection.
    pub fn event(&mut self, conn: &Conn, labels: &Labels, now: &Now) -> Formatted<'_> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        // Writing to a string cannot fail.
        let _ = self.write_line(&mut line, conn, labels, now);
        let mut number = String::new();
        let proto = if conn.is_packet { "packet" } else { proto(conn.protocol, &mut number) };
        let details =
            self.tunables.extra_ev_data.then(|| details(conn, labels, &self.machine, &self.services, proto));
        // What changes a line's looks is told in any case.
        let is_detailed = details.is_some();
        let dir = match conn.direction {
            Direction::Incoming => Some("in"),
            Direction::Listening => Some("listen"),
            Direction::Outgoing => is_detailed.then_some("out"),
        };
        let state = match state_name(conn) {
            state if is_detailed || conn.is_listener() || outcome(conn.state).is_some() => Some(state),
            _ => None,
        };
        let record = EventRecord {
            ns: conn.ns,
            ns_trx: conn.ns_trx,
            line: &line,
            boot: &self.machine.boot,
            dir,
            state,
            new: labels.is_new.then_some(true),
            details,
        };
        write_json(&mut self.json, &record);
        self.line = line;
        Formatted { line: &self.line, json: &self.json }
    }
}

/// What the port of the end is called that was called, or waits for that.
fn service<'s>(services: &'s Services, conn: &Conn) -> Option<&'s str> {
    let port = if conn.direction == Direction::Outgoing { conn.remote_port } else { conn.local_port };
    services.name(port, Protocol::from_number(conn.protocol))
}

/// All that is known of a connection, for whom the line is not enough.
fn details<'e>(
    conn: &'e Conn,
    labels: &'e Labels,
    machine: &'e Machine,
    services: &'e Services,
    proto: &'e str,
) -> Details<'e> {
    let who = &*labels.who;
    let known = conn.has_process();
    let knows_tcp = conn.tcp.state != 0;
    Details {
        v: DETAILS_VERSION,
        key: format!("{}-{:x}", machine.boot, conn.ns),
        host: &machine.host,
        proto,
        pid: known.then_some(conn.pid),
        uid: known.then_some(conn.uid),
        user: who.user.as_deref(),
        comm: known.then_some(&who.comm),
        comm_now: labels.comm_now.as_deref(),
        script: who.script.as_deref(),
        parents: if who.parents.len() < who.ancestors.len() { &who.ancestors } else { &who.parents },
        exe: who.exe.as_deref(),
        cmdline: who.cmdline.as_deref(),
        cg: who.cgroup_path.as_deref(),
        unit: who.unit.as_deref(),
        container: who.container.as_deref(),
        laddr: conn.local.to_canonical(),
        lport: conn.local_port,
        raddr: conn.remote.to_canonical(),
        rport: conn.remote_port,
        name: labels.name.as_ref().map(|name| &*name.text),
        name_src: labels.name.as_ref().map(|name| name.source.word()),
        target_port: labels.proxied.as_ref().map(|proxied| proxied.port),
        alpn: labels.alpn.as_deref(),
        asn: labels.system.as_ref().map(|system| system.number),
        as_org: labels.system.as_ref().map(|system| &*system.organization),
        country: labels.country.as_ref().map(Country::letters),
        service: service(services, conn),
        rx: conn.rx,
        tx: conn.tx,
        iface: Some(conn.iface()).filter(|name| !name.is_empty()).map(clean_bytes),
        rtt_us: Some(conn.tcp.rtt_us).filter(|rtt| *rtt > 0),
        retrans: knows_tcp.then_some(conn.tcp.retrans),
        cwnd: knows_tcp.then_some(conn.tcp.cwnd),
        tcp_state: conn.tcp.state_name().filter(|_| conn.is_open()),
    }
}

/// `USER :: COMM [CGROUP]`, each with the separator before it.
fn write_who(line: &mut String, conn: &Conn, who: &Who) -> std::fmt::Result {
    match &who.user {
        _ if !conn.has_process() => push(line, &[SEPARATOR, "-"]),
        Some(user) => push(line, &[SEPARATOR, user]),
        None => write!(line, "{SEPARATOR}{}", conn.uid)?,
    }
    let number;
    let comm = match who.script.as_deref().unwrap_or(&who.comm) {
        // A process may have no name; `-` says that there is none.
        blank if is_blank(blank) => {
            number = conn.pid.to_string();
            number.as_str().into()
        }
        name => unseparate(name),
    };
    push(line, &[SEPARATOR, &comm]);
    for parent in &who.parents {
        push(line, &[" < ", &unseparate(parent)]);
    }
    if let Some(cgroup) = who.cgroup.as_deref().map(unseparate).filter(|cgroup| *cgroup != comm) {
        push(line, &[" [", &cgroup, "]"]);
    }
    Ok(())
}

fn write_json(json: &mut Vec<u8>, record: &EventRecord<'_>) {
    json.clear();
    // Writing to memory cannot fail, and the record has no map whose key is no text.
    let _ = serde_json::to_writer(&mut *json, record);
    json.push(b'\n');
}

/// Stands before a name that may be a cover for another one.
fn cover_mark(name: &PeerName) -> &'static str {
    if name.source == NameSource::Cover { "~" } else { "" }
}

/// How an event calls a protocol; those without a name by their number, which is written to `number`.
pub(crate) fn proto(protocol: u16, number: &mut String) -> &str {
    match Protocol::from_number(protocol) {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Other(other) => {
            // Writing to a string cannot fail.
            let _ = write!(number, "{other}");
            number
        }
    }
}

pub(crate) fn state_name(conn: &Conn) -> &'static str {
    match conn.state {
        State::Open | State::Connecting if conn.is_listener() => "listening",
        state => name_of(state),
    }
}

fn name_of(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::Connecting => "connecting",
        State::Closed => "closed",
        State::Refused => "refused",
        State::Reset => "reset",
        State::TimedOut => "timeout",
        State::Unreachable => "unreachable",
        State::Unanswered => "unanswered",
        State::Blocked => "blocked",
    }
}

/// What went wrong, if anything did.
pub(crate) fn outcome(state: State) -> Option<&'static str> {
    (!matches!(state, State::Open | State::Connecting | State::Closed)).then(|| name_of(state))
}

/// What stands in the line: what went wrong, and of a listener, of which nothing else would tell it, that it has ended.
fn mark_of(conn: &Conn) -> Option<&'static str> {
    match conn.state {
        State::Closed if conn.is_listener() => Some(name_of(conn.state)),
        state => outcome(state),
    }
}

fn push(line: &mut String, parts: &[&str]) {
    line.extend(parts.iter().copied());
}

/// Replaces each run of `::`, which would read as the end of a part, by `-`.
fn unseparate(name: &str) -> Cow<'_, str> {
    if !name.as_bytes().windows(2).any(|pair| pair == b"::") {
        return name.into();
    }
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("::") {
        text.push_str(&rest[..at]);
        text.push('-');
        rest = rest[at..].trim_start_matches(':');
    }
    text.push_str(rest);
    text.into()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::rc::Rc;
    use std::time::Duration;

    use jiff::Timestamp;
    use leco_bpf::read::record::Tcp;
    use leco_core::wire::event::Event;

    use super::*;
    use crate::enrich::asn::AutonomousSystem;
    use crate::fixtures;
    use crate::outputs::ClockField;

    const HOUR_NS: u64 = 3_600_000_000_000;

    fn conn() -> Conn {
        Conn {
            rx: 58,
            tx: 26,
            cgroup: 2,
            started: HOUR_NS,
            local: "10.2.0.7".parse().unwrap(),
            local_port: 40000,
            remote_port: 53,
            protocol: 17,
            comm: *b"drill\0\0\0\0\0\0\0\0\0\0\0",
            ..fixtures::conn(2 * HOUR_NS, 7, 1000, "10.2.0.1")
        }
    }

    fn who() -> Who {
        Who {
            user: Some("myuser".into()),
            comm: "drill".into(),
            cgroup_path: Some("user.slice/tmux-spawn-822f3728-1c1c.scope".into()),
            cgroup: Some("tmux-spawn-822f3728+".into()),
            ..Who::nobody()
        }
    }

    fn of(who: Who) -> Labels {
        Labels {
            who: Rc::new(who),
            name: None,
            proxied: None,
            alpn: None,
            system: None,
            country: None,
            is_new: false,
            comm_now: None,
        }
    }

    fn labels() -> Labels {
        of(who())
    }

    /// 19:32 UTC, three hours after boot.
    fn now() -> Now {
        Now { boot: 3 * HOUR_NS, wall: "2026-03-01T19:32:00Z".parse::<Timestamp>().unwrap() }
    }

    fn line(conn: &Conn, labels: &Labels, change: impl FnOnce(&mut Tunables)) -> String {
        let mut tunables = Tunables { conn_traffic_min: 0, ..Tunables::default() };
        change(&mut tunables);
        Formatter::new(tunables, TimeZone::UTC, Machine::default()).line(conn, labels, &now())
    }

    #[test]
    fn the_example_of_the_specification() {
        assert_eq!(
            line(&conn(), &labels(), |_| ()),
            "18:32 :: myuser :: drill [tmux-spawn-822f3728+] :: 10.2.0.1 53/udp :: v 58B / 26B ^"
        );
    }

    #[test]
    fn little_traffic_leaves_the_last_part_empty() {
        let shown = line(&conn(), &labels(), |tunables| tunables.conn_traffic_min = 85);
        assert!(shown.ends_with(" :: 10.2.0.1 53/udp :: "), "{shown}");
        let shown = line(&conn(), &labels(), |tunables| tunables.conn_traffic_min = 84);
        assert!(shown.ends_with(" :: v 58B / 26B ^"), "{shown}");
    }

    #[test]
    fn old_connections_have_a_relative_time() {
        let shown = line(&conn(), &labels(), |tunables| tunables.use_reltime_after = Duration::from_mins(30));
        assert!(shown.starts_with("  -1h :: "), "{shown}");
    }

    #[test]
    fn unknown_user_script_local_end_and_equal_cgroup() {
        let labels = of(Who {
            user: None,
            comm: "python3".into(),
            script: Some("web.py".into()),
            cgroup: Some("web.py".into()),
            ..who()
        });
        assert_eq!(
            line(&conn(), &labels, |tunables| tunables.local_addr_port = true),
            "18:32 :: 1000 :: web.py :: 10.2.0.7 40000/udp :: 10.2.0.1 53/udp :: v 58B / 26B ^"
        );
    }

    #[test]
    fn a_process_cannot_forge_parts_of_a_line() {
        let labels =
            of(Who { comm: "a :: b::::c".into(), parents: vec!["x::y".into(), "z".into()], ..who() });
        let shown = line(&conn(), &labels, |_| ());
        assert!(shown.contains(" :: a - b-c < x-y < z [tmux"), "{shown}");
    }

    #[test]
    fn an_empty_name_leaves_no_empty_part() {
        for comm in ["", " ", "\u{3000}"] {
            let labels = of(Who { comm: comm.into(), ..who() });
            let shown = line(&conn(), &labels, |_| ());
            assert!(shown.starts_with("18:32 :: myuser :: 7 [tmux-spawn-822f3728+] :: "), "{shown}");
        }
    }

    #[test]
    fn a_process_that_has_another_name_now_shows_that_of_its_connect() {
        let labels = Labels { comm_now: Some("other".into()), ..labels() };
        assert!(line(&conn(), &labels, |_| ()).contains(" :: drill ["));
        let mut formatter = Formatter::new(
            Tunables { extra_ev_data: true, ..Tunables::default() },
            TimeZone::UTC,
            Machine::default(),
        );
        let json = String::from_utf8(formatter.event(&conn(), &labels, &now()).json.to_vec()).unwrap();
        assert!(json.contains(r#""comm":"drill","comm_now":"other""#), "{json}");
    }

    #[test]
    fn incoming_connections_show_the_port_that_was_called() {
        let incoming = Conn { direction: Direction::Incoming, protocol: 6, local_port: 22, ..conn() };
        assert!(line(&incoming, &labels(), |_| ()).contains("] :: <- 10.2.0.1 22 :: v"));
        let plain = line(&incoming, &labels(), |tunables| tunables.line_direction = false);
        assert!(plain.contains("] :: 10.2.0.1 53 :: v"), "{plain}");
    }

    #[test]
    fn what_went_wrong_stands_behind_the_port() {
        for (state, shown) in [
            (State::Open, ""),
            (State::Connecting, ""),
            (State::Closed, ""),
            (State::Refused, " !refused"),
            (State::Reset, " !reset"),
            (State::TimedOut, " !timeout"),
            (State::Unreachable, " !unreachable"),
            (State::Unanswered, " !unanswered"),
            (State::Blocked, " !blocked"),
        ] {
            let shown = format!(" :: 10.2.0.1 53/udp{shown} :: v");
            assert!(line(&Conn { state, ..conn() }, &labels(), |_| ()).contains(&shown), "{shown}");
            let plain =
                line(&Conn { state, ..conn() }, &labels(), |tunables| tunables.line_direction = false);
            assert!(plain.contains(" :: 10.2.0.1 53/udp :: v"), "{plain}");
        }
    }

    fn listener(protocol: u16, local: &str) -> Conn {
        Conn {
            direction: Direction::Listening,
            local: local.parse().unwrap(),
            local_port: 8080,
            remote: "0.0.0.0".parse().unwrap(),
            remote_port: 0,
            protocol,
            rx: 0,
            tx: 0,
            ..conn()
        }
    }

    #[test]
    fn a_listener_shows_where_it_listens_and_that_it_has_ended() {
        for (conn, shown) in [
            (listener(6, "0.0.0.0"), "listening 0.0.0.0 8080"),
            (listener(17, "192.0.2.1"), "listening 192.0.2.1 8080/udp"),
            (listener(6, "::"), "listening [::] 8080"),
            (
                Conn { state: State::Closed, ..listener(6, "2001:db8::1") },
                "listening 2001:db8::1 8080 !closed",
            ),
        ] {
            // It has no traffic, however little of that is shown.
            let line = line(&conn, &labels(), |_| ());
            assert!(line.ends_with(&format!(" :: {shown} :: ")), "{line}");
        }
        let plain = line(&listener(6, "::"), &labels(), |tunables| tunables.line_direction = false);
        assert!(plain.ends_with(" :: listening [::] 8080 :: "), "{plain}");
    }

    #[test]
    fn no_process_is_invented() {
        let stranger = Conn { pid: 0, state: State::Blocked, direction: Direction::Incoming, ..conn() };
        let nobody = of(Who::nobody());
        let shown = line(&stranger, &nobody, |_| ());
        assert!(shown.starts_with("18:32 :: - :: - :: <- 10.2.0.1 40000/udp !blocked :: "), "{shown}");
        let mut formatter = Formatter::new(
            Tunables { extra_ev_data: true, ..Tunables::default() },
            TimeZone::UTC,
            Machine::default(),
        );
        let json = String::from_utf8(formatter.event(&stranger, &nobody, &now()).json.to_vec()).unwrap();
        for field in ["pid", "uid", "comm"] {
            assert!(!json.contains(&format!("\"{field}\"")), "{json}");
        }
        assert!(json.contains(r#""dir":"in","state":"blocked""#), "{json}");
    }

    #[test]
    fn a_name_stands_in_the_place_of_the_address_or_behind_it() {
        let name = PeerName { text: "example.test".into(), source: NameSource::Dns };
        let labels = Labels { name: Some(name), ..labels() };
        for (names, shown) in [
            (NamesShown::Replace, " :: example.test 53/udp :: "),
            (NamesShown::Append, " :: 10.2.0.1 (example.test) 53/udp :: "),
            (NamesShown::Off, " :: 10.2.0.1 53/udp :: "),
        ] {
            let line = line(&conn(), &labels, |tunables| tunables.names = names);
            assert!(line.contains(shown), "{line}");
        }
        let mut formatter = Formatter::new(
            Tunables { extra_ev_data: true, ..Tunables::default() },
            TimeZone::UTC,
            Machine::default(),
        );
        let json = String::from_utf8(formatter.event(&conn(), &labels, &now()).json.to_vec()).unwrap();
        assert!(
            json.contains(r#""raddr":"10.2.0.1","rport":53,"name":"example.test","name_src":"dns""#),
            "{json}"
        );
    }

    #[test]
    fn what_changes_the_looks_of_a_line_is_told_without_details_too() {
        let mut formatter = Formatter::new(Tunables::default(), TimeZone::UTC, Machine::default());
        let mut fields = |conn: &Conn| {
            let event: serde_json::Value =
                serde_json::from_slice(formatter.event(conn, &labels(), &now()).json).unwrap();
            (event["dir"].clone(), event["state"].clone())
        };
        assert_eq!(fields(&conn()), (serde_json::Value::Null, serde_json::Value::Null));
        let refused = Conn { direction: Direction::Incoming, state: State::Refused, ..conn() };
        assert_eq!(fields(&refused), ("in".into(), "refused".into()));
        let listening = listener(6, "0.0.0.0");
        assert_eq!(fields(&listening), ("listen".into(), "listening".into()));
        assert_eq!(fields(&Conn { state: State::Closed, ..listening }), ("listen".into(), "closed".into()));
    }

    #[test]
    fn what_was_lost_is_a_line_like_any_other() {
        let losses = Losses { connections: 7, ..Losses::default() };
        let mut formatter = Formatter::new(Tunables::default(), TimeZone::UTC, Machine::default());
        let json = formatter.losses(&losses, 2 * HOUR_NS, &now()).json;
        let event = Event::parse(json.trim_ascii_end()).unwrap();
        assert_eq!(event.line, "18:32 :: - :: leco :: lost: 7 connections :: ");
    }

    #[test]
    fn mapped_and_empty_addresses() {
        let to = |remote: &str| Conn { remote: remote.parse::<IpAddr>().unwrap(), protocol: 6, ..conn() };
        assert!(line(&to("::ffff:192.0.2.1"), &labels(), |_| ()).contains(" :: 192.0.2.1 53 :: "));
        assert!(line(&to("::"), &labels(), |_| ()).contains(" :: [::] 53 :: "));
    }

    #[test]
    fn events_are_read_by_the_core_with_and_without_details() {
        for extra_ev_data in [false, true] {
            let mut formatter = Formatter::new(
                Tunables { extra_ev_data, ..Tunables::default() },
                TimeZone::UTC,
                Machine::default(),
            );
            let json = formatter.event(&conn(), &labels(), &now()).json.to_vec();
            assert_eq!(json.split(|&byte| byte == b'\n').count(), 2);
            let event = Event::parse(json.trim_ascii_end()).unwrap();
            assert_eq!((event.ns, event.ns_trx), (2 * HOUR_NS, 2 * HOUR_NS));
            assert_eq!(String::from_utf8(json).unwrap().contains("\"raddr\":\"10.2.0.1\""), extra_ev_data);
        }
    }

    #[test]
    fn every_field_is_as_the_schema_says() {
        let promised: serde_json::Value =
            serde_json::from_str(include_str!("../../../docs/events.schema.json")).unwrap();
        let schema = jsonschema::options().should_validate_formats(true).build(&promised).unwrap();
        let who = Who {
            script: Some("a.py".into()),
            unit: Some("a.service".into()),
            container: Some("docker:0123456789ab".into()),
            parents: vec!["sh".into()],
            exe: Some("/usr/bin/python3".into()),
            cmdline: Some("python3 a.py".into()),
            ..who()
        };
        let system = AutonomousSystem { number: 64_496, organization: "Example".into() };
        let name = PeerName { text: "example.test".into(), source: NameSource::Reverse };
        let full = Labels {
            name: Some(name),
            system: Some(Rc::new(system)),
            country: Country::parse(b"DE"),
            is_new: true,
            comm_now: Some("other".into()),
            ..of(who)
        };
        let stranger = Conn { pid: 0, protocol: 132, state: State::Blocked, ..conn() };
        for (conn, labels) in [(slow(), full), (conn(), labels()), (stranger, of(Who::nobody()))] {
            for extra_ev_data in [false, true] {
                let tunables = Tunables { extra_ev_data, ..Tunables::default() };
                let mut formatter = Formatter::new(tunables, TimeZone::UTC, Machine::this());
                let mut json = Vec::new();
                let clock = ClockField::new(&now(), formatter.machine());
                clock.add_to(&mut json, formatter.event(&conn, &labels, &now()).json);
                let event: serde_json::Value = serde_json::from_slice(&json).unwrap();
                assert!(event.get("clock").is_some() && event.get("boot").is_some(), "{event}");
                if let Err(error) = schema.validate(&event) {
                    panic!("{error}: {event}");
                }
                for field in event.as_object().unwrap().keys() {
                    assert!(promised["properties"].get(field).is_some(), "{field} is not in the schema");
                }
            }
        }
    }

    /// Over TCP, by an interface with a hostile name; its peer has closed it.
    fn slow() -> Conn {
        let mut iface = [0; 16];
        iface[..4].copy_from_slice(b"tun\x1b");
        Conn { tcp: Tcp { rtt_us: 20_000, retrans: 0, cwnd: 10, state: 8 }, iface, protocol: 6, ..conn() }
    }

    #[test]
    fn how_tcp_does_is_told_where_it_is_known_and_its_state_while_it_goes_on() {
        let told = |conn: &Conn| {
            let tunables = Tunables { extra_ev_data: true, ..Tunables::default() };
            let mut formatter = Formatter::new(tunables, TimeZone::UTC, Machine::default());
            let json = String::from_utf8(formatter.event(conn, &labels(), &now()).json.to_vec()).unwrap();
            json.split_once(r#""tx":26"#).unwrap().1.trim_end().to_owned()
        };
        let numbers = ",\"iface\":\"tun\u{fffd}\",\"rtt_us\":20000,\"retrans\":0,\"cwnd\":10";
        assert_eq!(told(&slow()), format!("{numbers},\"tcp_state\":\"close-wait\"}}"));
        assert_eq!(told(&Conn { state: State::Closed, ..slow() }), format!("{numbers}}}"));
        assert_eq!(told(&conn()), "}");
    }

    #[test]
    fn more_of_a_line_stands_before_the_peer_where_it_is_known() {
        let all = vec![Shown::Country, Shown::Interface, Shown::Rtt, Shown::Retransmits];
        let of_country = Labels { country: Country::parse(b"DE"), ..labels() };
        let shown = |conn: &Conn, labels: &Labels, is_local: bool| {
            let line = line(conn, labels, |tunables| {
                tunables.show.clone_from(&all);
                tunables.local_addr_port = is_local;
            });
            let parts: Vec<_> = line.split(SEPARATOR).map(ToOwned::to_owned).collect();
            let details = leco_core::wire::details::ConnectionDetails::of(&line, None);
            assert_eq!(
                (details.peers.as_slice(), details.port),
                (&["10.2.0.1".to_owned()][..], Some(53)),
                "{line}"
            );
            parts[3..parts.len() - 2].join("|")
        };
        let lossy = Conn { tcp: Tcp { rtt_us: 2_567, retrans: 3, ..slow().tcp }, ..slow() };
        assert_eq!(shown(&slow(), &of_country, false), "DE tun\u{fffd} 20ms");
        assert_eq!(shown(&lossy, &labels(), false), "tun\u{fffd} 2.5ms 3 resent");
        assert_eq!(shown(&lossy, &labels(), true), "10.2.0.7 40000 tun\u{fffd} 2.5ms 3 resent");
        assert_eq!(shown(&conn(), &labels(), false), "", "nothing is known");
        let mut iface = [0; 16];
        iface[..6].copy_from_slice(b"a::b::");
        assert_eq!(shown(&Conn { iface, ..conn() }, &labels(), false), "a-b-");
    }

    #[test]
    fn a_packet_socket_has_an_interface_for_a_peer() {
        let packets = Conn {
            is_packet: true,
            protocol: 0,
            remote_port: 0,
            remote: [0, 0, 0, 0].into(),
            local: [0, 0, 0, 0].into(),
            local_port: 0,
            ..slow()
        };
        let nameless = Conn { iface: [0; 16], ..packets };
        let shown = |conn: &Conn| line(conn, &labels(), |_| ());
        assert!(shown(&packets).ends_with("] :: packet tun\u{fffd} :: v 58B / 26B ^"));
        assert!(shown(&nameless).ends_with("] :: packet :: v 58B / 26B ^"));
        let details = leco_core::wire::details::ConnectionDetails::of(&shown(&packets), None);
        assert_eq!((details.port, details.peers.len()), (None, 2), "{details:?}");
    }

    #[test]
    fn a_clock_that_is_set_or_slept_through_changes_what_is_shown() {
        let mut formatter = Formatter::new(Tunables::default(), TimeZone::UTC, Machine::default());
        let mut shown = |now: &Now| formatter.line(&conn(), &labels(), now)[..5].to_owned();
        assert_eq!(shown(&now()), "18:32");
        let set = Now { wall: "2026-03-01T10:00:00Z".parse().unwrap(), ..now() };
        assert_eq!(shown(&set), "09:00", "set back");
        // Both clocks go on in a suspend.
        let woken = Now { boot: 13 * HOUR_NS, wall: "2026-03-02T05:32:00Z".parse().unwrap() };
        assert_eq!(shown(&woken), "18:32");
        let before_the_epoch = Now { wall: Timestamp::MIN, ..now() };
        assert_eq!(shown(&before_the_epoch).len(), 5);
    }
}
