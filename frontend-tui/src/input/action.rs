// SPDX-License-Identifier: GPL-3.0-or-later
//! What a person wants of a key or the mouse.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind};
pub use leco_cli::keys::KEYS;
use tui_input::InputRequest;
use tui_input::backend::crossterm::to_input_request;

/// What the keys are for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The list.
    #[default]
    List,
    /// Words to look for are typed.
    Search,
    /// A filter is typed.
    Filter,
    /// Everything about one line.
    Detail,
    /// What went over the network, over time.
    History,
    /// A filter of it is typed.
    HistoryFilter,
    /// Every rule.
    Rules,
    /// A rule is typed and tried.
    EditRule,
    /// Whether to append it to the config.
    Confirm,
    /// Every key.
    Help,
}

impl Mode {
    /// Whether letters are typed rather than keys pressed.
    #[must_use]
    pub fn is_typing(self) -> bool {
        matches!(self, Self::Search | Self::Filter | Self::HistoryFilter | Self::EditRule)
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Leave.
    Quit,
    /// Draw everything anew, over whatever another program left on the screen.
    Repaint,
    /// Go up or down by so many lines.
    Move(isize),
    /// Scroll by so many lines; in a pane without a list, go up or down.
    Scroll(isize),
    /// Go up or down by so many screens.
    MoveScreens(isize),
    /// Go to the first line.
    First,
    /// Go to the last line.
    Last,
    /// Select what stands in this row of the screen.
    Point(u16, u16),
    /// Hold everything still, or go on.
    Freeze,
    /// Sort otherwise.
    Sort,
    /// Open this.
    Open(Mode),
    /// Go to the next line that was searched for, or the one before.
    Match(isize),
    /// Begin a rule for the selected line.
    Offer(Offer),
    /// Go back, give up.
    Back,
    /// Take what was typed.
    Accept,
    /// Change what was typed.
    Edit(InputRequest),
    /// Complete what was typed; of a rule: put it into the other section.
    Complete,
    /// Take a saved filter instead: the next one, or the one before.
    Saved(isize),
    /// Append the rule to the config.
    Append,
    /// Yes, do it.
    Confirm,
    /// Show alone what is like the selected line, or everything again.
    Alone(Alone),
    /// Accept the pair of the selected line, where it is marked as new; else show its peer alone.
    AcceptNew,
    /// Copy something of the selected line.
    Copy(Copied),
    /// Show the heading, or hide it for ever.
    Heading,
    /// Put the history together by the next thing, or the one before.
    By(isize),
    /// Show the history of another time, by its key.
    Range(usize),
    /// Go out of a row of the history.
    GoOut,
}

/// What is shown alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// What the process of the selected line does.
    Process,
    /// What its unit or container does.
    Unit,
    /// What goes to its peer.
    Peer,
    /// What waits for connections.
    Listeners,
}

/// What of a line is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// In the list the address of the peer, in the details the field under the cursor.
    Field,
    /// The whole event, as JSON.
    Event,
}

/// What a rule is to do with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Show it no more.
    Hide,
    /// Show something else.
    Rename,
    /// Show it as one with others.
    Group,
    /// Nothing yet.
    Blank,
}

/// What is to be done with the recording that is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlayAction {
    /// Stand still, or go on.
    Pause,
    /// Go to another moment, by so many seconds.
    Seek(i64),
    /// Play so many times as fast.
    Speed(f64),
}

/// What a key means for a recording, before it means anything else: the same wherever nothing is typed or asked.
#[must_use]
pub fn play_action(event: &Event, mode: Mode) -> Option<PlayAction> {
    if mode.is_typing() || mode == Mode::Confirm {
        return None;
    }
    let Event::Key(KeyEvent { code, kind: KeyEventKind::Press | KeyEventKind::Repeat, .. }) = event else {
        return None;
    };
    match code {
        KeyCode::Char(' ') => Some(PlayAction::Pause),
        KeyCode::Left => Some(PlayAction::Seek(-10)),
        KeyCode::Right => Some(PlayAction::Seek(10)),
        KeyCode::Char('+') => Some(PlayAction::Speed(2.0)),
        KeyCode::Char('-') => Some(PlayAction::Speed(0.5)),
        _ => None,
    }
}

/// Whether an event means nothing in any mode, so that nothing is to be drawn for it.
#[must_use]
pub fn is_idle(event: &Event) -> bool {
    match event {
        Event::Mouse(mouse) => matches!(
            mouse.kind,
            MouseEventKind::Moved
                | MouseEventKind::Up(_)
                | MouseEventKind::ScrollLeft
                | MouseEventKind::ScrollRight
        ),
        Event::Key(key) => key.kind == KeyEventKind::Release,
        Event::FocusGained | Event::FocusLost => true,
        Event::Resize(..) | Event::Paste(_) => false,
    }
}

