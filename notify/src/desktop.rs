// SPDX-License-Identifier: GPL-3.0-or-later
//! One notification on the desktop, which is replaced (Desktop Notifications Specification). What cannot be shown now,
//! because the person wants to be left alone, or because bus or server are away, is shown when it can be.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use leco_bus::{BUS, Bus, ERROR, Message, Method, RETURN, SIGNAL};
use leco_core::batch::notify::{Notice, Outlet};
use leco_core::config::{AppendError, NewRule, append};
use leco_core::rules::RuleSection;
use leco_core::text::Escape;
use leco_os::clean::clean;
use zbus::{OwnedVariant, Variant};

use crate::pace::{Pace, Told};
use crate::report::report;

const BUS_PATH: &str = "/org/freedesktop/DBus";
const SERVER: &str = "org.freedesktop.Notifications";
const SERVER_PATH: &str = "/org/freedesktop/Notifications";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const INHIBITED: &str = "Inhibited";
/// Characters of a text; the longest name of a host alone may have 253.
const MAX_CHARACTERS: usize = 400;
/// Buttons of so many notifications are understood: one may be pressed while it is replaced.
const REMEMBERED: usize = 8;
/// A bus that is away is looked for again after this, then after up to [`LAST_RETRY`]; so is a server started that ends.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// What a button does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Button {
    /// The pair is told of no more.
    Accept,
    /// No frontend shows it any more.
    Hide,
}

impl Button {
    const ALL: [Self; 2] = [Self::Accept, Self::Hide];

    fn label(self) -> &'static str {
        match self {
            Self::Accept => "Accept",
            Self::Hide => "Hide",
        }
    }

    fn section(self) -> RuleSection {
        match self {
            Self::Accept => RuleSection::Notify,
            Self::Hide => RuleSection::Group,
        }
    }

    /// By what a server names it when it is pressed.
    fn action(self, number: u32) -> String {
        format!("{}-{number}", self.label())
    }
}

/// What was asked of the bus or the server.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    Owner,
    Start,
    Inhibited,
    Capabilities,
    Show(Told),
}

/// A connection to the bus, and what is known of the server.
#[derive(Debug)]
struct Link {
    bus: Bus,
    /// Name on the bus of the server, while there is one.
    owner: Option<String>,
    /// What was asked, by the serial of the call.
    asked: Vec<(u32, Question)>,
    is_inhibited: bool,
    has_markup: bool,
    /// It cannot be started: it has to come by itself.
    cannot_start: bool,
}

impl Link {
    fn open() -> io::Result<Self> {
        let bus = Bus::open()?;
        let mut link = Self {
            bus,
            owner: None,
            asked: Vec::new(),
            is_inhibited: false,
            has_markup: false,
            cannot_start: false,
        };
        for rule in [
            format!("sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{SERVER}'"),
            format!("sender='{SERVER}',interface='{SERVER}',member='ActionInvoked',path='{SERVER_PATH}'"),
            format!(
                "sender='{SERVER}',interface='{PROPERTIES}',member='PropertiesChanged',path='{SERVER_PATH}',\
                 arg0='{SERVER}'"
            ),
        ] {
            link.bus.call((BUS, BUS_PATH, BUS, "AddMatch"), &format!("type='signal',{rule}"))?;
        }
        link.ask(Question::Owner)?;
        Ok(link)
    }

    fn ask(&mut self, question: Question) -> io::Result<()> {
        let of_bus = |member| -> Method<'_> { (BUS, BUS_PATH, BUS, member) };
        let serial = match &question {
            Question::Owner => self.bus.call(of_bus("GetNameOwner"), &SERVER)?,
            Question::Start => self.bus.call(of_bus("StartServiceByName"), &(SERVER, 0_u32))?,
            Question::Inhibited => {
                self.bus.call((SERVER, SERVER_PATH, PROPERTIES, "Get"), &(SERVER, INHIBITED))?
            }
            Question::Capabilities => self.bus.call((SERVER, SERVER_PATH, SERVER, "GetCapabilities"), &())?,
            // It is sent by the one who knows what it replaces.
            Question::Show(_) => return Ok(()),
        };
        self.asked.push((serial, question));
        Ok(())
    }

