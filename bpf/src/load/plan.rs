// SPDX-License-Identifier: GPL-3.0-or-later
//! Which level each feature is done at: the best that the kernel takes, or what was asked for.

use leco_cli::hooks::{
    BYTES, CLOSE, DNS, FEATURES, Feature, Forced, HELLO, KPROBE, LISTEN, Level, OFF, PEER, STATE, TRACEPOINT,
};

use crate::load::hooks::{self, Program};

/// What a feature is done by.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Choice {
    /// The feature's name.
    pub name: &'static str,
    /// The level's name, `off` for none.
    pub used: &'static str,
    /// The hooks of that level, as the kernel names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<&'static str>,
    /// Why it is not the best one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What is lost by that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<&'static str>,
    #[serde(skip)]
    feature: &'static Feature,
    #[serde(skip)]
    level: usize,
    #[serde(skip)]
    is_forced: bool,
}

impl Choice {
    fn set(&mut self, level: usize, why: String) {
        self.level = level;
        self.used = self.current().map_or(OFF, |level| level.name);
        self.hooks = self.current().map(|level| level.hooks);
        self.lost = match self.current() {
            _ if level == 0 => None,
            Some(level) => Some(level.lost),
            None => self.feature.lost,
        };
        self.why = (level > 0).then_some(why);
    }

    fn current(&self) -> Option<&'static Level> {
        self.feature.levels.get(self.level)
    }
}

/// Whether the programs find the arguments of system calls: where `HAS_REGISTERS` of kernel.h is defined.
const KNOWS_REGISTERS: bool = cfg!(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "s390x",
    target_arch = "powerpc64"
));

/// The levels of all features.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    choices: Vec<Choice>,
}

impl Plan {
    /// The best levels that programs for this kind of processor have, but for those that are forced.
    pub(crate) fn new(forced: &[Forced]) -> Self {
        Self::on(KNOWS_REGISTERS, forced)
    }

    fn on(knows_registers: bool, forced: &[Forced]) -> Self {
        let choices = FEATURES.iter().map(|feature| {
            let best = feature.levels.first();
            let used = best.map_or(OFF, |level| level.name);
            let hooks = best.map(|level| level.hooks);
            let mut choice = Choice {
                name: feature.name,
                used,
                hooks,
                why: None,
                lost: None,
                feature,
                level: 0,
                is_forced: false,
            };
            // The last word counts.
            if let Some(forced) = forced.iter().rfind(|forced| forced.feature() == feature.name) {
                let level = feature.levels.iter().position(|level| level.name == forced.level());
                choice.set(level.unwrap_or(feature.levels.len()), "as requested".into());
                choice.is_forced = true;
            }
            choice
        });
        let mut plan = Self { choices: choices.collect() };
        if !knows_registers {
            let in_memory = |choice: &&mut Choice| [DNS, HELLO].contains(&choice.name) && choice.level == 0;
            for choice in plan.choices.iter_mut().filter(in_memory) {
                choice.set(choice.feature.levels.len(), "not supported on this architecture".into());
            }
        }
        plan.couple();
        plan
    }

    /// The choices, in the order of [`FEATURES`].
    pub(crate) fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// Programs to load and attach, in order, each with the index of its choice.
    pub(crate) fn programs(&self) -> impl Iterator<Item = (usize, &'static Program)> {
        self.choices.iter().enumerate().flat_map(|(index, choice)| {
            hooks::programs(choice.name, choice.used).iter().map(move |program| (index, program))
        })
    }

    pub(crate) fn has_program(&self, name: &str) -> bool {
        self.programs().any(|(_, program)| program.name == name)
    }

    /// Takes the next level of a feature whose present one the kernel refused. Fails with the reason where
    /// nothing would be left.
    pub(crate) fn demote(&mut self, choice: usize, reason: String) -> Result<(), (&'static str, String)> {
        let Some(choice) = self.choices.get_mut(choice) else { return Ok(()) };
        let next = if choice.is_forced { choice.feature.levels.len() } else { choice.level + 1 };
        if next >= choice.feature.levels.len() && choice.feature.lost.is_none() {
            return Err((choice.name, reason));
        }
        let tried = choice.why.take().map(|why| format!("{why}; ")).unwrap_or_default();
        let refused = choice.used;
        choice.set(next, format!("{tried}no {refused}: {reason}"));
        self.couple();
        Ok(())
    }