/// What a terminal event means in a mode.
#[must_use]
pub fn action(event: &Event, mode: Mode) -> Option<Action> {
    match event {
        Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
        Event::Key(key) => of_key(event, key, mode),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => Some(Action::Scroll(-3)),
            MouseEventKind::ScrollDown => Some(Action::Scroll(3)),
            MouseEventKind::Down(MouseButton::Left) | MouseEventKind::Drag(MouseButton::Left) => {
                Some(Action::Point(mouse.column, mouse.row))
            }
            _ => None,
        },
        // A resize is seen when the next frame is drawn.
        _ => None,
    }
}

fn of_key(event: &Event, key: &KeyEvent, mode: Mode) -> Option<Action> {
    use Action as I;
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if is_control => return Some(I::Quit),
        KeyCode::Char('l') if is_control => return Some(I::Repaint),
        KeyCode::Esc => return Some(I::Back),
        KeyCode::Enter if mode != Mode::List => return Some(I::Accept),
        _ => {}
    }
    match mode {
        Mode::Search | Mode::Filter | Mode::HistoryFilter | Mode::EditRule => match key.code {
            KeyCode::Tab => Some(I::Complete),
            KeyCode::Up => Some(I::Saved(-1)),
            KeyCode::Down => Some(I::Saved(1)),
            KeyCode::Char('s') if is_control => Some(I::Append),
            _ => to_input_request(event).map(I::Edit),
        },
        Mode::Confirm => match key.code {
            KeyCode::Char('y' | 'Y') => Some(I::Confirm),
            _ => Some(I::Back),
        },
        Mode::History => of_history(key, is_control),
        Mode::List | Mode::Detail | Mode::Rules | Mode::Help => of_command(key, is_control, mode),
    }
}

/// Nothing in it is a line: what is done with one means nothing.
fn of_history(key: &KeyEvent, is_control: bool) -> Option<Action> {
    use Action as I;
    match key.code {
        KeyCode::Tab => Some(I::By(1)),
        KeyCode::BackTab => Some(I::By(-1)),
        KeyCode::Char(digit @ '1'..='6') => Some(I::Range(digit as usize - '0' as usize)),
        KeyCode::Backspace => Some(I::GoOut),
        KeyCode::Char('q') => Some(I::Open(Mode::History)),
        KeyCode::Char('f') => Some(I::Open(Mode::HistoryFilter)),
        _ => of_command(key, is_control, Mode::History).filter(|action| {
            matches!(
                action,
                I::Move(_) | I::MoveScreens(_) | I::First | I::Last | I::Open(Mode::History | Mode::Help)
            )
        }),
    }
}