    /// Another server, or none: what was asked of the one before is not answered any more. Returns what was not shown.
    fn set_owner(&mut self, owner: Option<String>) -> io::Result<Option<Told>> {
        if self.owner == owner {
            return Ok(None);
        }
        let unshown = self.take_unshown();
        self.asked.retain(|(_, question)| matches!(question, Question::Owner | Question::Start));
        (self.is_inhibited, self.has_markup, self.cannot_start) = (false, false, false);
        self.owner = owner;
        if self.owner.is_some() {
            self.ask(Question::Inhibited)?;
            self.ask(Question::Capabilities)?;
        }
        Ok(unshown)
    }

    fn take_unshown(&mut self) -> Option<Told> {
        let index = self.asked.iter().position(|(_, question)| matches!(question, Question::Show(_)))?;
        match self.asked.swap_remove(index).1 {
            Question::Show(told) => Some(told),
            _ => None,
        }
    }

    /// Whether something may be shown now.
    fn is_ready(&self) -> bool {
        self.owner.is_some() && self.asked.is_empty() && !self.is_inhibited
    }

    /// Whether a server is missing that may be one that is started when it is asked for something.
    fn can_start(&self) -> bool {
        self.owner.is_none() && self.asked.is_empty() && !self.cannot_start
    }

    /// Takes what was asked with this serial.
    fn question(&mut self, serial: u32) -> Option<Question> {
        let index = self.asked.iter().position(|(asked, _)| *asked == serial)?;
        Some(self.asked.swap_remove(index).1)
    }
}

/// When something is tried again.
#[derive(Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
}

impl Retry {
    fn now() -> Self {
        Self { at: Instant::now(), wait: FIRST_RETRY }
    }

    fn put_off(&mut self, now: Instant) {
        (self.at, self.wait) = (now + self.wait, (self.wait * 2).min(LAST_RETRY));
    }
}

/// Shows notices on the desktop.
pub(crate) struct Desktop {
    /// Where buttons append rules.
    config: Option<PathBuf>,
    pace: Pace,
    link: Option<Link>,
    /// The next look for a bus.
    retry: Retry,
    /// The next time that a server is started.
    start: Retry,
    has_reported_no_bus: bool,
    /// What is replaced; 0: nothing.
    id: u32,
    /// The latest with their numbers, whose buttons may be pressed.
    shown: VecDeque<(u32, Notice)>,
    next_number: u32,
}

impl Desktop {
    pub(crate) fn new(config: Option<PathBuf>) -> Self {
        let mut desktop = Self {
            config,
            pace: Pace::default(),
            link: None,
            retry: Retry::now(),
            start: Retry::now(),
            has_reported_no_bus: false,
            id: 0,
            shown: VecDeque::new(),
            next_number: 1,
        };
        desktop.connect();
        desktop
    }

    fn connect(&mut self) {
        match Link::open() {
            Ok(link) => {
                self.link = Some(link);
            }
            Err(error) => self.lose(&error),
        }
    }

    /// Goes on without a bus, until there is something to tell.
    fn lose(&mut self, error: &io::Error) {
        if let Some(told) = self.link.take().and_then(|mut link| link.take_unshown()) {
            self.pace.take_back(told);
        }
        self.id = 0;
        self.retry.put_off(Instant::now());
        if !std::mem::replace(&mut self.has_reported_no_bus, true) {
            report(format_args!("no session bus: {error}; trying again when there is something to tell"));
        }
    }