    /// What is counted by address and what has storage are never the same connection: both features do
    /// either, or only one of them does anything. Who listens is known by storage alone.
    fn couple(&mut self) {
        for (one, other) in [(BYTES, STATE), (STATE, BYTES)] {
            if self.level_of(one) == TRACEPOINT && ![TRACEPOINT, OFF].contains(&self.level_of(other)) {
                for choice in self.choices.iter_mut().filter(|choice| choice.name == other) {
                    choice.set(1, format!("it follows `{one}`"));
                }
            }
        }
        if self.is_keyed_by_pointer() {
            for choice in self.choices.iter_mut().filter(|choice| choice.name == LISTEN && choice.used != OFF)
            {
                choice.set(choice.feature.levels.len(), format!("it follows `{BYTES}`"));
            }
        }
    }

    fn level_of(&self, feature: &str) -> &'static str {
        self.choices.iter().find(|choice| choice.name == feature).map_or(OFF, |choice| choice.used)
    }

    /// Whether sockets are known by their address, for want of storage.
    pub(crate) fn is_keyed_by_pointer(&self) -> bool {
        self.level_of(BYTES) == TRACEPOINT
    }

    /// Whether peers of datagrams come from a kprobe.
    pub(crate) fn has_peers_by_probe(&self) -> bool {
        self.level_of(PEER) == KPROBE
    }

    /// Whether a hook tells for each datagram whom it is for, or from.
    pub(crate) fn has_peers_by_hook(&self) -> bool {
        ![KPROBE, OFF].contains(&self.level_of(PEER))
    }

    /// Whether answers of name servers are copied.
    pub(crate) fn copies_answers(&self) -> bool {
        self.level_of(DNS) != OFF
    }

    /// Whether the names are read that processes send when they connect.
    pub(crate) fn reads_hellos(&self) -> bool {
        self.level_of(HELLO) != OFF
    }

    /// Whether it is told who listens.
    pub(crate) fn tells_listeners(&self) -> bool {
        self.level_of(LISTEN) != OFF
    }

    /// Whether the end of every socket is told.
    pub(crate) fn has_release(&self) -> bool {
        self.level_of(CLOSE) != OFF
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(plan: &Plan) -> Vec<(&'static str, &'static str)> {
        plan.choices().iter().map(|choice| (choice.name, choice.used)).collect()
    }

    #[test]
    fn the_best_levels_are_taken_and_the_next_ones_where_the_kernel_refuses() {
        let mut plan = Plan::new(&[]);
        assert!(plan.choices().iter().all(|choice| choice.why.is_none() && choice.lost.is_none()));
        plan.demote(3, "not mounted".into()).unwrap();
        assert_eq!(used(&plan)[3], ("peer", "kprobe"));
        plan.demote(3, "not built in".into()).unwrap();
        assert_eq!(used(&plan)[3], ("peer", "off"));
        assert_eq!(plan.choices()[3].why.as_deref(), Some("no cgroup: not mounted; no kprobe: not built in"));
        assert_eq!(plan.choices()[3].lost, Some("peers of unconnected UDP"));
    }

    #[test]
    fn bytes_cannot_be_left_out_and_state_follows_them() {
        let mut plan = Plan::new(&[]);
        plan.demote(0, "refused".into()).unwrap();
        assert_eq!(used(&plan)[..2], [("bytes", "tracepoint"), ("state", "tracepoint")]);
        assert!(plan.is_keyed_by_pointer() && !plan.tells_listeners());
        assert_eq!(plan.demote(0, "no tracefs".into()), Err(("bytes", "no tracefs".into())));
        let state_off: Forced = "state=off".parse().unwrap();
        let plan = Plan::new(&[state_off, "bytes=tracepoint".parse().unwrap()]);
        assert_eq!(used(&plan)[..2], [("bytes", "tracepoint"), ("state", "off")]);
        let plan = Plan::new(&["state=tracepoint".parse().unwrap()]);
        assert_eq!(used(&plan)[..2], [("bytes", "tracepoint"), ("state", "tracepoint")]);
    }

    #[test]
    fn nothing_is_copied_where_registers_are_not_known() {
        for (knows_registers, level) in [(true, "recv"), (false, "off")] {
            let plan = Plan::on(knows_registers, &[]);
            assert_eq!(plan.level_of(DNS), level);
            assert_eq!(plan.reads_hellos(), knows_registers);
            assert_eq!(plan.copies_answers(), knows_registers);
        }
        let forced: Vec<Forced> = vec!["dns=recv".parse().unwrap()];
        assert_eq!(Plan::on(false, &forced).level_of(DNS), "off", "asking for it changes nothing");
    }
}