fn of_command(key: &KeyEvent, is_control: bool, mode: Mode) -> Option<Action> {
    use Action as I;
    Some(match key.code {
        KeyCode::Char('d') if is_control => I::MoveScreens(1),
        KeyCode::Char('u') if is_control => I::MoveScreens(-1),
        _ if is_control => return None,
        KeyCode::Char('q') if mode != Mode::List => I::Back,
        KeyCode::Char('q') => I::Quit,
        KeyCode::Char('j') | KeyCode::Down => I::Move(1),
        KeyCode::Char('k') | KeyCode::Up => I::Move(-1),
        KeyCode::PageDown => I::MoveScreens(1),
        KeyCode::PageUp => I::MoveScreens(-1),
        KeyCode::Home | KeyCode::Char('g') => I::First,
        KeyCode::End | KeyCode::Char('G') => I::Last,
        KeyCode::Char(' ') => I::Freeze,
        KeyCode::Char('s') => I::Sort,
        KeyCode::Char('/') => I::Open(Mode::Search),
        KeyCode::Char('f') => I::Open(Mode::Filter),
        KeyCode::Enter => I::Open(Mode::Detail),
        KeyCode::Char('r') => I::Open(Mode::Rules),
        KeyCode::Char('?') | KeyCode::F(1) => I::Open(Mode::Help),
        KeyCode::Char('n') => I::Match(1),
        KeyCode::Char('N') => I::Match(-1),
        KeyCode::Char('x') => I::Offer(Offer::Hide),
        KeyCode::Char('e') => I::Offer(Offer::Rename),
        KeyCode::Char('m') => I::Offer(Offer::Group),
        KeyCode::Char('t') => I::Offer(Offer::Blank),
        KeyCode::Char('p') => I::Alone(Alone::Process),
        KeyCode::Char('u') => I::Alone(Alone::Unit),
        KeyCode::Char('a') => I::AcceptNew,
        KeyCode::Char('A') => I::Alone(Alone::Peer),
        KeyCode::Char('l') => I::Alone(Alone::Listeners),
        KeyCode::Char('y') => I::Copy(Copied::Field),
        KeyCode::Char('Y') => I::Copy(Copied::Event),
        KeyCode::Char('h') => I::Open(Mode::History),
        KeyCode::Char('H') => I::Heading,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyEventState, MouseEvent};

    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn keys_mean_what_the_help_says() {
        use Action as I;
        let none = KeyModifiers::NONE;
        let cases: &[(Mode, KeyCode, KeyModifiers, Option<I>)] = &[
            (Mode::List, KeyCode::Char('q'), none, Some(I::Quit)),
            (Mode::Detail, KeyCode::Char('q'), none, Some(I::Back)),
            (Mode::List, KeyCode::Char('a'), none, Some(I::AcceptNew)),
            (Mode::List, KeyCode::Char('A'), KeyModifiers::SHIFT, Some(I::Alone(Alone::Peer))),
            (Mode::Detail, KeyCode::Char('Y'), KeyModifiers::SHIFT, Some(I::Copy(Copied::Event))),
            (Mode::Filter, KeyCode::Char('c'), KeyModifiers::CONTROL, Some(I::Quit)),
            (Mode::List, KeyCode::Char('l'), KeyModifiers::CONTROL, Some(I::Repaint)),
            (Mode::List, KeyCode::Char('z'), none, None),
            (Mode::List, KeyCode::Char('x'), KeyModifiers::CONTROL, None),
            (Mode::List, KeyCode::Down, none, Some(I::Move(1))),
            (Mode::List, KeyCode::Char('N'), KeyModifiers::SHIFT, Some(I::Match(-1))),
            (Mode::List, KeyCode::Enter, none, Some(I::Open(Mode::Detail))),
            (Mode::Detail, KeyCode::Enter, none, Some(I::Accept)),
            (Mode::Filter, KeyCode::Char('q'), none, Some(I::Edit(InputRequest::InsertChar('q')))),
            (Mode::Filter, KeyCode::Tab, none, Some(I::Complete)),
            (Mode::Filter, KeyCode::Up, none, Some(I::Saved(-1))),
            (Mode::Filter, KeyCode::Esc, none, Some(I::Back)),
            (Mode::EditRule, KeyCode::Char('s'), KeyModifiers::CONTROL, Some(I::Append)),
            (Mode::List, KeyCode::Char('h'), none, Some(I::Open(Mode::History))),
            (Mode::History, KeyCode::Char('h'), none, Some(I::Open(Mode::History))),
            (Mode::History, KeyCode::Char('5'), none, Some(I::Range(5))),
            (Mode::History, KeyCode::Backspace, none, Some(I::GoOut)),
            (Mode::History, KeyCode::Char('x'), none, None),
            (Mode::HistoryFilter, KeyCode::Char('5'), none, Some(I::Edit(InputRequest::InsertChar('5')))),
            (Mode::Confirm, KeyCode::Char('y'), none, Some(I::Confirm)),
            (Mode::Confirm, KeyCode::Char('q'), none, Some(I::Back)),
        ];
        for (mode, code, modifiers, meant) in cases {
            assert_eq!(action(&press(*code, *modifiers), *mode), *meant, "{mode:?} {code:?}");
        }
        let release = KeyEvent {
            code: KeyCode::Char('q'),
            modifiers: none,
            kind: KeyEventKind::Release,
            state: KeyEventState::NONE,
        };
        assert_eq!(action(&Event::Key(release), Mode::List), None);
        assert_eq!(action(&Event::Resize(20, 3), Mode::List), None);
        let space = press(KeyCode::Char(' '), none);
        for mode in [Mode::List, Mode::Detail, Mode::History, Mode::Rules, Mode::Help] {
            assert_eq!(play_action(&space, mode), Some(PlayAction::Pause), "{mode:?}");
        }
        for mode in [Mode::Search, Mode::Filter, Mode::HistoryFilter, Mode::EditRule, Mode::Confirm] {
            assert_eq!(play_action(&space, mode), None, "{mode:?}");
        }
        let wheel = MouseEvent { kind: MouseEventKind::ScrollDown, column: 0, row: 0, modifiers: none };
        assert_eq!(action(&Event::Mouse(wheel), Mode::List), Some(I::Scroll(3)));
    }
}