    /// Takes what has come from the bus.
    fn receive(&mut self) -> io::Result<()> {
        while let Some(link) = &mut self.link {
            let Some(message) = link.bus.receive()? else { break };
            let is_of = |name: &str| message.sender == name;
            let is_of_server = link.owner.as_deref().is_some_and(is_of);
            match message.kind {
                RETURN | ERROR if is_of(BUS) || is_of_server => self.answered(&message)?,
                SIGNAL if is_of(BUS) && message.member == "NameOwnerChanged" => {
                    if let Some((name, _, owner)) = message.body::<(String, String, String)>()
                        && name == SERVER
                    {
                        self.set_owner(Some(owner).filter(|owner| !owner.is_empty()))?;
                    }
                }
                SIGNAL if is_of_server && message.member == "ActionInvoked" => self.pressed(&message),
                SIGNAL if is_of_server && message.member == "PropertiesChanged" => {
                    type Changes = (String, HashMap<String, OwnedVariant>, Vec<String>);
                    let changes = message.body::<Changes>().filter(|(interface, ..)| interface == SERVER);
                    if let Some((_, values, invalid)) = changes {
                        if let Some(value) = values.get(INHIBITED) {
                            link.is_inhibited = **value == Variant::Bool(true);
                        } else if invalid.iter().any(|name| name == INHIBITED) {
                            link.ask(Question::Inhibited)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn set_owner(&mut self, owner: Option<String>) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if link.owner != owner {
            self.id = 0;
        }
        if let Some(told) = link.set_owner(owner)? {
            self.pace.take_back(told);
        }
        Ok(())
    }

    fn answered(&mut self, message: &Message) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let Some(question) = link.question(message.reply_to) else { return Ok(()) };
        let is_error = message.kind == ERROR;
        match question {
            Question::Owner => {
                // It lets us in.
                (self.retry.wait, self.has_reported_no_bus) = (FIRST_RETRY, false);
                // Whoever came or went meanwhile was told by a signal.
                if !is_error {
                    self.set_owner(message.body())?;
                }
            }
            Question::Start if is_error => link.cannot_start = true,
            Question::Start => link.ask(Question::Owner)?,
            // A server without the property decides by itself what to show.
            Question::Inhibited => {
                let value = message.body::<OwnedVariant>();
                link.is_inhibited = value.is_some_and(|value| *value == Variant::Bool(true));
            }
            Question::Capabilities => {
                let all = message.body::<Vec<String>>().unwrap_or_default();
                link.has_markup = all.iter().any(|name| name == "body-markup");
            }
            Question::Show(_) if !is_error => {
                self.id = message.body().unwrap_or(0);
                self.start.wait = FIRST_RETRY;
            }
            // The server ended before it answered.
            Question::Show(told) if message.sender == BUS => self.pace.take_back(told),
            Question::Show(_) => {
                let reason = message.body::<String>().unwrap_or_default();
                report(format_args!("a notification was refused: {}", clean(&reason)));
            }
        }
        Ok(())
    }

    /// A button was pressed: appends the rule.
    fn pressed(&mut self, message: &Message) {
        let Some((id, action)) = message.body::<(u32, String)>() else { return };
        let of = |button: Button| {
            self.shown.iter().find(|(number, _)| button.action(*number) == action).map(|(_, notice)| notice)
        };
        let found = Button::ALL.into_iter().find_map(|button| Some((button, of(button)?)));
        let Some((button, notice)) = found.filter(|_| id == self.id) else { return };
        if let Err(reason) = self.keep(button, notice) {
            let text = format!("cannot {}: {reason}", button.label().to_lowercase());
            report(&text);
            self.pace.take(Notice { text, ..Notice::default() });
        }
    }

    fn keep(&self, button: Button, notice: &Notice) -> Result<(), String> {
        let (Some(config), Some(pair)) = (&self.config, &notice.pair) else {
            return Err("there is no config to append a rule to".into());
        };
        let rule = NewRule { section: button.section().name(), text: &format!("{pair} =") };
        append(config, rule).map_err(|error: AppendError| error.to_string())?;
        report(format_args!(
            "appended to {}: {}",
            config.display(),
            rule.config_text().trim_end().replace('\n', " ")
        ));
        Ok(())
    }

    /// Shows what is due, in the place of what is shown.
    fn show(&mut self, now: Instant) -> io::Result<()> {
        let Some(link) = self.link.as_mut().filter(|link| link.is_ready()) else { return Ok(()) };
        let Some(told) = self.pace.due(now) else { return Ok(()) };
        let mut actions = Vec::new();
        if told.notice.pair.is_some() && self.config.is_some() {
            let number = self.next_number;
            self.next_number = self.next_number.wrapping_add(1);
            self.shown.push_back((number, told.notice.clone()));
            if self.shown.len() > REMEMBERED {
                self.shown.pop_front();
            }
            for button in Button::ALL {
                actions.extend([button.action(number), button.label().to_owned()]);
            }
        }
        let hints = HashMap::from([("category", Variant::from("network")), ("urgency", Variant::U8(1))]);
        let text = body(&told, link.has_markup);
        let call = ("LECO", self.id, "leco", "Network connection", text.as_str(), actions, hints, -1_i32);
        let serial = link.bus.call((SERVER, SERVER_PATH, SERVER, "Notify"), &call)?;
        link.asked.push((serial, Question::Show(told)));
        Ok(())
    }

    fn do_due(&mut self, now: Instant) -> io::Result<()> {
        self.receive()?;
        self.show(now)?;
        if !self.pace.is_empty()
            && now >= self.start.at
            && let Some(link) = self.link.as_mut().filter(|link| link.can_start())
        {
            link.ask(Question::Start)?;
            self.start.put_off(now);
        }
        Ok(())
    }
}

impl Outlet for Desktop {
    fn take(&mut self, notice: Notice) {
        self.pace.take(notice);
    }

    /// What comes too fast is counted in what is shown.
    fn has_room(&self) -> bool {
        true
    }

    fn work(&mut self) -> io::Result<Option<Duration>> {
        let now = Instant::now();
        if self.link.is_none() && !self.pace.is_empty() && now >= self.retry.at {
            self.connect();
        }
        if let Err(error) = self.do_due(now) {
            self.lose(&error);
        }
        Ok(match &self.link {
            _ if self.pace.is_empty() => None,
            None => Some(self.retry.at.saturating_duration_since(now)),
            Some(link) if link.is_ready() => self.pace.due_in(now),
            Some(link) if link.can_start() => Some(self.start.at.saturating_duration_since(now)),
            Some(_) => None,
        })
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.link.iter().map(|link| link.bus.as_fd()).collect()
    }

    fn is_done(&self) -> bool {
        let is_showing = |link: &Link| link.asked.iter().any(|(_, asked)| matches!(asked, Question::Show(_)));
        self.pace.is_empty() && !self.link.as_ref().is_some_and(is_showing)
    }
}

/// What a notification says: no character of it acts on anything, and none is markup.
fn body(told: &Told, has_markup: bool) -> String {
    let cleaned = clean(&told.notice.text);
    let mut shown: String = cleaned.chars().take(MAX_CHARACTERS).collect();
    if shown.len() < cleaned.len() {
        shown.push('…');
    }
    match told.others {
        0 => {}
        1 => shown.push_str("\nand 1 other"),
        others => shown.push_str(&format!("\nand {others} others")),
    }
    if !has_markup {
        // Some servers take markup and do not say so: these look alike, and are no markup anywhere.
        return shown.replace('<', "‹").replace('>', "›");
    }
    let mut text = String::new();
    Escape::Pango.apply(&shown, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_acts() {
        let body = |text: &str, others, has_markup| {
            body(&Told { notice: Notice { text: text.into(), ..Notice::default() }, others }, has_markup)
        };
        assert_eq!(body("a <b>&\u{1b}[1m\u{202e}\n", 0, true), "a &lt;b&gt;&amp;\u{fffd}[1m\u{fffd}\u{fffd}");
        assert_eq!(body("a <b>", 1, false), "a ‹b›\nand 1 other");
        assert_eq!(body("a", 12, true), "a\nand 12 others");
        assert_eq!(body(&"&".repeat(1000), 0, true), "&amp;".repeat(MAX_CHARACTERS) + "…");
    }
}
